"""Labels are credited to the windows that their predictions were made in, whatever the order in which they come."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from perennial.monitoring.course import (
    SPANS,
    Course,
    Rise,
    Span,
    anew,
    close,
    credit,
    cut,
    judged,
    moments,
    rise,
    since,
)
from perennial.monitoring.harm import game

from . import worlds

RULES = game(worlds.loss(0.1, rows=12_000), margin=0.2)
PERIOD = 300.0
NONE = Course()


def windows(count: int, course: Course = NONE) -> Course:
    """So many windows one after the other from 0 on."""
    for number in range(count):
        course = close(course, PERIOD * number, PERIOD * (number + 1))
    return course


@given(st.lists(st.tuples(st.floats(0, 40 * PERIOD, exclude_max=True), st.booleans()), max_size=60), st.randoms())
def test_the_order_in_which_labels_come_makes_no_difference(made: list[tuple[float, bool]], random: Random) -> None:
    losses = [(moment, [int(not wrong), int(wrong)]) for moment, wrong in made]
    early = Course((Span(0.0),))
    for number in range(40):
        opened, closed = PERIOD * number, PERIOD * (number + 1)
        early = close(credit(early, [each for each in losses if opened <= each[0] < closed]), opened, closed)
    random.shuffle(losses)
    late = windows(40)
    for each in losses:
        late = credit(late, [each])
    assert late == early
    assert sum(sum(span.cells) for span in late.spans) == len(made)


def test_what_is_older_than_all_that_is_known_is_kept_too() -> None:
    course = credit(Course((Span(300.0), Span(600.0))), [(100.0, [1, 0]), (1e6, [0, 2])])
    assert course.spans == (Span(100.0, [1, 0]), Span(600.0, [0, 2]))


def test_labels_before_the_first_window_have_a_span() -> None:
    course = credit(credit(Course(), [(50.0, [1])]), [(20.0, [1])])
    assert course.spans == (Span(20.0, [2]),)
    assert [span.opened for span in close(course, 60.0, 90.0).spans] == [20.0, 90.0]


def test_nothing_was_predicted_while_nothing_was_asked() -> None:
    course = close(windows(1), 5000.0, 5300.0)
    assert [span.opened for span in course.spans] == [0.0, 5000.0, 5300.0]


def test_memory_is_bounded_and_the_finer_the_newer() -> None:
    total = 5_000
    course = windows(total, credit(Course(), [(1.0, [3, 4])]))
    assert len(course.spans) == SPANS
    opened = [span.opened for span in course.spans]
    assert opened[-2:] == [PERIOD * (total - 1), PERIOD * total]
    assert all(
        (later - one) / (opened[-1] - one) < 0.12 for one, later in pairwise(opened) if opened[-1] - one > 40 * PERIOD
    )
    assert course.spans[0].cells == [3, 4]


def test_what_is_dated_stays_dated() -> None:
    course = anew(windows(10), PERIOD * 10)
    for number in range(10, 3000):
        course = close(course, PERIOD * number, PERIOD * (number + 1), keep=[PERIOD * 17])
    assert {PERIOD * 10, PERIOD * 17} <= {span.opened for span in course.spans}


def test_predictions_from_before_are_shown_and_not_judged() -> None:
    course = anew(credit(windows(4), [(10.0, [0, 9])]), PERIOD * 4)
    made = [(20.0, [0, 5]), (PERIOD * 4 + 1, [3, 1])]
    assert judged(course, made) == [3, 1]
    course = credit(course, made)
    assert course.spans[0].cells == [0, 14]
    found = rise(course, RULES)
    assert (found.since, found.labels) == (PERIOD * 4, 4)


def _in_judged(course: Course) -> int:
    return sum(sum(span.cells) for span in course.spans if span.opened >= course.begun)


@example([("anew", 1.0, 0.0), ("close", 0.0, 2.0), ("credit", 0.0, 1.0)])
@given(st.lists(st.tuples(st.sampled_from(["credit", "anew", "close"]), st.floats(0, 100), st.floats(0, 100))))
def test_no_span_has_predictions_that_are_judged_and_others(steps: list[tuple[str, float, float]]) -> None:
    course = NONE
    for kind, one, other in steps:
        begun = course.begun
        if kind == "anew":
            course = anew(course, one)
            assert course.begun == max(begun, one)
        elif kind == "close":
            course = close(course, min(one, other), max(one, other))
        else:
            before, made = _in_judged(course), [(one, [1]), (other, [1])]
            course = credit(course, made)
            assert _in_judged(course) - before == sum(judged(course, made))
        opened = [span.opened for span in course.spans]
        assert opened == sorted(set(opened))


def test_harm_in_what_came_with_labels_from_before_is_dated() -> None:
    """A monitor that was just made: no window has closed yet."""
    course = credit(Course(begun=1000.0), [(900.0, [9, 0]), (1005.0, [0, 40])])
    assert rise(course, RULES) == Rise(1000.0, 40, 1.0)
    assert rise(close(course, 1000.0, 1060.0), RULES) == Rise(1000.0, 40, 1.0)


def test_what_is_older_than_a_rise_does_not_end_it() -> None:
    course = credit(NONE, [(1005.0, [0, 40])])
    found = rise(course, RULES)
    assert since(credit(course, [(1003.0, [0, 2])]), RULES, found.since) == Rise(1005.0, 42, 1.0)


def test_a_pause_moves_no_date_that_is_kept() -> None:
    begun = anew(windows(3), PERIOD * 3)
    assert [span.opened for span in close(begun, 5000.0, 5300.0).spans][-2:] == [PERIOD * 3, 5300.0]
    dated = close(windows(3), 5000.0, 5300.0, keep=[PERIOD * 3])
    assert [span.opened for span in dated.spans][-2:] == [PERIOD * 3, 5300.0]


@pytest.mark.parametrize("order", ["as they come", "newest first", "mixed"])
def test_a_rise_is_dated_by_when_it_began(order: str, rng: np.random.Generator) -> None:
    losses = []
    for number in range(60):
        wrong = int(rng.binomial(200, 0.1 if number < 45 else 0.3))
        losses.append((PERIOD * (number + 0.5), [200 - wrong, wrong]))
    if order == "newest first":
        losses.reverse()
    if order == "mixed":
        rng.shuffle(losses)
    course = windows(60)
    for each in losses:
        course = credit(course, [each])
    found = rise(course, RULES)
    assert found.since == PERIOD * 45
    assert found.labels == 15 * 200
    assert found.loss == pytest.approx(0.3, rel=0.1)
    assert since(course, RULES, PERIOD * 50).labels == 10 * 200


def test_a_bad_stretch_that_is_over_is_dated_too() -> None:
    course = credit(windows(30), [(PERIOD * (n + 0.5), [70, 30] if 10 <= n < 15 else [95, 5]) for n in range(30)])
    found = rise(course, RULES)
    assert (found.since, found.labels) == (PERIOD * 10, 500)


def test_what_shares_its_span_with_many_good_ones_is_dated_there() -> None:
    course = credit(windows(5), [(PERIOD * 0.5, [290, 10]), (PERIOD * 3.5, [320, 30])])
    found = rise(course, RULES)
    assert (found.since, found.labels) == (PERIOD * 3, 350)


def test_a_cut_in_the_past_changes_nothing() -> None:
    assert cut(windows(3), 10.0) == windows(3)
    assert cut(Course(), 10.0) == Course()


def test_moments_are_the_middle_of_their_grain_and_not_to_come() -> None:
    assert moments({16: "b", 0: "a"}, 16, 32.0) == [(8.0, "a"), (24.0, "b")]
    assert moments({16: "b", 0: "a"}, 16, 20.0) == [(8.0, "a"), (20.0, "b")]
