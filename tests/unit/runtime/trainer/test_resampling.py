"""The bootstrap: what it draws, that it computes the metrics that are reported, and how often its intervals hold."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from perennial.runtime.trainer import resampling
from perennial.runtime.trainer.metrics import CLASSIFICATION, REGRESSION, Judged, compute
from perennial.runtime.trainer.replicates import interval, intervals, replicates
from perennial.runtime.trainer.resampling import Resampling
from perennial.runtime.trainer.target import Task


def binary(rows: int, seed: int, strength: float = 1.0) -> Judged:
    """A score that tells the classes apart, but not perfectly."""
    random = np.random.default_rng(seed)
    truth = random.random(rows) < 0.3
    chances = 1 / (1 + np.exp(-(strength * (2 * truth - 1) + random.normal(size=rows))))
    return Judged(truth, chances > 0.5, [False, True], np.column_stack([1 - chances, chances]))


def several(rows: int, seed: int) -> Judged:
    """Three classes that the model knows and one that it does not."""
    random = np.random.default_rng(seed)
    truth = random.choice(np.array(["a", "b", "c", "new"], object), rows, p=[0.4, 0.3, 0.28, 0.02])
    weights = random.random((rows, 3)).round(2) + 1.5 * (truth[:, None] == np.array(["a", "b", "c"], object)) + 0.01
    chances = weights / weights.sum(axis=1, keepdims=True)
    return Judged(truth, np.array(["a", "b", "c"], object)[chances.argmax(axis=1)], ["a", "b", "c"], chances)


def numbers(rows: int, seed: int) -> Judged:
    random = np.random.default_rng(seed)
    truth = random.gamma(2.0, 5.0, rows)
    return Judged(truth, truth + random.normal(0.5, 2.0, rows))


CASES: list[tuple[Callable[[int, int], Judged], Task, str]] = [
    *((binary, "classification", name) for name in CLASSIFICATION),
    *((several, "classification", name) for name in CLASSIFICATION),
    *((numbers, "regression", name) for name in REGRESSION if name != "max_error"),
]


@pytest.mark.parametrize(("make", "task", "name"), CASES)
def test_the_rows_as_they_are_have_the_metric_that_is_reported(
    make: Callable[[int, int], Judged], task: Task, name: str
) -> None:
    judged = make(100, 1)
    values = replicates(name, judged, resampling.of_rows(100, 0), task)
    assert values is not None
    assert values[0] == pytest.approx(compute(judged, task)[name], rel=0.01 if name.startswith("median") else 1e-9)


@pytest.mark.parametrize(("make", "task", "name"), CASES)
def test_a_resample_has_the_metric_of_the_rows_that_were_drawn(
    make: Callable[[int, int], Judged], task: Task, name: str
) -> None:
    judged, drawn = make(100, 2), resampling.of_rows(100, 0)
    values = replicates(name, judged, drawn, task)
    assert values is not None
    for place in (1, 7):
        rows = np.repeat(np.arange(100), drawn.weights[place].astype(int)[drawn.units])
        chances = None if judged.probabilities is None else judged.probabilities[rows]
        redrawn = Judged(judged.truth[rows], judged.predictions[rows], judged.classes, chances)
        # The lower of two medians is the bootstrap's own; everything else is the same to the last digit but one.
        assert values[place] == pytest.approx(
            compute(redrawn, task)[name], rel=0.05 if name.startswith("median") else 1e-9
        )


def test_intervals_hold_about_as_often_as_they_say() -> None:
    truth = compute(binary(200_000, 99), "classification")
    drawn = resampling.of_rows(300, 0)
    held = dict.fromkeys(("roc_auc", "f1", "error", "log_loss", "brier"), 0)
    for seed in range(60):
        judged = binary(300, seed)
        metrics = {name: value for name, value in compute(judged, "classification").items() if name in held}
        for name, (low, high) in intervals(metrics, judged, drawn, "classification").items():
            held[name] += low <= truth[name] <= high
    assert all(50 <= count < 60 for count in held.values()), held


def test_rows_that_go_together_tell_less() -> None:
    """Errors that come by the day: single rows make an interval that is far too narrow."""
    random = np.random.default_rng(5)
    days = np.repeat(np.arange(50), 40)
    wrong = random.random(2000) < np.repeat(random.beta(0.5, 4, 50), 40)
    judged = Judged(np.ones(2000, bool), ~wrong, [False, True])

    def width(drawn: Resampling) -> float:
        pair = interval(replicates("error", judged, drawn, "classification"), float(wrong.mean()))
        assert pair is not None
        return pair[1] - pair[0]

    alone = width(resampling.of_rows(2000, 0))
    assert width(resampling.of_groups(days, 0)) > 2 * alone
    assert width(resampling.of_stretches(2000, 0)) > 1.5 * alone


def test_draws_are_by_the_seed_alone() -> None:
    first, again, other = (resampling.of_rows(50, seed).weights for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert (first[0] == 1).all()
    assert (first.sum(axis=1) == 50).all()


@pytest.mark.parametrize("rows", [10, 1000, 100_000])
def test_stretches_are_runs_of_about_equally_many_rows(rows: int) -> None:
    units = resampling.of_stretches(rows, 0).units
    assert (np.diff(units) >= 0).all()
    sizes = np.bincount(units)
    assert sizes.max() - sizes.min() <= 1
    assert len(sizes) <= resampling.MAX_STRETCHES


def test_many_groups_are_bundled_whole() -> None:
    groups = np.repeat([f"user{i}" for i in range(5000)], 2)
    drawn = resampling.of_groups(groups, 0)
    assert drawn.weights.shape[1] == resampling.MAX_UNITS
    assert np.array_equal(drawn.units[::2], drawn.units[1::2])


def test_what_the_rows_can_not_tell_has_no_interval() -> None:
    perfect = Judged(np.array([True, False] * 20), np.array([True, False] * 20), [False, True])
    assert "error" not in intervals({"error": 0.0}, perfect, resampling.of_rows(40, 0), "classification")
    assert "max_error" not in intervals({"max_error": 1.0}, numbers(40, 0), resampling.of_rows(40, 0), "regression")
    rare: Any = np.zeros(40, bool)
    rare[0] = True
    judged = Judged(rare, ~rare, [False, True])
    found = intervals(compute(judged, "classification"), judged, resampling.of_rows(40, 0), "classification")
    assert "roc_auc" not in found


def test_many_rows_cost_hardly_more_than_some_thousand() -> None:
    rows = 300_000
    judged = binary(rows, 0)
    before = time.process_time()
    found = intervals(dict.fromkeys(CLASSIFICATION, 0.5), judged, resampling.of_rows(rows, 0), "classification")
    assert time.process_time() - before < 20
    assert set(found) == set(CLASSIFICATION)
