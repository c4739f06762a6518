"""Scores, losses and the question whether a label that came back names a class."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from perennial.runtime import scoring


def test_scores_of_each_kind() -> None:
    probabilities = [[0.2, 0.8], [0.9, 0.1]]
    assert scoring.numeric_scores("positive", probabilities).tolist() == [0.8, 0.1]
    assert scoring.numeric_scores("confidence", [[0.2, 0.5, 0.3]]).tolist() == [0.5]
    assert scoring.numeric_scores("value", [3.0]).tolist() == [3.0]


def test_a_regressions_loss_is_bounded() -> None:
    assert scoring.regression_loss(4.0, [1.0, 2.0, 99.0], [1.0, 4.0, 0.0]).tolist() == [0.0, 0.5, 1.0]


@pytest.mark.parametrize(
    ("given", "known", "same"),
    [
        (True, True, True),
        ("true", True, True),
        (1, True, False),
        (True, 1, False),
        (1, 1, True),
        (1.0, 1, True),
        (1.5, 1, False),
        ("1", 1, True),
        ("late", "late", True),
        ("late", "on time", False),
        (np.bool_(False), False, True),
        (float("nan"), 0, False),
    ],
)
def test_labels_match_by_value_or_text(given: Any, known: Any, same: Any) -> None:
    assert scoring.same_label(given, known) is same
