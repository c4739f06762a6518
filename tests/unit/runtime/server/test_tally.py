from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from perennial.runtime.server.counts.tally import Tally
from perennial.wire.reference import Categorical, Numeric, Reference


def one_by_one(reference: Reference, rows: np.ndarray) -> list[int]:
    counts: list[int] = []
    for values, column in zip(rows.T, reference.columns, strict=True):
        cells = [0] * column.cells
        for value in values:
            cells[_cell(column, value)] += 1
        counts += cells
    return counts


def _cell(column: Numeric | Categorical, value: float) -> int:
    if isinstance(column, Categorical):
        return int(value)
    return column.cells - 1 if np.isnan(value) else int(np.searchsorted(column.edges, value, side="right"))


NUMBERS = st.floats(allow_nan=True, allow_infinity=True) | st.sampled_from(
    [0.0, -0.0, 1.0, 1.0000000000000002, 2.0, 0.1]
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_block_counts_like_its_rows(reference: Reference, data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 40))
    numeric = data.draw(arrays.arrays(np.float64, (size, 5), elements=NUMBERS))
    numeric[:, 2] = data.draw(arrays.arrays(np.int64, size, elements=st.integers(0, 4)))
    assert Tally(reference)(numeric).tolist() == one_by_one(reference, numeric)


def test_every_row_falls_into_one_cell_of_each_column(reference: Reference) -> None:
    rows = np.random.default_rng(0).normal(size=(1000, 5))
    rows[:, 2] = 1
    counts, offset = Tally(reference)(rows), 0
    for column in reference.columns:
        assert counts[offset : offset + column.cells].sum() == 1000
        offset += column.cells
    assert offset == len(counts)


@pytest.mark.parametrize(
    ("value", "cell"), [(-1.0, 0), (0.0, 1), (0.5, 1), (1.0, 2), (1.0000000000000002, 3), (9.0, 3), (np.nan, 4)]
)
def test_the_range_is_closed(reference: Reference, value: float, cell: int) -> None:
    row = np.array([[0.0, value, 0, 0.0, 0.0]])
    start = reference.features[0].cells
    assert Tally(reference)(row)[start : start + 5].tolist() == [int(i == cell) for i in range(5)]
