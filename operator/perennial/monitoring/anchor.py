"""What each feature looked like when it was first watched, kept through promotions: the training reference of then.

Each promotion begins with a new baseline, so a drift that is slow beside the retrains would be normal every day anew.
The held-out rows of each new version are therefore compared with the anchor's: like with like, however much what is
served differs from both, and over the hours and days that training data span. A feature whose drift was told is
anchored anew by the next version if that has learned it: nobody needs to hear of a change twice.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import groupby

import msgspec
import numpy as np

from perennial.wire.layout import CutKind, binned, layout_of
from perennial.wire.reference import Categorical, Column, Numeric, Reference

from .apart import Worth, apart, comparable, cuts
from .dispersion import Dispersion
from .faults import DOUBT, Finding
from .history import STRETCHES
from .scan import bound
from .words import at, count


class Anchored(msgspec.Struct, frozen=True, omit_defaults=True):
    """A feature's column in the reference of `version`, first watched at `since` (Unix seconds), so many `promotions`
    ago. `values` and `missing` are the overdispersion of its rows."""

    since: float
    column: Column
    version: int | None = None
    promotions: int = 0
    values: float = 1.0
    missing: float = 1.0

    @property
    def worth(self) -> Worth:
        return Worth(self.column, self.values, self.missing)


REMAINS = 1 / 2
"""Of the materiality."""


@dataclass(frozen=True)
class Rules:
    """`looks` is how many looks a scan has, on average, before a false alarm; `exclude` names features that are not
    watched."""

    materiality: float
    looks: float
    exclude: Collection[str] = ()

    @property
    def remains(self) -> float:
        """So much has to remain of a difference that was told."""
        return REMAINS * self.materiality

    def bound(self, pairs: Sequence[tuple[Worth, Worth]]) -> float:
        """The standard errors beyond which a difference counts. One comparison is one stretch of one look; the first
        look after a promotion, with one window only, leaves more than that unused."""
        return bound(self.looks, STRETCHES * sum(cuts(before.column, now.column) for before, now in pairs))


class Anchor(msgspec.Struct, frozen=True):
    """The features of the model that was last compared, by its digest. `told` are columns of the version before, of
    features whose drift was told."""

    model: str
    features: tuple[Anchored, ...] = ()
    told: tuple[Column, ...] = ()

    @property
    def points(self) -> list[tuple[Anchored, int]]:
        """Each version that features are anchored at, by one of these, and how many they are; the oldest first."""
        alike = (list(those) for _, those in groupby(sorted(self.features, key=_since), key=_since))
        return [(those[0], len(those)) for those in alike]


def carried(anchor: Anchor | None, reference: Reference, version: int | None, since: float, rules: Rules) -> Anchor:
    """The anchor under the next version. Features that are new to it, or of another kind now, begin here, and those
    whose drift was told and that it has learned."""
    features = _features(reference)
    known = {each.column.name: each for each in anchor.features} if anchor else {}
    learned = _learned(anchor.told, features, rules) if anchor else set()
    return Anchor(
        reference.model,
        tuple(
            msgspec.structs.replace(before, promotions=before.promotions + 1)
            if (before := known.get(now.column.name))
            and comparable(before.column, now.column)
            and now.column.name not in learned
            else Anchored(since, _kept(now.column), version, values=now.values, missing=now.missing)
            for now in features
        ),
    )


def _learned(told: Sequence[Column], features: Sequence[Worth], rules: Rules) -> set[str]:
    """The features whose held-out rows are others than those of the version before."""
    before = {column.name: column for column in told}
    pairs = [
        (Worth(column, now.values, now.missing), now)
        for now in features
        if (column := before.get(now.column.name)) and comparable(column, now.column)
    ]
    furthest = rules.bound(pairs)
    return {now.column.name for each, now in pairs if apart(each, now, bound=furthest, materiality=rules.materiality)}


def moved(anchor: Anchor, reference: Reference, rules: Rules, told: Collection[str] = ()) -> list[Finding]:
    """The features whose held-out rows surely and materially differ from the anchor's. One that was `told` is one of
    them as long as it is not back for most of the way: versions that waver about the bound must not be told each
    time."""
    pairs = [
        (before, now)
        for before, now in zip(anchor.features, _features(reference), strict=True)
        if before.promotions and now.column.name not in rules.exclude
    ]
    furthest = rules.bound([(before.worth, now) for before, now in pairs])
    return [
        Finding(
            state="Drift",
            name=now.column.name,
            kind=found.kind,
            effect=found.size,
            divergence=0.0,
            statistic=found.statistic,
            words=f"{found.words} since {_named(before)}, {count(before.promotions, 'promotion')} ago",
            n=reference.rows,
            since=before.since,
        )
        for before, now in pairs
        if (found := apart(before.worth, now, bound=furthest, materiality=rules.materiality))
        or (now.column.name in told and (found := apart(before.worth, now, bound=DOUBT, materiality=rules.remains)))
    ]


def _named(anchored: Anchored) -> str:
    model = "the model" if anchored.version is None else f"version {anchored.version}"
    return f"{model} of {at(anchored.since)[:10]}"


def _since(anchored: Anchored) -> tuple[float, int]:
    return anchored.since, anchored.version or 0


def _features(reference: Reference) -> list[Worth]:
    """The features with what the order of their held-out rows tells of how much these waver."""
    layout = layout_of(reference)
    rows = np.array([float(reference.rows)])
    dispersion = Dispersion(layout, trained=reference.differences).at(rows)[0]
    missing = layout.kind == CutKind.MISSING
    return [
        Worth(
            binned(column) if isinstance(column, Numeric) else column,
            float(dispersion[(layout.column == place) & ~missing].max(initial=1.0)),
            float(dispersion[(layout.column == place) & missing].max(initial=1.0)),
        )
        for place, column in enumerate(reference.features)
    ]


def _kept(column: Column) -> Column:
    """What an anchor needs to be measured from: of a number every other edge, since the other side has all of its own,
    of a text the categories that have a cell."""
    if isinstance(column, Categorical):
        return Categorical(column.name, column.categories, column.counts, groups=column.groups)
    edges = len(column.edges)
    kept = {*range(0, edges, 2), edges - 1}
    return binned(msgspec.structs.replace(column, probes=[place for place in range(edges) if place not in kept]))
