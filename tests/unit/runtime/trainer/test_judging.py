"""Metrics and gates, splits, bounds and overdispersion: each against what it must be."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perennial.runtime.failures import InputError
from perennial.runtime.trainer.bounds import upper_mean, upper_share
from perennial.runtime.trainer.gates import bound_gates
from perennial.runtime.trainer.metrics import CLASSIFICATION, REGRESSION, Judged, check_metrics, compute
from perennial.runtime.trainer.overdispersion import phi
from perennial.runtime.trainer.split import Keys, split
from perennial.wire.run import Bound, Champion, Run
from perennial.wire.run import Test as HeldOut

TRUTH = np.array([True, True, False, False, True, False])
SAID = np.array([True, False, False, True, True, False])
CHANCES = np.array([0.9, 0.4, 0.2, 0.6, 0.7, 0.1])


def two_classes(truth: Any = TRUTH) -> Judged:
    return Judged(truth, SAID, [False, True], np.column_stack([1 - CHANCES, CHANCES]))


def test_metrics_of_two_classes_by_hand() -> None:
    metrics = compute(two_classes(), "classification")
    assert metrics["accuracy"] == pytest.approx(4 / 6)
    assert metrics["error"] == pytest.approx(2 / 6)
    assert metrics["precision"] == pytest.approx(2 / 3)
    assert metrics["recall"] == pytest.approx(2 / 3)
    assert metrics["f1"] == pytest.approx(2 / 3)
    assert metrics["roc_auc"] == pytest.approx(8 / 9)
    assert metrics["brier"] == pytest.approx(np.mean((CHANCES - TRUTH) ** 2))
    assert metrics["log_loss"] == pytest.approx(-np.mean(np.log(np.where(TRUTH, CHANCES, 1 - CHANCES))))
    assert set(metrics) == set(CLASSIFICATION)


def test_a_class_that_the_model_does_not_know_is_a_miss() -> None:
    truth = np.array(["a", "b", "new", "a"], object)
    judged = Judged(
        truth,
        np.array(["a", "b", "b", "a"], object),
        ["a", "b"],
        np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [1, 0]]),
    )
    metrics = compute(judged, "classification")
    assert metrics["accuracy"] == 0.75
    assert metrics["precision"] == 0.5
    assert metrics["recall"] == 1.0
    assert metrics["log_loss"] < 0.2, "only rows of known classes have a probability"


def test_what_can_not_be_computed_is_left_out_and_fails_its_gate() -> None:
    metrics = compute(two_classes(np.full(6, True)), "classification")
    assert "roc_auc" not in metrics
    (gate,) = bound_gates([Bound("roc_auc", min=0.1)], metrics, {})
    assert (gate.value, gate.passed) == (None, False)


def test_metrics_of_a_regression_by_hand() -> None:
    judged = Judged(np.array([1.0, 2.0, 3.0]), np.array([1.0, 3.0, 5.0]))
    metrics = compute(judged, "regression")
    assert metrics["mae"] == 1.0
    assert metrics["mse"] == pytest.approx(5 / 3)
    assert metrics["rmse"] == pytest.approx((5 / 3) ** 0.5)
    assert metrics["r2"] == pytest.approx(1 - 5 / 2)
    assert set(metrics) == set(REGRESSION)


def test_a_bound_may_have_two_sides_and_a_longer_name() -> None:
    judged = bound_gates([Bound("mean_absolute_error", min=0.5, max=0.9)], {"mae": 0.95}, {"mae": (0.85, 1.1)})
    assert [(gate.rule, gate.passed) for gate in judged] == [("min", True), ("max", False)]
    assert [gate.interval for gate in judged] == [(0.85, 1.1), (0.85, 1.1)]
    assert judged[0].told == "mean_absolute_error is 0.95 (0.85 to 1.1), at least 0.5 is asked for"
    assert judged[1].told.endswith("at most 0.9 is asked for; the held-out rows are too few to tell the two apart")
    run = Run("air", "f", "u", 1, "s", "p", "i", "d", "FirstRun", metrics=[Bound("mean_absolute_error", max=1)])
    check_metrics(run, "regression")
    against_largest = msgspec.structs.replace(run, champion=Champion("max_error"))
    with pytest.raises(InputError, match=r"champion\.metric: max_error hangs on a single row"):
        check_metrics(against_largest, "regression")
    with pytest.raises(InputError, match=r"metrics\[0\]\.name: mean_absolute_error does not judge"):
        check_metrics(run, "classification")


@given(st.integers(120, 300), st.floats(0.1, 0.5), st.integers(0, 5))
def test_a_random_split_is_a_partition_in_equal_shares(rows: int, fraction: float, seed: int) -> None:
    labels = np.arange(rows) % 3
    parts = split(HeldOut(fraction, "Random"), seed, Keys(rows, labels))
    assert sorted([*parts.train, *parts.test]) == list(range(rows))
    for label in range(3):
        assert abs((labels[parts.test] == label).sum() - fraction * (labels == label).sum()) <= 0.5
    again = split(HeldOut(fraction, "Random"), seed, Keys(rows, labels))
    assert np.array_equal(parts.test, again.test)


@given(st.lists(st.integers(0, 40), min_size=80, max_size=200))
def test_a_split_by_time_holds_out_the_newest_and_parts_no_moment(moments: list[int]) -> None:
    seconds = np.array(moments, float)
    try:
        parts = split(HeldOut(0.25, "Time"), 0, Keys(len(seconds), seconds=seconds))
    except InputError:
        return
    assert seconds[parts.train].max() < seconds[parts.test].min()
    assert np.array_equal(seconds[parts.test], np.sort(seconds[parts.test]))


def test_held_out_rows_are_in_the_order_of_time() -> None:
    seconds = np.random.default_rng(0).random(100)
    parts = split(HeldOut(0.5, "Random"), 0, Keys(100, seconds=seconds))
    assert np.array_equal(seconds[parts.test], np.sort(seconds[parts.test]))


@pytest.mark.parametrize("rate", [0.02, 0.2])
def test_the_bound_of_a_share_holds_as_often_as_it_says(rate: float) -> None:
    wrong = np.random.default_rng(1).binomial(400, rate, 2000)
    covered = np.mean([upper_share(k, 400, 0.95) >= rate for k in wrong])
    assert covered >= 0.94
    assert upper_share(400, 400, 0.95) == 1.0
    assert upper_share(80, 400, 0.95) == pytest.approx(0.2358, abs=5e-4)


def test_the_bound_of_a_mean_holds_and_narrows() -> None:
    random = np.random.default_rng(2)
    covered = [upper_mean(random.beta(2, 6, 300), 300, 0.95) >= 0.25 for _ in range(500)]
    assert np.mean(covered) >= 0.95
    many = random.beta(2, 6, 100_000)
    assert 0.25 < upper_mean(many, 100_000, 0.95) < 0.255


def test_independent_rows_are_hardly_overdispersed() -> None:
    """At its upper bound phi of independent rows is about (M - 1) / chi2.ppf(0.1, M - 1) = 1.38."""
    cells = np.random.default_rng(3).integers(0, 32, 20_000)
    assert 1.1 < phi(cells, 34, ordered=True) < 1.7
    assert 1.1 < phi(cells % 4, 7, ordered=False) < 1.9


def test_rows_that_go_together_are_overdispersed() -> None:
    random = np.random.default_rng(4)
    days = np.repeat(random.normal(size=40), 500)
    cells = np.clip(((days + random.normal(size=20_000)) * 4 + 16).astype(int), 0, 31)
    assert phi(cells, 34, ordered=True) > 50
    assert phi(cells // 8, 6, ordered=False) > 50
    assert phi(random.permutation(cells), 34, ordered=True) < 2


def test_few_rows_or_one_value_tell_nothing() -> None:
    assert phi(np.zeros(5, int), 3, ordered=True) == 1.0
    assert phi(np.ones(1000, int), 4, ordered=True) == 1.0
