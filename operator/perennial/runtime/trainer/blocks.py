"""The held-out rows in blocks of time: how far they differ from one another, all columns in the order of a window's
cells."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from perennial.wire.differences import of_blocks
from perennial.wire.layout import Layout
from perennial.wire.reference import Column, Differences

MOST = 128
LEAST_ROWS = 25
"""Of a block: with fewer no cut but those near the middle can tell anything."""

ColumnT = TypeVar("ColumnT", bound=Column)


class Blocks:
    """Counts of `rows` rows in up to 128 blocks of equal sizes, a power of two; what does not fit is left out at the
    beginning."""

    def __init__(self, rows: int) -> None:
        fitting = max(rows // LEAST_ROWS, 1)
        self._blocks = min(MOST, 1 << (fitting.bit_length() - 1))
        self._rows = rows // self._blocks
        self._counts: list[NDArray[np.int64]] = []

    def note(self, column: ColumnT, cells: NDArray[np.intp]) -> ColumnT:
        """Count a column, whose cells [rows] are in the order of time; the column again."""
        newest = cells[len(cells) - self._blocks * self._rows :]
        block = np.repeat(np.arange(self._blocks), self._rows)
        counts = np.bincount(block * column.cells + newest, minlength=self._blocks * column.cells)
        self._counts.append(counts.reshape(self._blocks, column.cells))
        return column

    def differences(self, layout: Layout) -> list[Differences]:
        """Of all columns, which were counted in the layout's order."""
        return of_blocks(layout, np.concatenate(self._counts, axis=1))
