"""Values to cells of a reference: the one place where trainer and server agree on what falls where.

A numeric value's cell is `searchsorted(edges, value, side="right")`, missing values come last; a category's is its
place among the top ones, then the *others* by group, *unseen*, *missing* (see `wire/reference.py`). numpy only: the
server imports this.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from perennial.wire.reference import MAX_BINS, MAX_CATEGORIES, Categorical, Numeric

MISSING_TEXT = ""
_LARGEST = np.nextafter(np.finfo(np.float64).max, 0.0)
FALSE, TRUE = "false", "true"

Cells = NDArray[np.intp]


def equal_mass_edges(values: NDArray[np.float64], bins: int = MAX_BINS) -> list[float]:
    """Edges of at most `bins` bins with about as many of `values` in each; tied values share a bin.

    The first edge is the smallest value and the last the next double above the largest. Missing values are left out.
    """
    present = np.sort(values[~np.isnan(values)])
    if not len(present):
        present = np.zeros(1)
    ranks = np.arange(bins) * len(present) // bins
    last = np.nextafter(min(present[-1], _LARGEST), np.inf)
    edges: list[float] = np.unique(np.append(present[ranks], last)).tolist()
    return edges


def numeric_cells(column: Numeric, values: ArrayLike) -> Cells:
    """The cell of each value; NaN is missing."""
    array = np.asarray(values, np.float64)
    cells = np.searchsorted(np.asarray(column.edges), array, side="right")
    cells[np.isnan(array)] = len(column.edges) + 1
    return cells


def category_cells(column: Categorical) -> dict[str, int]:
    """The cell of each known text. Any other is unseen: `cells.get(text, unseen_cell(column))`."""
    top = len(column.categories)
    cells = {category: top + place % column.groups for place, category in enumerate(column.others)}
    cells |= {category: cell for cell, category in enumerate(column.categories)}
    cells[MISSING_TEXT] = column.cells - 1
    return cells


def unseen_cell(column: Categorical) -> int:
    """Where texts fall that the run's training rows did not have."""
    return column.cells - 2


def text_cells(column: Categorical, texts: Iterable[str]) -> Cells:
    """The cell of each text; the empty one is missing."""
    cells, unseen = category_cells(column), unseen_cell(column)
    return np.fromiter((cells.get(text, unseen) for text in texts), np.intp)


def boolean_cells(column: Categorical, values: ArrayLike) -> Cells:
    """The cell of each 0.0, 1.0 or NaN of a boolean column. Any other number is unseen."""
    array = np.asarray(values, np.float64)
    known = category_cells(column)
    unseen = unseen_cell(column)
    cells = np.full(array.shape, unseen, np.intp)
    cells[array == 0.0] = known.get(FALSE, unseen)
    cells[array == 1.0] = known.get(TRUE, unseen)
    cells[np.isnan(array)] = known[MISSING_TEXT]
    return cells


def top_categories(counted: Mapping[str, int]) -> tuple[list[str], list[str]]:
    """The most frequent ones, at most MAX_CATEGORIES, and the others. Ties go by name."""
    ranked = sorted((text for text in counted if text != MISSING_TEXT), key=lambda text: (-counted[text], text))
    return ranked[:MAX_CATEGORIES], ranked[MAX_CATEGORIES:]


def count_cells(cells: Cells, length: int) -> NDArray[np.int64]:
    """How often each of `length` cells occurs."""
    return np.bincount(cells, minlength=length)


def loss_cells(ends: Sequence[float], losses: ArrayLike) -> Cells:
    """The cell of each loss: the first bin whose upper end is at least the loss. Losses are within [0, ends[-1]]."""
    return np.searchsorted(np.asarray(ends), np.asarray(losses, np.float64), side="left")
