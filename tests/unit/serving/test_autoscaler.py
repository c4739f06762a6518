"""The autoscaler by table and by its promises: bounds, tolerance, windows, policies, missing measurements."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perennial.api.modeldeployment import Autoscaling
from perennial.serving.autoscaler import Load, Sample, memory, recommend, scale

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def spec(low: int = 1, high: int = 10, target: int = 8, **behavior: object) -> Autoscaling:
    return Autoscaling.model_validate(
        {
            "minReplicas": low,
            "maxReplicas": high,
            "metrics": [{"type": "Concurrency", "target": target}],
            "behavior": behavior,
        }
    )


def sample(seconds_ago: float, replicas: int, recommended: int) -> Sample:
    return Sample(NOW - timedelta(seconds=seconds_ago), replicas, recommended)


@pytest.mark.parametrize(
    ("concurrency", "missing", "replicas", "expected"),
    [
        ((8.0, 8.0), 0, 2, 2),
        ((8.7, 8.7), 0, 2, 2),  # within a tenth
        ((9.0, 9.0), 0, 2, 3),
        ((30.0,), 0, 1, 4),
        ((0.5, 0.5, 0.5, 0.5), 0, 4, 1),
        ((0.5, 0.5, 0.5), 1, 4, 2),  # the silent pod may be as busy as it should be
        ((0.5,), 3, 4, 4),
        ((8.0,), 3, 4, 4),  # the silent ones count as idle: no growth from them
        ((), 4, 4, 4),
        ((16.0, 16.0), 0, 4, 4),  # two are starting: the load is for four
        ((0.0, 0.0), 0, 2, 0),
    ],
)
def test_recommendation_at_a_target_of_eight(
    concurrency: tuple[float, ...], missing: int, replicas: int, expected: int
) -> None:
    assert recommend(Load(concurrency, missing), 8, replicas) == expected


def test_scale_out_is_immediate_and_at_most_doubles_or_adds_four() -> None:
    assert scale(spec(), Load((24.0,)), 1, [], NOW).desired == 3
    assert scale(spec(), Load((80.0,)), 1, [], NOW).desired == 5
    assert scale(spec(high=50), Load((100.0,) * 6), 6, [], NOW).desired == 12


def test_a_period_is_not_started_anew_by_looking_again() -> None:
    grown = [sample(5, 1, 5)]
    assert scale(spec(), Load((80.0,)), 5, grown, NOW).desired == 5
    assert scale(spec(), Load((80.0,)), 5, [sample(16, 1, 5)], NOW).desired == 10


def test_scale_in_waits_for_the_window() -> None:
    idle = Load((0.1,) * 5)
    assert scale(spec(), idle, 5, [sample(299, 5, 5)], NOW).desired == 5
    assert scale(spec(), idle, 5, [sample(301, 5, 5)], NOW).desired == 1


def test_a_restarted_operator_does_not_scale_in_at_once() -> None:
    """The observer's first sample is the present number."""
    assert scale(spec(), Load((0.0,) * 5), 5, [sample(0, 5, 5)], NOW).desired == 5


def test_scale_in_by_a_slow_policy() -> None:
    slow = spec(
        scaleDown={"stabilizationWindowSeconds": 0, "policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}]}
    )
    assert scale(slow, Load((0.0,) * 5), 5, [], NOW).desired == 4
    assert scale(slow, Load((0.0,) * 4), 4, [sample(30, 5, 1)], NOW).desired == 4
    assert scale(slow, Load((0.0,) * 4), 4, [sample(61, 5, 1), sample(60.5, 4, 1)], NOW).desired == 3


def test_scale_out_stabilises_on_the_lowest() -> None:
    calm = spec(scaleUp={"stabilizationWindowSeconds": 60})
    assert scale(calm, Load((24.0,)), 1, [sample(30, 1, 1)], NOW).desired == 1
    assert scale(calm, Load((24.0,)), 1, [sample(30, 1, 2)], NOW).desired == 2


def test_nothing_measured_changes_nothing_and_says_so() -> None:
    scaling = scale(spec(), Load((), missing=3), 3, [], NOW)
    assert (scaling.desired, scaling.measured) == (3, None)
    assert "no pod could be measured" in scaling.message


def test_bounds_hold_whatever_was_measured() -> None:
    assert scale(spec(low=2), Load(()), 1, [], NOW).desired == 2
    assert scale(spec(high=3), Load((80.0,)), 5, [], NOW).desired == 3


def test_memory_is_as_long_as_the_longest_window() -> None:
    assert memory(spec()) == timedelta(seconds=300)
    assert memory(spec(scaleDown={"stabilizationWindowSeconds": 0})) == timedelta(seconds=15)


logs = st.lists(st.tuples(st.integers(0, 600), st.integers(1, 10), st.integers(0, 40)), max_size=20).map(
    lambda rows: [sample(*row) for row in sorted(rows, reverse=True)]
)
loads = st.builds(Load, st.lists(st.floats(0, 200), max_size=10).map(tuple), st.integers(0, 10))


@given(load=loads, replicas=st.integers(1, 10), log=logs)
def test_the_desired_number_is_within_bounds(load: Load, replicas: int, log: list[Sample]) -> None:
    assert 1 <= scale(spec(), load, replicas, log, NOW).desired <= 10


@given(concurrency=st.lists(st.floats(0, 200), min_size=1, max_size=10), replicas=st.integers(1, 20))
def test_a_pod_that_falls_silent_never_moves_replicas_further(concurrency: list[float], replicas: int) -> None:
    whole = recommend(Load(tuple(concurrency)), 8, replicas)
    silent = recommend(Load(tuple(concurrency[1:]), missing=1), 8, replicas)
    if whole >= replicas:
        assert silent <= max(whole, replicas)
    if concurrency[0] <= 8 and whole <= replicas:
        assert silent >= whole
