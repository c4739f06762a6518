"""Cells are what the reference says they are, by whichever way they are counted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from perennial.runtime import binning
from perennial.wire.reference import MAX_BINS, Categorical, Numeric

numbers = arrays(
    np.float64,
    st.integers(1, 200),
    elements=st.one_of(st.floats(-5, 5), st.integers(-3, 3).map(float), st.just(np.nan), st.floats(-1e300, 1e300)),
)


def counts_of(column: Numeric, values: Any) -> list[int]:
    counts: list[int] = binning.count_cells(binning.numeric_cells(column, values), column.cells).tolist()
    return counts


@given(numbers, st.floats(allow_nan=False))
def test_a_cell_is_between_its_edges(reference: Any, value: Any) -> None:
    column = Numeric("x", binning.equal_mass_edges(reference), [])
    (cell,) = binning.numeric_cells(column, [value])
    bounds = [-np.inf, *column.edges, np.inf]
    assert bounds[cell] <= value
    assert value < bounds[cell + 1] or value == np.inf


@given(numbers)
def test_the_reference_itself_is_neither_below_nor_above_its_range(reference: Any) -> None:
    column = Numeric("x", binning.equal_mass_edges(reference), [])
    counts = counts_of(column, reference)
    assert counts[0] == counts[len(column.edges)] == 0
    assert counts[-1] == np.isnan(reference).sum()
    assert len(column.edges) <= MAX_BINS + 1
    assert column.edges == sorted(set(column.edges))


def test_bins_have_equal_mass_and_ties_share_one() -> None:
    even = Numeric("x", binning.equal_mass_edges(np.arange(3200.0)), [])
    assert set(counts_of(even, np.arange(3200.0))[1:-2]) == {100}
    tied = Numeric("x", binning.equal_mass_edges(np.repeat([0.0, 0.0, 0.0, 1.0], 50)), [])
    assert tied.edges == [0.0, 1.0, np.nextafter(1.0, 2.0)]


def test_a_column_without_values_still_has_edges() -> None:
    column = Numeric("x", binning.equal_mass_edges(np.full(10, np.nan)), [])
    assert counts_of(column, [np.nan, 3.0])[-2:] == [1, 1]


def test_texts_fall_into_top_other_unseen_and_missing() -> None:
    column = Categorical("c", ["a", "b"], [], ["c", "d"])
    cells = binning.text_cells(column, ["b", "a", "d", "never", "", "c"])
    assert cells.tolist() == [1, 0, 2, 3, 4, 2]
    assert column.cells == 5


def test_rarer_categories_fall_into_groups_by_turns() -> None:
    column = Categorical("c", ["a"], [], ["b", "c", "d"], groups=2)
    cells = binning.text_cells(column, ["a", "b", "c", "d", "never", ""])
    assert cells.tolist() == [0, 1, 2, 1, 3, 4]
    assert column.cells == 5


def test_booleans_are_categories() -> None:
    column = Categorical("wet", [binning.FALSE, binning.TRUE], [])
    assert binning.boolean_cells(column, [0.0, 1.0, np.nan, 0.5]).tolist() == [0, 1, 4, 3]


def test_top_categories_go_by_count_then_name_and_leave_missing_out() -> None:
    rare = dict.fromkeys(map(str, range(70)), 1)
    top, others = binning.top_categories({"b": 2, "a": 2, "z": 9, "": 50} | rare)
    assert top[:3] == ["z", "a", "b"]
    assert len(top) == 64
    assert set(others) | set(top) == {*map(str, range(70)), "a", "b", "z"}


@given(st.lists(st.floats(0, 1), min_size=1))
def test_a_losss_cell_never_understates_it(losses: Any) -> None:
    ends = [0.0, *(np.arange(1, 65) / 64)]
    cells = binning.loss_cells(ends, losses)
    assert all(
        ends[cell] >= loss and (cell == 0 or ends[cell - 1] < loss) for cell, loss in zip(cells, losses, strict=True)
    )


@pytest.mark.parametrize("losses", [[0.0, 1.0, 0.0]])
def test_right_and_wrong_are_the_two_cells_of_a_label(losses: Any) -> None:
    assert binning.loss_cells([0.0, 1.0], losses).tolist() == [0, 1, 0]
