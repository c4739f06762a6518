"""How large a difference is, which way it goes and of what kind it is: significance is not size.

The effect is in cumulative probability, the unit of `materiality`: the largest difference of two cumulative
distributions for numbers, of one category's share for categories, of the share of rows for missing and unseen values.
The distances that dashboards know are given beside it (`distances.py`).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import msgspec
import numpy as np

from perennial.wire.layout import Counts, CutKind, Floats, Ints, Layout, bin_counts
from perennial.wire.reference import Categorical, Numeric

from .distances import jensen_shannon, population_stability, wasserstein
from .scan import Peak
from .units import changed_unit

CATEGORIES = 3
"""Categories named in the words about one column: that which changed most, and those that changed a third as much."""

TOGETHER = 1.5
"""How much more all rarer categories have changed together than any one or group of them where they are told as one."""

LONGEST_NAME = 60
"""Characters of a category that are shown."""

NAMED = 3
"""Features named in the words about a joint column."""

UNKNOWN_COLUMN = 0.5
"""The share of unseen values from which a column means something else than it did."""

NEARLY_ALL = 0.9
"""The share of values in one bin from which the words name that bin."""

Kind = Literal["Distribution", "Category", "Missing", "Unseen", "Range", "Joint", "Unit", "Forbidden"]


@dataclass(frozen=True)
class Effect:
    """`size` is in cumulative probability; `words` say what happened, for a person; `rises` is whether what `kind`
    names became more, and `broken` that it is no change of the world. `psi`, `divergence` (Jensen-Shannon, in bits) and
    `wasserstein` (in the feature's unit, numbers only) are of the same cells."""

    kind: Kind
    size: float
    rises: bool
    words: str
    broken: bool = False
    psi: float = 0.0
    divergence: float = 0.0
    wasserstein: float | None = None


def effect(
    layout: Layout,
    peak: Peak,
    now: Ints,
    before: Counts,
    dispersion: float = 1.0,
    *,
    on_its_way: bool = False,
    is_clock: bool = False,
) -> Effect:
    """The effect behind a peak. `now` are the counts of its stretch and `before` the baseline's, all columns of
    both; `dispersion` is that of so long a stretch at the peak's cut. `on_its_way` is as in `on_their_way.py`,
    `is_clock` as in `clocks.py`."""
    column = layout.columns[peak.column]
    cells = layout.slice(peak.column)
    kind = CutKind(int(layout.kind[peak.cut]))
    if kind is CutKind.MISSING:
        missing = _share("Missing", "missing", now[cells], before[cells], -1)
        return replace(missing, broken=missing.rises)
    values, values_before = now[cells][:-1], before[cells][:-1]
    if isinstance(column, Categorical):
        told = _unseen if kind is CutKind.UNSEEN else _categorical
        changed = told(column, values, values_before)
        return replace(changed, broken=False) if (on_its_way or is_clock) and changed.kind == "Unseen" else changed
    found = _numeric(column, values, values_before)
    if column.name in layout.joint:
        return _joint(layout.joint[column.name], found)
    if forbidden := _forbidden(column, values, values_before, found):
        return forbidden
    if is_clock:
        return found
    words = changed_unit(column, now[cells], before[cells], dispersion, on_its_way=on_its_way)
    return found if words is None else replace(found, kind="Unit", rises=True, broken=True, words=words)


def _share(kind: Kind, what: str, now: Ints, before: Counts, cell: int) -> Effect:
    p, q = _shares(now), _shares(before)
    difference = float(p[cell] - q[cell])
    words = f"{_percent(q[cell])} -> {_percent(p[cell])} {what}"
    return _measured(Effect(kind, abs(difference), difference > 0, words), now, before)


def _measured(found: Effect, now: Counts, before: Counts) -> Effect:
    apart = jensen_shannon(_shares(now), _shares(before))
    return replace(found, psi=population_stability(now, before), divergence=apart)


def _unseen(column: Categorical, now: Ints, before: Counts) -> Effect:
    found = _share("Unseen", "of no known category", now, before, -1)
    if column.closed and found.rises:
        return replace(found, kind="Forbidden", broken=True, words=f"{found.words}, which data.expect forbids")
    return replace(found, broken=found.rises and found.size >= UNKNOWN_COLUMN)


def _numeric(column: Numeric, now: Ints, before: Counts) -> Effect:
    away = wasserstein(column.edges, _shares(now), _shares(before))
    bins, bins_before = (bin_counts(column, np.append(cells, 0))[:-1] for cells in (now, before))
    p, q = _shares(bins), _shares(bins_before)
    moved = _moved(p, q)
    words = _stuck(column, p, q) or moved.words
    return _measured(replace(moved, words=words, wasserstein=away), bins, bins_before)


def _stuck(column: Numeric, p: Floats, q: Floats) -> str | None:
    """Where nearly all values lie within one bin that less than half did before, as of a sensor that hangs: in
    words."""
    place = int(p.argmax())
    if p[place] < NEARLY_ALL or q[place] > 1 / 2 or not 0 < place < len(p) - 1:
        return None
    low, high = (column.edges[bound] for bound in column.bounds[place - 1 : place + 1])
    return f"{_percent(q[place])} -> {_percent(p[place])} from {low:.4g} to {high:.4g}"


def _forbidden(column: Numeric, now: Ints, before: Counts, found: Effect) -> Effect | None:
    """Where most of a change is that values came which `data.expect` forbids."""
    p, q = _shares(now), _shares(before)
    size, words = 0.0, []
    for side, limit, cells in _outlawed(column):
        more = float((p - q)[cells].sum())
        if more > 0:
            size += more
            words.append(f"{_percent(float(q[cells].sum()))} -> {_percent(float(p[cells].sum()))} {side} {limit:g}")
    if not words or size < found.size / 2:
        return None
    said = f"{' and '.join(words)}, which data.expect forbids"
    return replace(found, kind="Forbidden", size=size, rises=True, broken=True, words=said)


def _outlawed(column: Numeric) -> Iterator[tuple[str, float, slice]]:
    """Which cells hold values below what `data.expect` allows, and above."""
    if column.least is not None:
        yield "below", column.least, slice(0, bisect_left(column.edges, column.least) + 1)
    if column.greatest is not None:
        yield "above", column.greatest, slice(bisect_right(column.edges, column.greatest) + 1, None)


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


def _categorical(column: Categorical, now: Ints, before: Counts) -> Effect:
    apart = _shares(now) - _shares(before)
    known = len(column.categories)
    if column.groups > 1 and abs(apart[known:-1].sum()) > TOGETHER * np.abs(apart).max():
        # The rarer ones have changed, and not one among them.
        begins = [*range(known + 1), len(apart) - 1]
        together, was = (np.add.reduceat(cells, begins) for cells in (now, before))
        return _categorical(msgspec.structs.replace(column, groups=1), together, was)
    names = [*(quoted(name) for name in column.categories), *_rarer(column), "of no known category"]
    largest, *others = np.argsort(-np.abs(apart), kind="stable")[:CATEGORIES].tolist()
    if largest == len(names) - 1:
        return _unseen(column, now, before)
    found = _share("Category", names[largest], now, before, largest)
    beside = [other for other in others if abs(apart[other]) >= found.size / 3]
    words = [found.words, *(_share("Category", names[other], now, before, other).words for other in beside)]
    return replace(found, words="; ".join(words))


def quoted(category: str) -> str:
    """A category's name in words: a status has many, and a text that somebody has written may be long."""
    return repr(category if len(category) <= LONGEST_NAME else f"{category[: LONGEST_NAME - 1]}…")


def _rarer(column: Categorical) -> Iterator[str]:
    """What the groups of the rarer categories are called."""
    if column.groups == 1:
        yield "of the rarer categories"
        return
    for place in range(column.groups):
        first, *others = (quoted(name) for name in column.others[place :: column.groups])
        yield f"of {first} and {len(others)} other rare ones" if others else first


def _shares(cells: Counts) -> Floats:
    shares: Floats = cells / max(float(cells.sum()), 1.0)
    return shares


def _percent(share: float) -> str:
    return f"{share:.1%}"
