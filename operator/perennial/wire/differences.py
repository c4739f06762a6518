"""How much blocks of rows differ from the blocks that follow them: what tells chance from a world that wavers.

Rows of one hour are more alike than independent ones, and hours more alike than days. So blocks are compared with
their successors at doubling lengths: sums of squares of a few *units* of each column are all that is kept. What changes
once touches but one pair of each length (the Haar wavelet's variances; Percival, Biometrika 82, 1995). The run fills
one from its held-out rows in the order of time, the monitor one from the windows served; what follows from them is the
monitor's to say.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from .layout import CutKind, Floats, Ints, Layout
from .reference import DIGITS, Differences

TELLING = 10.0
"""Rows that a pair of blocks needs on either side of a cut, or it says nothing."""


class UnitKind(IntEnum):
    """What a unit is about: those of a kind are taken to waver much alike."""

    VALUES = 0
    """The level of a column, or a cut of one that has too few values for a level."""
    SPREAD = 1
    CATEGORY = 2
    """A text of many may be as it is where numbers waver."""
    TOGETHER = 3
    """Level and spread of a column that is no sum of features: of products and of the reconstruction error."""
    FAULT = 4
    """Missing or unseen values."""


def units(layout: Layout) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The cuts that stand for their column in differences, and the kind of each."""
    seen_whole = np.zeros(len(layout.columns), dtype=bool)
    seen_whole[layout.column[layout.is_whole]] = True
    chosen = np.flatnonzero(~seen_whole[layout.column] | (layout.kind != CutKind.VALUE))
    together = np.array([column.name in layout.crossed for column in layout.columns], dtype=bool)
    kinds = np.full(len(chosen), UnitKind.VALUES, dtype=np.intp)
    kinds[layout.kind[chosen] == CutKind.SPREAD] = UnitKind.SPREAD
    kinds[layout.kind[chosen] == CutKind.CATEGORY] = UnitKind.CATEGORY
    kinds[together[layout.column[chosen]]] = UnitKind.TOGETHER
    kinds[layout.fault[chosen]] = UnitKind.FAULT
    return chosen, kinds


@dataclass(frozen=True)
class Normally:
    """How pairs of blocks differ with nothing changed, since they are of other hours: what either then holds, of shape
    (pairs, cells) each, and the `error` [pairs] of that difference in parts of the variance of one row."""

    earlier: Floats
    later: Floats
    error: Floats


def between(
    layout: Layout,
    earlier: Ints,
    later: Ints,
    rows: Floats | Ints,
    most: Floats | None = None,
    normally: Normally | None = None,
) -> Differences:
    """Of pairs of blocks of one length, of shape (pairs, cells) each, beyond what is `normally` between them; no unit's
    square counts for more than `most` [pairs, units]. `rows` [pairs] are those of evenly filled blocks that would
    differ as much where what is served wavers with the time."""
    squares, telling = _squares(layout, earlier, later, normally)
    if most is not None:
        squares = np.minimum(squares, most)
    told: list[int] = telling.sum(axis=0).tolist()
    return Differences(len(earlier), float(rows.sum()), squares.sum(axis=0).round(DIGITS).tolist(), told)


def of_blocks(layout: Layout, blocks: Ints) -> list[Differences]:
    """Of blocks of shape (blocks, cells) in the order of time: the first with the second, and so on, then twos of
    them, then fours."""
    found = []
    while len(blocks) > 1:
        even = blocks[: len(blocks) // 2 * 2]
        found.append(between(layout, even[::2], even[1::2], layout.rows(even[::2])))
        blocks = even[::2] + even[1::2]
    return found


def _squares(layout: Layout, earlier: Ints, later: Ints, normally: Normally | None) -> tuple[Floats, NDArray[np.bool_]]:
    """Squared differences of the share at each unit, by their variance: Pearson's statistic of two samples. And which
    of them tell anything: of what is rare nobody knows how it wavers."""
    chosen, _ = units(layout)
    inside, n = layout.cut_counts(earlier)
    inside_later, n_later = layout.cut_counts(later)
    variance = layout.variance(inside + inside_later, n + n_later).take(chosen, axis=-1)
    inside, n, inside_later, n_later = (each.take(chosen, axis=-1) for each in (inside, n, inside_later, n_later))
    pooled, total = inside + inside_later, n + n_later
    telling = (np.minimum(pooled, total - pooled) >= TELLING) & (n > 0) & (n_later > 0)
    apart = inside / np.maximum(n, 1.0) - inside_later / np.maximum(n_later, 1.0)
    parts = 1 / np.maximum(n, 1.0) + 1 / np.maximum(n_later, 1.0)
    if normally is not None:
        apart -= (_shares(layout, normally.earlier) - _shares(layout, normally.later)).take(chosen, axis=-1)
        parts += normally.error[:, None]
    chance = variance * parts
    telling &= chance > 0
    squares: Floats = np.divide(apart**2, chance, out=np.zeros_like(apart), where=telling)
    return squares, telling


def _shares(layout: Layout, cells: Floats) -> Floats:
    inside, n = layout.cut_counts(cells)
    shares: Floats = np.divide(inside, n, out=np.zeros_like(n), where=n > 0)
    return shares
