"""Where columns, cells and cuts lie in the flat counts of a window.

A window is one list of integers: every column's cells in order (`wire/reference.py`). A *cut* splits a column's rows
in two, at a value, at a category or at whether there is a value at all; every statistic of a cut needs only how many
rows fell on its first side. All cuts of all columns are index vectors here, so that a window, or many windows at once,
are cut by four look-ups in one cumulative sum.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

import msgspec
import numpy as np
from numpy.typing import NDArray

from perennial.wire.reference import Categorical, Column, Joint, Numeric, Reference

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

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


@dataclass(frozen=True)
class Cut:
    """Rows in cells `first` to `last` (exclusive) of those in cells `of_first` to `of_last`, all counted from the
    window's first cell.

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
    name.

    A joint column has no cut for missing values: those are its features' own.

    Raises ValueError for a reference that was made for other cells than its columns have.
    """

    def __init__(self, columns: Sequence[Column], joint: Mapping[str, tuple[str, ...]] | None = None) -> None:
        for column in columns:
            if len(column.counts) != column.cells:
                raise ValueError(f"column {column.name!r} has {column.cells} cells and {len(column.counts)} counts")
        self.columns = tuple(columns)
        self.joint = dict(joint or {})
        self.starts = np.cumsum([0, *(column.cells for column in columns)])
        self.cuts = tuple(
            cut
            for index, column in enumerate(columns)
            for cut in _cuts(column, index, int(self.starts[index]), joint=column.name in self.joint)
        )
        self.column = np.array([cut.column for cut in self.cuts], dtype=np.int64)
        self.kind = np.array([cut.kind for cut in self.cuts], dtype=np.int64)
        self.outside = np.array([cut.outside for cut in self.cuts], dtype=np.int64)
        self._first = np.array([cut.first for cut in self.cuts], dtype=np.int64)
        self._last = np.array([cut.last for cut in self.cuts], dtype=np.int64)
        self._of_first = np.array([cut.of_first for cut in self.cuts], dtype=np.int64)
        self._of_last = np.array([cut.of_last for cut in self.cuts], dtype=np.int64)

    @property
    def cells(self) -> int:
        return int(self.starts[-1])

    def slice(self, column: int) -> slice:
        """The cells of a column."""
        return slice(int(self.starts[column]), int(self.starts[column + 1]))

    def cut_counts(self, cells: Ints) -> tuple[Floats, Floats]:
        """For counts of shape (..., cells): rows on the first side of each cut, and of how many, both of shape (...,
        cuts)."""
        summed = np.zeros((*cells.shape[:-1], self.cells + 1))
        np.cumsum(cells, axis=-1, out=summed[..., 1:])
        inside = summed[..., self._last] - summed[..., self._first]
        return inside, summed[..., self._of_last] - summed[..., self._of_first]


NEGLIGIBLE = 0.1
"""A feature of less weight in a component, as a share of the largest, takes no part in it."""

SCORE = "(score)"
"""What the model's own output is called among the columns: no feature's name."""


def layout_of(reference: Reference) -> Layout:
    """The columns of a reference, its score last."""
    columns = [*reference.columns[:-1], msgspec.structs.replace(reference.score, name=SCORE)]
    return Layout(columns, participants(reference.joint) if reference.joint else None)


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
    return Numeric(column.name, edges, bin_counts(column, np.asarray(column.counts)).tolist(), column.phi)


def bin_counts(column: Numeric, cells: Ints) -> Ints:
    """Counts of shape (..., cells of the column) as counts of its bins."""
    begins = [0, *(place + 1 for place in column.bounds), len(column.edges) + 1]
    counts: Ints = np.add.reduceat(cells, begins, axis=-1)
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
    chosen = sorted({round(bound) for bound in np.linspace(0, len(bounds) - 1, CUTS)}) if bounds else []
    outside = {0: -1, len(bounds) - 1: 1}
    return [(CutKind.VALUE, start, start + bounds[bound] + 1, outside.get(bound, 0)) for bound in chosen]


def _categorical(column: Categorical, index: int, start: int) -> list[tuple[CutKind, int, int, int]]:
    other = start + len(column.categories)
    cuts = [(CutKind.CATEGORY, cell, cell + 1, 0) for cell in range(start, other)]
    if column.others:
        cuts.append((CutKind.CATEGORY, other, other + 1, 0))
    return [*cuts, (CutKind.UNSEEN, other + 1, other + 2, 0)]
