"""Replica moves and weights."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perennial.serving.fleet import Group, Replicas, advance
from perennial.serving.split import Split, exact_split, inexact_split, pods_bound, surge


def group(asked: int, ready: int | None = None) -> Group:
    return Group(asked, asked, asked if ready is None else ready)


@pytest.mark.parametrize(
    ("weight", "wanted", "bound", "expected"),
    [
        (10, 10, 10, Split(9, 1)),
        (10, 4, 10, Split(9, 1)),  # stable is scaled up
        (10, 4, 9, None),
        (25, 10, 10, Split(8, 2)),  # 20%: below what was asked, never above
        (50, 1, 2, Split(1, 1)),
        (50, 10, 10, Split(5, 5)),
        (99, 2, 3, Split(1, 1)),
        (1, 10, 100, Split(99, 1)),
        (33, 3, 10, Split(3, 1)),
    ],
)
def test_exact_splits(weight: int, wanted: int, bound: int, expected: Split | None) -> None:
    assert exact_split(weight, wanted, bound) == expected


def test_inexact_splits_take_what_the_replicas_give() -> None:
    assert inexact_split(10, 4, 5) == Split(3, 1)
    assert inexact_split(10, 1, 2) == Split(1, 1)
    assert inexact_split(10, 10, 10) == Split(9, 1)


@given(weight=st.integers(1, 99), wanted=st.integers(1, 200), bound=st.integers(1, 400))
def test_an_exact_split_keeps_weight_wanted_and_bound(weight: int, wanted: int, bound: int) -> None:
    split = exact_split(weight, wanted, bound)
    if split:
        assert split.weight <= weight
        assert wanted <= split.total <= bound
        assert split.candidate >= 1
        assert split.stable >= 1


def test_bounds_come_from_the_autoscaler_or_from_a_surge() -> None:
    assert pods_bound(4, None) == 5
    assert pods_bound(1, None) == 2
    assert pods_bound(4, 10) == 10
    assert (surge(1), surge(4), surge(10)) == (1, 1, 2)


def test_rolling_one_replica_waits_for_the_new_pod() -> None:
    goal = Split(0, 1)
    assert advance(goal, 1, group(1), Group(), {}) == Replicas(1, 1, {})
    assert advance(goal, 1, group(1), group(1, 0), {}) == Replicas(1, 1, {})
    assert advance(goal, 1, group(1), group(1), {}) == Replicas(0, 1, {})


def test_rolling_ten_replicas_takes_as_many_as_became_ready() -> None:
    goal = Split(0, 10)
    assert advance(goal, 10, group(10), Group(), {}) == Replicas(10, 2, {})
    assert advance(goal, 10, group(10), group(2, 1), {}) == Replicas(9, 2, {})
    assert advance(goal, 10, group(9), group(2, 2), {}) == Replicas(8, 3, {})


def test_the_candidate_waits_for_the_stable_pods_its_weight_is_reckoned_against() -> None:
    goal = Split(9, 1)
    assert advance(goal, 4, group(4), Group(), {}) == Replicas(9, 0, {})
    assert advance(goal, 4, Group(9, 9, 8), Group(), {}) == Replicas(9, 0, {})
    assert advance(goal, 4, group(9), Group(), {}) == Replicas(9, 1, {})


def test_a_leaving_revision_stays_until_it_is_replaced() -> None:
    goal = Split(4, 0)
    assert advance(goal, 4, group(2), Group(), {"bad": group(2)}) == Replicas(3, 0, {"bad": 2})
    assert advance(goal, 4, Group(4, 3, 3), Group(), {"bad": group(2)}) == Replicas(4, 0, {"bad": 1})
    assert advance(goal, 4, group(4), Group(), {"bad": group(2)}) == Replicas(4, 0, {"bad": 0})


def test_leaving_pods_that_are_not_ready_go_at_once() -> None:
    assert advance(Split(4, 0), 4, group(3), Group(), {"bad": Group(2, 2, 0)}).leaving == {"bad": 0}


def test_haste_takes_a_bad_revision_away_when_nothing_replaces_it() -> None:
    stuck = Group(asked=4, pods=4, ready=2)
    assert advance(Split(4, 0), 4, stuck, Group(), {"bad": group(2)}).leaving == {"bad": 2}
    assert advance(Split(4, 0), 4, stuck, Group(), {"bad": group(2)}, hastened={"bad"}).leaving == {"bad": 0}
    assert advance(Split(4, 0), 4, Group(4, 4, 0), Group(), {"bad": group(2)}, hastened={"bad"}).leaving == {"bad": 2}


groups = st.tuples(st.integers(0, 12), st.integers(0, 12), st.integers(0, 12)).map(
    lambda t: Group(t[0], t[1], min(t[2], t[1]))
)


@given(
    wanted=st.integers(0, 12),
    goal=st.builds(Split, st.integers(0, 12), st.integers(0, 12)),
    stable=groups,
    candidate=groups,
    leaving=st.dictionaries(st.sampled_from(["x", "y"]), groups),
)
def test_no_ready_pod_is_taken_below_what_is_wanted(
    wanted: int, goal: Split, stable: Group, candidate: Group, leaving: dict[str, Group]
) -> None:
    after = advance(goal, wanted, stable, candidate, leaving)
    everyone = [stable, candidate, *leaving.values()]
    numbers = [after.stable, after.candidate, *(after.leaving[name] for name in leaving)]
    before = sum(g.counted_on for g in everyone)
    kept = sum(min(g.counted_on, n) for g, n in zip(everyone, numbers, strict=True))
    assert kept >= min(before, wanted)
    assert all(number >= 0 for number in numbers)
    assert all(after.leaving[name] <= leaving[name].asked for name in leaving)


@given(
    wanted=st.integers(0, 12),
    goal=st.builds(Split, st.integers(0, 12), st.integers(0, 12)),
    stable=groups,
    candidate=groups,
)
def test_no_growth_beyond_the_surge(wanted: int, goal: Split, stable: Group, candidate: Group) -> None:
    after = advance(goal, wanted, stable, candidate, {})
    grown = after.stable > stable.asked or after.candidate > candidate.asked
    size = max(after.stable, stable.pods) + max(after.candidate, candidate.pods)
    limit = max(goal.total, wanted) + surge(wanted)
    assert not grown or size <= max(limit, stable.size + candidate.size)
