"""The rows that a conversion is tried on: each trouble where there is room for it, and never more than there is."""

from __future__ import annotations

import numpy as np
import pytest

from perennial.runtime.onnx.hard_rows import _CELLS, UNSEEN, Rows, hard_rows


def like(numbers: int, texts: int, rows: int = 50) -> Rows:
    return Rows(np.ones((rows, numbers)), np.full((rows, texts), "a", object))


def test_each_column_has_its_trouble_by_itself() -> None:
    made = hard_rows(like(3, 2), {1: np.array([0.25, 7.0])})
    missing = np.isnan(made.numbers)
    for column in range(3):
        assert (missing[:, column] & (missing.sum(axis=1) == 1) & (made.texts == "a").all(axis=1)).sum() >= 40
    for column in range(2):
        for text in ("", UNSEEN):
            alone = (made.texts[:, column] == text) & (made.texts[:, 1 - column] == "a") & ~missing.any(axis=1)
            assert alone.sum() >= 40
    for value in (0.25, 7.0):
        assert {value, np.nextafter(value, -np.inf), np.nextafter(value, np.inf)} <= set(made.numbers[:, 1])
    assert missing.all(axis=1).any()


@pytest.mark.parametrize(("numbers", "texts"), [(1000, 0), (0, 1000), (10_000, 0), (5000, 5000)])
def test_a_wide_table_does_not_become_a_square_one(numbers: int, texts: int) -> None:
    thresholds = {column: np.array([0.25, 7.0]) for column in range(numbers)}
    made = hard_rows(like(numbers, texts), thresholds)
    assert len(made) * made.width <= _CELLS
    assert np.isnan(made.numbers).any(axis=0).all()
    assert (made.texts == "").any(axis=0).all()
    assert (made.numbers == 0.25).any(axis=0).all()
