"""How large a difference is, which way it goes and of what kind it is: significance is not size.

The effect is in cumulative probability, the unit of `materiality`: the largest difference of two cumulative
distributions for numbers, of one category's share for categories, of the share of rows for missing and unseen values.
The distances that dashboards know are given beside it (`distances.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from perennial.wire.layout import CutKind, Floats, Ints, Layout
from perennial.wire.reference import Categorical, Numeric

from .distances import jensen_shannon, population_stability, wasserstein
from .scan import Peak

CATEGORIES = 3
"""Categories named in the words about one column: that which changed most, and those that changed a third as much."""

NAMED = 3
"""Features named in the words about a joint column."""

Kind = Literal["Distribution", "Category", "Missing", "Unseen", "Range", "Joint"]


@dataclass(frozen=True)
class Effect:
    """`size` is in cumulative probability; `words` say what happened, for a person; `rises` is whether what `kind`
    names became more. `psi`, `divergence` (Jensen-Shannon, in bits) and `wasserstein` (in the feature's unit, numbers
    only) are of the same cells."""

    kind: Kind
    size: float
    rises: bool
    words: str
    psi: float = 0.0
    divergence: float = 0.0
    wasserstein: float | None = None


def effect(layout: Layout, peak: Peak, now: Ints, before: Ints) -> Effect:
    """The effect behind a peak. `now` are the counts of its stretch and `before` the baseline's, all columns of
    both."""
    column = layout.columns[peak.column]
    cells = layout.slice(peak.column)
    kind = CutKind(int(layout.kind[peak.cut]))
    if kind is CutKind.MISSING:
        return _share("Missing", "missing", now[cells], before[cells], -1)
    values, values_before = now[cells][:-1], before[cells][:-1]
    if kind is CutKind.UNSEEN:
        return _share("Unseen", "of no known category", values, values_before, -1)
    if column.name in layout.joint and isinstance(column, Numeric):
        return _joint(layout.joint[column.name], _numeric(column, values, values_before))
    if isinstance(column, Numeric):
        return _numeric(column, values, values_before)
    return _categorical(column, values, values_before)


def _share(kind: Kind, what: str, now: Ints, before: Ints, cell: int) -> Effect:
    p, q = _shares(now), _shares(before)
    difference = float(p[cell] - q[cell])
    words = f"{_percent(q[cell])} -> {_percent(p[cell])} {what}"
    return _measured(Effect(kind, abs(difference), difference > 0, words), now, before)


def _measured(found: Effect, now: Ints, before: Ints) -> Effect:
    apart = jensen_shannon(_shares(now), _shares(before))
    return replace(found, psi=population_stability(now, before), divergence=apart)


def _numeric(column: Numeric, now: Ints, before: Ints) -> Effect:
    p, q = _shares(now), _shares(before)
    moved = replace(_moved(p, q), wasserstein=wasserstein(column.edges, p, q))
    return _measured(moved, now, before)


def _moved(p: Floats, q: Floats) -> Effect:
    differences = np.cumsum(p - q)[:-1]
    size = float(np.abs(differences).max(initial=0.0))
    outside, outside_before = float(p[0] + p[-1]), float(q[0] + q[-1])
    if outside - outside_before >= size / 2 > 0:
        words = f"{_percent(outside_before)} -> {_percent(outside)} outside the range known before"
        return Effect("Range", size, True, words)
    lower, higher = float(differences.max(initial=0.0)), float(-differences.min(initial=0.0))
    if min(lower, higher) > size / 2:
        rises = int(differences.argmax()) < int(differences.argmin())
        return Effect("Distribution", size, rises, "more spread out" if rises else "less spread out")
    return Effect("Distribution", size, higher > lower, "higher" if higher > lower else "lower")


def _joint(features: Sequence[str], found: Effect) -> Effect:
    shown = [*features[:NAMED], f"{len(features) - NAMED} more"] if len(features) > NAMED else list(features)
    named = f"{', '.join(shown[:-1])} and {shown[-1]} go together" if shown[1:] else f"{shown[0]} goes with the others"
    return replace(found, kind="Joint", words=f"{named} otherwise than before: {found.words}")


def _categorical(column: Categorical, now: Ints, before: Ints) -> Effect:
    apart = _shares(now) - _shares(before)
    names = [*(repr(name) for name in column.categories), "of the rarer categories", "of no known category"]
    largest, *others = np.argsort(-np.abs(apart), kind="stable")[:CATEGORIES].tolist()
    found = _share("Category", names[largest], now, before, largest)
    beside = [other for other in others if abs(apart[other]) >= found.size / 3]
    words = [found.words, *(_share("Category", names[other], now, before, other).words for other in beside)]
    return replace(found, words="; ".join(words))


def _shares(cells: Ints) -> Floats:
    shares: Floats = cells / max(int(cells.sum()), 1)
    return shares


def _percent(share: float) -> str:
    return f"{share:.1%}"
