"""How far two columns are surely apart whose cells were cut at different places, as each run cuts its own.

At an edge of one the share of values below it is known there; of the other it lies between the shares at the two edges
around it. What remains outside of that interval is surely a difference, whatever the values within a cell are. A
category that one of them has no cell for is, at most, all that the other counted as rarer or unknown. So nothing is
assumed, equal cells are compared exactly, and a move within a bin's width says nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from perennial.wire.layout import Floats
from perennial.wire.reference import Categorical, Column, Numeric

from .effects import quoted
from .faults import DOUBT
from .scan import signed_root

Kind = Literal["Distribution", "Category", "Missing"]


@dataclass(frozen=True)
class Worth:
    """A column, and by how much less its values, and whether they are missing, tell than as many independent rows
    would."""

    column: Column
    values: float = 1.0
    missing: float = 1.0


@dataclass(frozen=True)
class Apart:
    """A difference that is surely so large: `size` is in cumulative probability, `statistic` in standard errors, and
    positive where what the words name became more."""

    kind: Kind
    size: float
    statistic: float
    words: str


@dataclass(frozen=True)
class _Cuts:
    """At each cut [cuts] the rows on its first side, of `n` now and `n_before`: those nearest to one another that the
    cells allow if they are more now, and if they are fewer. `names` say what a cut of a text asks for."""

    kind: Kind
    more: tuple[Floats, Floats]
    fewer: tuple[Floats, Floats]
    n: float
    n_before: float
    names: Sequence[str] = ()

    def changed(self, inside: tuple[Floats, Floats]) -> tuple[Floats, Floats]:
        """The shares now and before."""
        return inside[0] / max(self.n, 1.0), inside[1] / max(self.n_before, 1.0)


@dataclass(frozen=True)
class _Sure:
    cuts: _Cuts
    cut: int
    share: float
    share_before: float
    statistic: float

    @property
    def size(self) -> float:
        return abs(self.share - self.share_before)

    @property
    def certain(self) -> float:
        """What is left of the size when so much doubt is taken off."""
        return self.size * (1 - DOUBT / max(abs(self.statistic), DOUBT))


def comparable(before: Column, now: Column) -> bool:
    """Whether the two are of one kind: a number that became a text is another feature."""
    return isinstance(before, Numeric) == isinstance(now, Numeric)


def cuts(before: Column, now: Column) -> int:
    """How many differences are looked at."""
    looked = (_values(before, now), _missing(before, now), *_sets(before, now))
    return sum(len(each.more[0]) for each in looked)


def apart(before: Worth, now: Worth, *, bound: float, materiality: float) -> Apart | None:
    """The difference that is surely the largest of those beyond the bound, in standard errors; None where none is
    material.

    Both columns have to be comparable. What all categories do together is told where none does so much alone.
    """
    one, other = before.column, now.column
    for looked in ((_values(one, other), _missing(one, other)), _sets(one, other)):
        sure = (each for cuts in looked for each in _beyond(cuts, before, now, bound))
        found = max(sure, key=lambda each: each.certain, default=None)
        if found and found.certain >= materiality:
            return _told(found, one, other)
    return None


def _beyond(cuts: _Cuts, before: Worth, now: Worth, bound: float) -> Iterable[_Sure]:
    """Where the two are apart, both ways."""
    if not cuts.n or not cuts.n_before:
        return
    missing = cuts.kind == "Missing"
    dispersion, dispersion_before = (each.missing if missing else each.values for each in (now, before))
    for sign, (inside, inside_before) in ((1.0, cuts.more), (-1.0, cuts.fewer)):
        shares, shares_before = cuts.changed((inside, inside_before))
        statistics = signed_root(
            inside / dispersion,
            np.asarray(cuts.n / dispersion),
            inside_before / dispersion_before,
            np.asarray(cuts.n_before / dispersion_before),
        )
        for cut in np.flatnonzero((sign * (shares - shares_before) > 0) & (np.abs(statistics) > bound)).tolist():
            yield _Sure(cuts, cut, float(shares[cut]), float(shares_before[cut]), float(statistics[cut]))


def _told(found: _Sure, before: Column, now: Column) -> Apart:
    if isinstance(before, Numeric) and isinstance(now, Numeric) and found.cuts.kind == "Distribution":
        # Below an edge there are more where values are lower.
        return Apart("Distribution", found.size, -found.statistic, _way(found.cuts, [*before.edges, *now.edges]))
    words = f"{100 * found.share_before:.3g}% -> {100 * found.share:.3g}% {found.cuts.names[found.cut]}"
    return Apart(found.cuts.kind, found.size, found.statistic, words)


def _way(cuts: _Cuts, edges: Sequence[float]) -> str:
    """Which way the values of a number have moved."""
    more, fewer = (now - before for now, before in map(cuts.changed, (cuts.more, cuts.fewer)))
    lower, higher = float(more.max()), float(-fewer.min())
    if min(lower, higher) <= max(lower, higher) / 2:
        return "lower" if lower > higher else "higher"
    return "more spread out" if edges[int(more.argmax())] < edges[int(fewer.argmin())] else "less spread out"


def _values(before: Column, now: Column) -> _Cuts:
    if isinstance(before, Numeric) and isinstance(now, Numeric):
        low, high = _about(now, before.edges)
        low_before, high_before = _about(before, now.edges)
        own, own_before = _below(now), _below(before)
        kind: Kind = "Distribution"
        names: list[str] = []
    elif isinstance(before, Categorical) and isinstance(now, Categorical):
        low, high = _of_each(now, before.categories)
        low_before, high_before = _of_each(before, now.categories)
        own, own_before = _known(now), _known(before)
        kind = "Category"
        names = [quoted(name) for name in (*before.categories, *now.categories)]
    else:
        raise TypeError(f"{before.name!r} is a number in one and a text in the other")
    return _Cuts(
        kind,
        more=(np.concatenate([low, own]), np.concatenate([own_before, high_before])),
        fewer=(np.concatenate([high, own]), np.concatenate([own_before, low_before])),
        n=_rows(now),
        n_before=_rows(before),
        names=names,
    )


def _sets(before: Column, now: Column) -> tuple[_Cuts, ...]:
    """Of texts, all categories that one of them has a cell for: each of many may come and go with a little."""
    if not isinstance(before, Categorical) or not isinstance(now, Categorical):
        return ()
    low, high = _of_any(now, before.categories)
    low_before, high_before = _of_any(before, now.categories)
    own, own_before = _known(now).sum(), _known(before).sum()
    sets = _Cuts(
        "Category",
        more=(np.array([low, own]), np.array([own_before, high_before])),
        fewer=(np.array([high, own]), np.array([own_before, low_before])),
        n=_rows(now),
        n_before=_rows(before),
        names=("of the categories known before", "of the categories known now"),
    )
    return (sets,)


def _missing(before: Column, now: Column) -> _Cuts:
    both = (np.array([float(now.counts[-1])]), np.array([float(before.counts[-1])]))
    return _Cuts("Missing", both, both, float(sum(now.counts)), float(sum(before.counts)), ("missing",))


def _rows(column: Column) -> float:
    """Those that have a value."""
    return float(sum(column.counts[:-1]))


def _below(column: Numeric) -> Floats:
    """How many values are below each edge."""
    return np.cumsum(column.counts[:-1])[:-1].astype(np.float64)


def _about(column: Numeric, places: list[float]) -> tuple[Floats, Floats]:
    """How many values are below each place, at least and at most."""
    below = np.concatenate([[0.0], np.cumsum(column.counts[:-1]).astype(np.float64)])
    low = below[np.searchsorted(column.edges, places, side="right")]
    high = below[np.searchsorted(column.edges, places, side="left") + 1]
    return low, high


def _known(column: Categorical) -> Floats:
    """How many values are of each category."""
    return np.array(column.counts[: len(column.categories)], dtype=np.float64)


def _rarer(column: Categorical) -> float:
    """How many are of none of them."""
    return float(sum(column.counts[len(column.categories) : -1]))


def _of_each(column: Categorical, names: Sequence[str]) -> tuple[Floats, Floats]:
    """How many values are of each of these categories, at least and at most."""
    known = dict(zip(column.categories, column.counts, strict=False))
    low = np.array([known.get(name, 0) for name in names], dtype=np.float64)
    high = np.array([known.get(name, _rarer(column)) for name in names], dtype=np.float64)
    return low, high


def _of_any(column: Categorical, names: Sequence[str]) -> tuple[float, float]:
    """How many values are of any of these categories, at least and at most."""
    low = float(_of_each(column, names)[0].sum())
    return low, low + _rarer(column)
