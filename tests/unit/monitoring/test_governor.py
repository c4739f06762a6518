"""The governor's rules, in their order, and what becomes of a request."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from perennial.monitoring.governor import LIFETIME, Governor, Limits, Request, Situation, decide, follow

MODEL = "a" * 64
NOW = 1_000_000.0
LIMITS = Limits(cooldown=600.0, stop_after=3, dry_run=False)
CALM = Situation(model=MODEL, now=NOW, training_job="flights")


def request(**changes: object) -> Request:
    fields: dict[str, Any] = {
        "id": "r1",
        "training_job": "flights",
        "model": MODEL,
        "reason": "Harm",
        "created": NOW - 700,
        "expires": NOW + 2900,
        **changes,
    }
    return Request(**fields)


@pytest.mark.parametrize(
    ("governor", "situation", "limits", "kind"),
    [
        (Governor(), CALM, LIMITS, "Requested"),
        (Governor(), replace(CALM, rival="other"), LIMITS, "NotActing"),
        (Governor(), replace(CALM, training_job=None), LIMITS, "Held"),
        (Governor(), replace(CALM, data_fault=True), LIMITS, "Held"),
        (Governor(requests=(request(),)), CALM, LIMITS, "InFlight"),
        (Governor(), replace(CALM, busy="TrainingJob flights is running"), LIMITS, "InFlight"),
        (Governor(), CALM, replace(LIMITS, dry_run=True), "DryRun"),
        (Governor(retrains=2), CALM, LIMITS, "Requested"),
        (Governor(retrains=3), CALM, LIMITS, "Stopped"),
        (Governor(cooldown_until=NOW + 1), CALM, LIMITS, "Cooldown"),
        (Governor(cooldown_until=NOW), CALM, LIMITS, "Requested"),
        (Governor(requests=(request(state="Taken"),)), CALM, LIMITS, "Requested"),
        (Governor(retrains=3, cooldown_until=NOW + 1), CALM, LIMITS, "Stopped"),
        (Governor(retrains=3), replace(CALM, busy="it runs"), LIMITS, "InFlight"),
        (Governor(retrains=3), replace(CALM, data_fault=True), LIMITS, "Held"),
    ],
)
def test_rules(governor: Governor, situation: Situation, limits: Limits, kind: str) -> None:
    after, decision = decide(governor, "Harm", situation, limits)
    assert decision.kind == kind
    assert (after == governor) == (kind != "Requested")


def test_a_request_is_for_this_model_and_does_not_live_for_ever() -> None:
    after, decision = decide(Governor(), "Harm: worse", CALM, LIMITS)
    asked = after.requests[0]
    assert (asked.model, asked.training_job, asked.reason) == (MODEL, "flights", "Harm: worse")
    assert asked.expires == NOW + LIFETIME == decision.until
    assert after.cooldown_until == NOW + 600
    assert after.retrains == 1


def test_the_same_look_makes_the_same_request() -> None:
    """A plan that is made again, after a write that was refused, asks once."""
    assert decide(Governor(), "Harm", CALM, LIMITS) == decide(Governor(), "Harm", CALM, LIMITS)
    later, _ = decide(Governor(), "Harm", replace(CALM, now=NOW + 1), LIMITS)
    assert later.requests[0].id != decide(Governor(), "Harm", CALM, LIMITS)[0].requests[0].id


def test_only_the_last_requests_are_kept() -> None:
    governor = Governor()
    for hour in range(6):
        situation = replace(CALM, now=NOW + hour * 3600)
        governor, _ = decide(follow(governor, situation, helped=True), "Harm", situation, LIMITS)
    assert [asked.created for asked in governor.requests] == [NOW + hour * 3600 for hour in (5, 4, 3)]


@pytest.mark.parametrize(
    ("situation", "state", "retrains"),
    [
        (replace(CALM, taken="r1"), "Taken", 1),
        (replace(CALM, taken="r0"), "Pending", 1),
        (replace(CALM, model="b" * 64), "Superseded", 1),
        (replace(CALM, now=NOW + 2900), "Expired", 0),
        (replace(CALM, now=NOW + 2900, taken="r1"), "Taken", 1),
    ],
)
def test_what_becomes_of_a_request(situation: Situation, state: str, retrains: int) -> None:
    """A request that nobody took was no retrain that could have helped."""
    after = follow(Governor(retrains=1, requests=(request(),)), situation, helped=False)
    assert (after.requests[0].state, after.retrains) == (state, retrains)
    assert follow(after, situation, helped=False) == after


def test_a_long_time_of_calm_forgets_the_retrains() -> None:
    assert follow(Governor(retrains=3), CALM, helped=True).retrains == 0


def test_what_was_done_is_still_said_while_one_waits() -> None:
    governor = Governor(cooldown_until=NOW + 1, requests=(request(state="Taken"),))
    _, decision = decide(governor, "Harm", CALM, LIMITS)
    assert decision.action == "asked TrainingJob flights for a retrain (request r1)"
    assert decision.until == NOW + 1
