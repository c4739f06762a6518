"""The governor's rules, in their order, and what becomes of a request."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from perennial.monitoring.governor import (
    DAY,
    LIFETIME,
    Brake,
    Governor,
    Limits,
    Proposal,
    Request,
    Situation,
    decide,
    follow,
    withdraw,
)

MODEL = "a" * 64
NOW = 1_000_000.0
LIMITS = Limits(cooldown=600.0, stop_after=3, dry_run=False)
APPROVED_ONLY = replace(LIMITS, approval=True)
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
        (Governor(), replace(CALM, pinned=3), LIMITS, "Held"),
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
        (Governor(), replace(CALM, brake=Brake("switched off")), LIMITS, "Braked"),
        (Governor(cooldown_until=NOW + 1), replace(CALM, brake=Brake("switched off")), LIMITS, "Cooldown"),
        (Governor(cooldown_until=NOW + 1), replace(CALM, approved="p1"), APPROVED_ONLY, "Cooldown"),
        (Governor(), replace(CALM, brake=Brake("switched off"), approved="p1"), APPROVED_ONLY, "Braked"),
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


@pytest.mark.parametrize(("hours", "kept"), [(4, 6), (12, 3), (30, 3)])
def test_requests_of_a_day_are_kept_and_three_of_the_older_ones(hours: int, kept: int) -> None:
    governor = Governor()
    for turn in range(6):
        situation = replace(CALM, now=NOW + turn * hours * 3600)
        governor, _ = decide(follow(governor, situation, helped=True), "Harm", situation, LIMITS)
    assert [asked.created for asked in governor.requests] == [
        NOW + turn * hours * 3600 for turn in reversed(range(6 - kept, 6))
    ]


def proposed() -> Governor:
    after, decision = decide(Governor(), "Harm: worse", CALM, APPROVED_ONLY)
    assert decision.kind == "Proposed"
    assert after.requests == ()
    return after


def test_a_proposal_waits_for_its_own_approval() -> None:
    waiting = proposed()
    assert waiting.proposal is not None
    tomorrow = replace(CALM, now=NOW + DAY)
    assert decide(waiting, "Harm", replace(tomorrow, approved="another"), APPROVED_ONLY)[0] == waiting
    asked, decision = decide(waiting, "Harm", replace(tomorrow, approved=waiting.proposal.id), APPROVED_ONLY)
    assert decision.kind == "Requested"
    assert (asked.requests[0].id, asked.approved) == (waiting.proposal.id, waiting.proposal.id)
    assert asked.requests[0].expires == NOW + DAY + LIFETIME
    assert asked.proposal is None
    assert asked.retrains == 1


def test_an_approval_is_used_up() -> None:
    """The annotation stays where it is; what comes next is proposed anew."""
    waiting = proposed()
    assert waiting.proposal is not None
    approved = replace(CALM, approved=waiting.proposal.id)
    asked, _ = decide(waiting, "Harm", approved, APPROVED_ONLY)
    later = replace(approved, now=NOW + 2 * DAY, taken=waiting.proposal.id)
    again, decision = decide(follow(asked, later, helped=False), "Harm", later, APPROVED_ONLY)
    assert decision.kind == "Proposed"
    assert again.proposal is not None
    assert again.proposal.id != waiting.proposal.id


def test_a_proposal_that_nothing_asks_for_any_more_cannot_be_approved() -> None:
    waiting = proposed()
    assert withdraw(waiting).proposal is None
    assert follow(waiting, replace(CALM, model="b" * 64), helped=False).proposal is None
    assert follow(waiting, CALM, helped=False).proposal == waiting.proposal


def test_without_a_need_for_approval_a_proposal_is_asked_for() -> None:
    waiting = proposed()
    asked, decision = decide(waiting, "Harm", CALM, LIMITS)
    assert decision.kind == "Requested"
    assert asked.proposal is None
    assert asked.approved is None
    assert isinstance(waiting.proposal, Proposal)


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
