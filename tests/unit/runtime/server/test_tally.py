from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from perennial.runtime import binning
from perennial.runtime.server.counts.tally import Coder, Mismatch, Tally
from perennial.wire.reference import Categorical, Numeric, Reference
from perennial.wire.schema import Feature, Schema

NUMBERS = st.floats() | st.sampled_from([0.0, -0.0, 1.0, 1.0000000000000002, 2.0, np.nan])
CARRIERS = ["UA", "AA", "DL", "XX", ""]


def one_by_one(reference: Reference, numbers: np.ndarray, texts: list[str], scores: np.ndarray) -> list[int]:
    """The cells as `runtime/binning.py` gives them, in the order of the reference's columns."""
    wide, carrier, tied, flag, single = reference.features
    assert isinstance(carrier, Categorical)
    assert isinstance(flag, Categorical)
    columns = [
        (wide, _numeric(wide, numbers[:, 0])),
        (carrier, binning.text_cells(carrier, texts)),
        (tied, _numeric(tied, numbers[:, 1])),
        (flag, binning.boolean_cells(flag, numbers[:, 2])),
        (single, _numeric(single, numbers[:, 3])),
        (reference.score, _numeric(reference.score, scores)),
    ]
    return [count for column, cells in columns for count in np.bincount(cells, minlength=column.cells).tolist()]


def _numeric(column: Numeric | Categorical, values: np.ndarray) -> np.ndarray:
    assert isinstance(column, Numeric)
    return binning.numeric_cells(column, values)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_a_block_counts_as_binning_says(reference: Reference, schema: Schema, data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 40))
    numbers = data.draw(arrays.arrays(np.float64, (size, 4), elements=NUMBERS))
    texts = data.draw(st.lists(st.sampled_from(CARRIERS), min_size=size, max_size=size))
    scores = data.draw(arrays.arrays(np.float64, size, elements=NUMBERS))
    codes = Coder(reference, schema)(np.array(texts, object).reshape(-1, 1))
    rows = np.column_stack([numbers, codes, scores])
    before = rows.copy()
    assert Tally(reference, schema)(rows).tolist() == one_by_one(reference, numbers, texts, scores)
    np.testing.assert_array_equal(rows, before)


@pytest.mark.parametrize(
    ("value", "cell"), [(-1.0, 0), (0.0, 1), (0.5, 1), (1.0, 2), (1.0000000000000002, 3), (9.0, 3), (np.nan, 4)]
)
def test_the_range_is_closed(reference: Reference, schema: Schema, value: float, cell: int) -> None:
    row = np.array([[0.0, value, 1.0, 0.0, 0.0, 0.0]])
    start = reference.features[0].cells + reference.features[1].cells
    assert Tally(reference, schema)(row)[start : start + 5].tolist() == [int(i == cell) for i in range(5)]


def test_a_reference_of_other_features_is_refused(reference: Reference, schema: Schema) -> None:
    other = Schema(task="classification", target="y", features=[Feature("x", "numeric")], score="positive")
    with pytest.raises(Mismatch):
        Tally(reference, other)
