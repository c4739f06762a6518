"""Where columns, cells and cuts lie in the flat counts of a window.

A window is one list of integers: every column's cells in order (`wire/reference.py`). A *cut* splits a column's rows
in two, at a value, at a category or at whether there is a value at all; every statistic of a cut needs only how many
rows fell on its first side. All cuts of all columns are index vectors here, so that a window, or many windows at once,
are cut by four look-ups in one cumulative sum; cuts in part are weighted sums of a column's plain ones.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from itertools import accumulate, chain, pairwise

import msgspec
import numpy as np
from numpy.typing import NDArray

from .reference import Categorical, Column, Joint, Numeric, Reference

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Counts = Ints | Floats
"""Of rows; fractions where rows of several hours are mixed."""

CUTS = 15
"""Cuts of a numeric column: more are so correlated that they only raise the threshold."""


class CutKind(IntEnum):
    """What a cut asks. All but MISSING ask it of the rows that have a value."""

    VALUE = 0
    """How many values are below an edge."""
    CATEGORY = 1
    """How many are of a category."""
    UNSEEN = 2
    """How many are of no category that training knew."""
    MISSING = 3
    """How many rows have no value."""
    LEVEL = 4
    """How high values are as a whole: the mean over the column's cuts, and so the mean rank (Wilcoxon's statistic)."""
    SPREAD = 5
    """How far values lie from the middle as a whole: the mean squared distance of ranks (Mood's statistic)."""


WHOLE = (CutKind.LEVEL, CutKind.SPREAD)
"""Cuts in part: a row counts on the first side by a share from 0 to 1. Where all of a column moves a little they see it
with a third fewer rows than the best single cut does."""


@dataclass(frozen=True)
class Cut:
    """Rows in cells `first` to `last` (exclusive) of those in cells `of_first` to `of_last`, all counted from the
    window's first cell; for those of `WHOLE` all of the column's values.

    `outside` is -1 or 1 for the lower or upper end of the range that the reference saw: its own extreme lies on the
    edge.
    """

    column: int
    kind: CutKind
    first: int
    last: int
    of_first: int
    of_last: int
    outside: int = 0


class Layout:
    """The columns of a reference and their cuts. `joint` has the features that take part in a joint column, by its
    name; `crossed` are the names of those that are no sum of features.

    A joint column has no cut for missing values: those are its features' own.

    Raises ValueError for a reference that was made for other cells than its columns have.
    """

    def __init__(
        self,
        columns: Sequence[Column],
        joint: Mapping[str, tuple[str, ...]] | None = None,
        crossed: Collection[str] = (),
    ) -> None:
        for column in columns:
            if len(column.counts) != column.cells:
                raise ValueError(f"column {column.name!r} has {column.cells} cells and {len(column.counts)} counts")
        self.columns = tuple(columns)
        self.joint = dict(joint or {})
        self.crossed = frozenset(crossed)
        self.starts = np.cumsum([0, *(column.cells for column in columns)])
        cuts: list[Cut] = []
        wholes: list[_Whole] = []
        for index, column in enumerate(columns):
            made = _cuts(column, index, int(self.starts[index]), joint=column.name in self.joint)
            wholes += _wholes(column, made, len(cuts))
            cuts += made
        self.cuts = tuple(cuts)
        self.column = np.array([cut.column for cut in cuts], dtype=np.int64)
        self.kind = np.array([cut.kind for cut in cuts], dtype=np.int64)
        self.outside = np.array([cut.outside for cut in cuts], dtype=np.int64)
        self.fault = (self.kind == CutKind.MISSING) | (self.kind == CutKind.UNSEEN)
        self.is_whole = (self.kind == CutKind.LEVEL) | (self.kind == CutKind.SPREAD)
        self._whole = np.flatnonzero(self.is_whole)
        self._first = np.array([cut.first for cut in cuts], dtype=np.int64)
        self._last = np.array([cut.last for cut in cuts], dtype=np.int64)
        self._of_first = np.array([cut.of_first for cut in cuts], dtype=np.int64)
        self._of_last = np.array([cut.of_last for cut in cuts], dtype=np.int64)
        self._weigh = _Weights(wholes)

    @property
    def cells(self) -> int:
        return int(self.starts[-1])

    def slice(self, column: int) -> slice:
        """The cells of a column."""
        return slice(int(self.starts[column]), int(self.starts[column + 1]))

    def rows(self, cells: Ints) -> Ints:
        """How many rows there are in counts of shape (..., cells): every column has all of them."""
        total: Ints = cells[..., self.slice(0)].sum(axis=-1)
        return total

    def cut_counts(self, cells: Counts) -> tuple[Floats, Floats]:
        """For counts of shape (..., cells): rows on the first side of each cut, and of how many, both of shape (...,
        cuts)."""
        summed: Counts = np.zeros((*cells.shape[:-1], self.cells + 1), dtype=np.result_type(cells, np.int64))
        np.cumsum(cells, axis=-1, out=summed[..., 1:])
        n = _between(summed, self._of_first, self._of_last)
        inside = _between(summed, self._first, self._last)
        inside[..., self._whole] = self._weigh.inside(inside, n.take(self._whole, axis=-1))
        return inside, n

    def variance(self, inside: Floats, n: Floats) -> Floats:
        """The variance of a row's part on the first side of each cut, by `cut_counts` of many rows: p (1 - p), and for
        a cut in part less, since most rows lie on neither side wholly."""
        share = inside / np.maximum(n, 1.0)
        variance: Floats = share * (1 - share)
        n = n.take(self._whole, axis=-1)
        squares = self._weigh.squares(inside, n) / np.maximum(n, 1.0)
        variance[..., self._whole] = np.maximum(squares - share.take(self._whole, axis=-1) ** 2, 0.0)
        return variance


def _between(summed: Counts, first: Ints, last: Ints) -> Floats:
    """Sums over the cells from `first` to `last` (exclusive), of cumulative ones. Integers add up exactly, and several
    times as fast."""
    counts: Floats = (summed.take(last, axis=-1) - summed.take(first, axis=-1)).astype(np.float64)
    return counts


@dataclass(frozen=True)
class _Whole:
    """A cut in part as a weighted sum of plain ones, `weights` of those from `first` on, and an `offset`.

    A row between two cuts lies on the first side by the sum of the weights of the cuts above it, and the offset.
    """

    first: int
    weights: list[float]
    offset: float

    @property
    def squares(self) -> list[float]:
        """The weights that give the squares of these parts."""
        parts = [*accumulate(reversed(self.weights), initial=self.offset)][::-1]
        return [above**2 - below**2 for above, below in pairwise(parts)]


class _Weights:
    """All cuts in part of a layout at once."""

    def __init__(self, wholes: Sequence[_Whole]) -> None:
        takes = [range(whole.first, whole.first + len(whole.weights)) for whole in wholes]
        self._starts = np.cumsum([0, *(len(take) for take in takes)])[:-1]
        self._take = np.array([*chain.from_iterable(takes)], dtype=np.int64)
        self._weights = np.array([*chain.from_iterable(whole.weights for whole in wholes)])
        self._squares = np.array([*chain.from_iterable(whole.squares for whole in wholes)])
        self._offset = np.array([whole.offset for whole in wholes])

    def inside(self, plain: Floats, n: Floats) -> Floats:
        return self._sum(plain, self._weights) + self._offset * n

    def squares(self, plain: Floats, n: Floats) -> Floats:
        """The sum over rows of the squared part that lies on the first side. Above all cuts it is the offset, which is
        0 or 1 and its own square."""
        return self._sum(plain, self._squares) + self._offset * n

    def _sum(self, plain: Floats, weights: Floats) -> Floats:
        if not len(self._take):
            return np.zeros((*plain.shape[:-1], 0))
        total: Floats = np.add.reduceat(plain.take(self._take, axis=-1) * weights, self._starts, axis=-1)
        return total


FEWEST_TELLING = 2
"""Cuts within the bulk of a column, on either side of its middle, for it to be seen as a whole."""

BULK = 0.01
"""The share of rows on either side that a cut within the bulk has at least: one of few values has hardly any such."""


def _wholes(column: Column, cuts: Sequence[Cut], first: int) -> list[_Whole]:
    """The cuts in part among those of a column, whose plain ones come first and are numbered from `first` on."""
    if not any(cut.kind in WHOLE for cut in cuts):
        return []
    below = _below(column, [cut.last - cut.first for cut in cuts if cut.kind is CutKind.VALUE])
    return [_Whole(first, [1 / len(below)] * len(below), 0.0), _Whole(first, _spread(below), 1.0)]


def _spread(below: Sequence[float]) -> list[float]:
    """Each side's weights sum to 1: wholly on the first side are rows below all cuts, and above all of them."""
    apart = [0.5 - share for share in below]
    lower = sum(each for each in apart if each > 0)
    upper = lower - sum(apart)
    return [each / (lower if each > 0 else upper) for each in apart]


def _seen_whole(column: Numeric, edges: Sequence[int]) -> bool:
    below = _below(column, [edge + 1 for edge in edges])
    lower = bisect_left(below, 0.5) - bisect_right(below, BULK)
    upper = bisect_left(below, 1 - BULK) - bisect_right(below, 0.5)
    return min(lower, upper) >= FEWEST_TELLING


def _below(column: Column, cells: Sequence[int]) -> list[float]:
    """The share of the reference's values in the first so many cells."""
    summed = [*accumulate(column.counts[:-1], initial=0)]
    return [summed[each] / max(summed[-1], 1) for each in cells]


NEGLIGIBLE = 0.005
"""A feature of less weight in a component, as a share of the largest, takes no part in it. One of a tenth moves it
visibly when all of its values go to one end of their range, and one of a fiftieth is seen by ten thousand rows."""

SCORE = "(score)"
"""What the model's own output is called among the columns: no feature's name."""


_KEPT = 32
"""Layouts, of the references that were asked of last: some 100 KB each."""


def layout_of(reference: Reference) -> Layout:
    """The columns of a reference, its score last."""
    return _layout_of(msgspec.msgpack.encode((reference.columns, reference.joint)))


@lru_cache(maxsize=_KEPT)
def _layout_of(packed: bytes) -> Layout:
    """By what is in it: each window of a monitor has its reference read anew, and making a layout takes longer than
    scanning with it."""
    columns, joint = msgspec.msgpack.decode(packed, type=tuple[list[Column], Joint | None])
    columns[-1] = msgspec.structs.replace(columns[-1], name=SCORE)
    if joint is None:
        return Layout(columns)
    return Layout(columns, participants(joint), [column.name for column in joint.columns[len(joint.components) :]])


def participants(joint: Joint) -> dict[str, tuple[str, ...]]:
    """The features that take part in each joint column, by its name, those with the largest weights first."""
    weights = [*joint.components, [1.0] * len(joint.features), *(_both(joint, pair) for pair in joint.pairs)]
    return {column.name: _weightiest(joint.features, each) for column, each in zip(joint.columns, weights, strict=True)}


def _both(joint: Joint, pair: tuple[int, int]) -> list[float]:
    return [float(place in pair) for place in range(len(joint.features))]


def _weightiest(features: Sequence[str], weights: Sequence[float]) -> tuple[str, ...]:
    ranked = sorted(zip(features, weights, strict=True), key=lambda each: -abs(each[1]))
    return tuple(name for name, weight in ranked if abs(weight) >= NEGLIGIBLE * abs(ranked[0][1]))


def binned(column: Numeric) -> Numeric:
    """The column as its bins alone: the range of the reference and what is beyond, without probes."""
    if not column.probes:
        return column
    edges = [column.edges[place] for place in column.bounds]
    return Numeric(column.name, edges, bin_counts(column, np.asarray(column.counts)).tolist())


def bin_counts(column: Numeric, cells: Counts) -> Counts:
    """Counts of shape (..., cells of the column) as counts of its bins."""
    begins = [0, *(place + 1 for place in column.bounds), len(column.edges) + 1]
    counts: Counts = np.add.reduceat(cells, begins, axis=-1)
    return counts


def reference_cells(columns: Sequence[Column]) -> Ints:
    """The reference's own counts as one flat window."""
    return np.array([count for column in columns for count in column.counts], dtype=np.int64)


def _cuts(column: Column, index: int, start: int, *, joint: bool) -> list[Cut]:
    missing = start + column.cells - 1
    has_value = (start, missing)
    of_all = (start, missing + 1)
    shares = _numeric(column, index, start) if isinstance(column, Numeric) else _categorical(column, index, start)
    cuts = [Cut(index, kind, first, last, *has_value, outside) for kind, first, last, outside in shares]
    return cuts if joint else [*cuts, Cut(index, CutKind.MISSING, missing, missing + 1, *of_all)]


def _numeric(column: Numeric, index: int, start: int) -> list[tuple[CutKind, int, int, int]]:
    bounds = column.bounds
    chosen = [bounds[bound] for bound in _spread_evenly(len(bounds))]
    outside = {bounds[0]: -1, bounds[-1]: 1} if bounds else {}
    plain = [(CutKind.VALUE, start, start + edge + 1, outside.get(edge, 0)) for edge in chosen]
    whole = WHOLE if _seen_whole(column, chosen) else ()
    return [*plain, *((kind, start, start + column.cells - 1, 0) for kind in whole)]


@lru_cache
def _spread_evenly(bounds: int) -> list[int]:
    """Which of so many bounds are cut at."""
    return sorted({round(bound) for bound in np.linspace(0, bounds - 1, CUTS)}) if bounds else []


def _categorical(column: Categorical, index: int, start: int) -> list[tuple[CutKind, int, int, int]]:
    others, unseen = start + len(column.categories), start + column.cells - 2
    cells = range(start, unseen if column.others else others)
    cuts = [(CutKind.CATEGORY, cell, cell + 1, 0) for cell in cells]
    if column.groups > 1:
        # What all of them do together is little in each.
        cuts.append((CutKind.CATEGORY, others, unseen, 0))
    return [*cuts, (CutKind.UNSEEN, unseen, unseen + 1, 0)]
