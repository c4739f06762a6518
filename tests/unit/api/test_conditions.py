"""Conditions keep their transition time while nothing changes, and never contradict one another."""

from datetime import UTC, datetime, timedelta

import pytest

from perennial.api.conditions import ConditionType, Finding, find, health, is_true, settle
from perennial.api.reasons import CommonReason, TrainingJobReason

NOON = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)
READY = Finding(True, CommonReason.READY, "Version 3 is accepted.")
NOT_READY = Finding(False, TrainingJobReason.NO_ACCEPTED_VERSION, "No run has been accepted yet.")
PROGRESS = Finding(True, CommonReason.PROGRESSING, "Generation 2 is being carried out.")
STALL = Finding(True, CommonReason.INVALID_SPEC, "spec.data.uri: …")


def test_a_new_condition_changes_now() -> None:
    (ready,) = settle((), {ConditionType.READY: READY}, generation=4, now=NOON)
    assert ready.to_manifest() == {
        "type": "Ready",
        "status": "True",
        "observedGeneration": 4,
        "lastTransitionTime": "2026-03-01T12:00:00Z",
        "reason": "Ready",
        "message": "Version 3 is accepted.",
    }


def test_an_unchanged_status_keeps_its_time_and_takes_new_words() -> None:
    before = settle((), {ConditionType.READY: READY}, generation=1, now=NOON)
    again = Finding(True, CommonReason.READY, "Version 4 is accepted.")
    (ready,) = settle(before, {ConditionType.READY: again}, generation=2, now=NOON + timedelta(hours=1))
    assert (ready.last_transition_time, ready.message) == (before[0].last_transition_time, "Version 4 is accepted.")
    assert ready.observed_generation == 2


def test_a_changed_status_takes_the_time_of_the_change() -> None:
    before = settle((), {ConditionType.READY: READY}, generation=1, now=NOON)
    (ready,) = settle(before, {ConditionType.READY: NOT_READY}, generation=1, now=NOON + timedelta(hours=1))
    assert ready.status == "False"
    assert ready.last_transition_time == datetime(2026, 3, 1, 13, tzinfo=UTC)


def test_nothing_new_is_exactly_what_was_read() -> None:
    before = settle((), {ConditionType.READY: READY, ConditionType.TRAINING: NOT_READY}, generation=1, now=NOON)
    findings = {ConditionType.READY: READY, ConditionType.TRAINING: NOT_READY}
    assert settle(before, findings, generation=1, now=NOON + timedelta(days=1)) == before


def test_conditions_that_do_not_apply_are_gone() -> None:
    before = settle((), health(NOT_READY, reconciling=PROGRESS), generation=1, now=NOON)
    after = settle(before, health(READY), generation=1, now=NOON)
    assert [condition.type for condition in after] == ["Ready"]
    assert find(after, ConditionType.RECONCILING) is None
    assert is_true(before, ConditionType.RECONCILING)
    assert not is_true(after, ConditionType.RECONCILING)


def test_what_is_not_known_is_unknown() -> None:
    finding = Finding(None, TrainingJobReason.IDLE, "Not measured yet.")
    assert settle((), {ConditionType.TRAINING: finding}, generation=1, now=NOON)[0].status == "Unknown"


@pytest.mark.parametrize(
    ("ready", "others"),
    [
        (NOT_READY, {"reconciling": PROGRESS, "stalled": STALL}),
        (READY, {"stalled": STALL}),
        (NOT_READY, {"stalled": NOT_READY}),
        (NOT_READY, {"reconciling": NOT_READY}),
    ],
)
def test_health_never_contradicts_itself(ready: Finding, others: dict[str, Finding]) -> None:
    with pytest.raises(ValueError, match=r"Reconciling|Stalled"):
        health(ready, **others)


def test_a_long_message_is_cut() -> None:
    finding = Finding(False, CommonReason.FORBIDDEN, "x" * 10_000)
    assert len(settle((), {ConditionType.READY: finding}, generation=1, now=NOON)[0].message) == 2048
