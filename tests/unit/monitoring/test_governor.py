"""The governor's rules, in their order, and what becomes of a request."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from perennial.monitoring.governor import decide, follow, withdraw
from perennial.monitoring.objections import Brake, Limits, Return, Situation, Stale
from perennial.monitoring.requests import DAY, LIFETIME, Action, Back, Governor, Proposal, Request

MODEL = "a" * 64
NOW = 1_000_000.0
LIMITS = Limits(cooldown=600.0, stop_after=3, dry_run=False)
APPROVED_ONLY = replace(LIMITS, approval=True)
CALM = Situation(model=MODEL, now=NOW, training_job="flights")
SAME_FOR_AN_HOUR = Stale(4, since=NOW - 5400, seen=NOW - 1800)


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
        (Governor(), replace(CALM, stale=SAME_FOR_AN_HOUR), LIMITS, "Stale"),
        (Governor(), replace(CALM, stale=SAME_FOR_AN_HOUR, now=NOW + 1800), LIMITS, "Requested"),
        (Governor(cooldown_until=NOW + 1801), replace(CALM, stale=SAME_FOR_AN_HOUR, now=NOW + 1800), LIMITS, "Stale"),
        (Governor(retrains=3), replace(CALM, stale=SAME_FOR_AN_HOUR), LIMITS, "Stopped"),
        (Governor(), replace(CALM, stale=SAME_FOR_AN_HOUR, approved="p1"), APPROVED_ONLY, "Stale"),
        (Governor(retrains=3), replace(CALM, busy="it runs"), LIMITS, "InFlight"),
        (Governor(retrains=3), replace(CALM, data_fault=True), LIMITS, "Held"),
        (Governor(), replace(CALM, brake=Brake("switched off")), LIMITS, "Braked"),
        (Governor(cooldown_until=NOW + 1), replace(CALM, brake=Brake("switched off")), LIMITS, "Cooldown"),
        (Governor(cooldown_until=NOW + 1), replace(CALM, approved="p1"), APPROVED_ONLY, "Cooldown"),
        (Governor(), replace(CALM, brake=Brake("switched off"), approved="p1"), APPROVED_ONLY, "Braked"),
    ],
)
def test_rules(governor: Governor, situation: Situation, limits: Limits, kind: str) -> None:
    after, decision = decide(governor, "Retrain", "Harm", situation, limits)
    assert decision.kind == kind
    assert (after == governor) == (kind != "Requested")


def test_a_request_is_for_this_model_and_does_not_live_for_ever() -> None:
    after, decision = decide(Governor(), "Retrain", "Harm: worse", CALM, LIMITS)
    asked = after.requests[0]
    assert (asked.model, asked.training_job, asked.reason) == (MODEL, "flights", "Harm: worse")
    assert asked.expires == NOW + LIFETIME == decision.until
    assert after.cooldown_until == NOW + 600
    assert after.retrains == 1


def test_the_same_look_makes_the_same_request() -> None:
    """A plan that is made again, after a write that was refused, asks once."""
    assert decide(Governor(), "Retrain", "Harm", CALM, LIMITS) == decide(Governor(), "Retrain", "Harm", CALM, LIMITS)
    later, _ = decide(Governor(), "Retrain", "Harm", replace(CALM, now=NOW + 1), LIMITS)
    assert later.requests[0].id != decide(Governor(), "Retrain", "Harm", CALM, LIMITS)[0].requests[0].id


@pytest.mark.parametrize(("hours", "kept"), [(4, 6), (12, 3), (30, 3)])
def test_requests_of_a_day_are_kept_and_three_of_the_older_ones(hours: int, kept: int) -> None:
    governor = Governor()
    for turn in range(6):
        situation = replace(CALM, now=NOW + turn * hours * 3600)
        governor, _ = decide(follow(governor, situation, helped=True), "Retrain", "Harm", situation, LIMITS)
    assert [asked.created for asked in governor.requests] == [
        NOW + turn * hours * 3600 for turn in reversed(range(6 - kept, 6))
    ]


def proposed() -> Governor:
    after, decision = decide(Governor(), "Retrain", "Harm: worse", CALM, APPROVED_ONLY)
    assert decision.kind == "Proposed"
    assert after.requests == ()
    return after


def test_a_proposal_waits_for_its_own_approval() -> None:
    waiting = proposed()
    (proposal,) = waiting.proposals
    tomorrow = replace(CALM, now=NOW + DAY)
    assert decide(waiting, "Retrain", "Harm", replace(tomorrow, approved="another"), APPROVED_ONLY)[0] == waiting
    asked, decision = decide(waiting, "Retrain", "Harm", replace(tomorrow, approved=proposal.id), APPROVED_ONLY)
    assert decision.kind == "Requested"
    assert (asked.requests[0].id, asked.approved) == (proposal.id, proposal.id)
    assert asked.requests[0].expires == NOW + DAY + LIFETIME
    assert asked.proposals == ()
    assert asked.retrains == 1


def test_an_approval_is_used_up() -> None:
    """The annotation stays where it is; what comes next is proposed anew."""
    waiting = proposed()
    (proposal,) = waiting.proposals
    approved = replace(CALM, approved=proposal.id)
    asked, _ = decide(waiting, "Retrain", "Harm", approved, APPROVED_ONLY)
    later = replace(approved, now=NOW + 2 * DAY, taken=frozenset({proposal.id}))
    again, decision = decide(follow(asked, later, helped=False), "Retrain", "Harm", later, APPROVED_ONLY)
    assert decision.kind == "Proposed"
    (another,) = again.proposals
    assert another.id != proposal.id


def test_a_proposal_that_nothing_asks_for_any_more_cannot_be_approved() -> None:
    waiting = proposed()
    assert withdraw(waiting, "Retrain").proposals == ()
    assert withdraw(waiting, "Rollback") == waiting
    assert follow(waiting, replace(CALM, model="b" * 64), helped=False).proposals == ()
    assert follow(waiting, CALM, helped=False) == waiting


def test_without_a_need_for_approval_a_proposal_is_asked_for() -> None:
    waiting = proposed()
    asked, decision = decide(waiting, "Retrain", "Harm", CALM, LIMITS)
    assert decision.kind == "Requested"
    assert asked.proposals == ()
    assert asked.approved is None
    assert isinstance(waiting.proposals[0], Proposal)


@pytest.mark.parametrize(
    ("situation", "state", "retrains"),
    [
        (replace(CALM, taken=frozenset({"r1"})), "Taken", 1),
        (replace(CALM, taken=frozenset({"r0"})), "Pending", 1),
        (replace(CALM, model="b" * 64), "Superseded", 1),
        (replace(CALM, now=NOW + 2900), "Expired", 0),
        (replace(CALM, now=NOW + 2900, taken=frozenset({"r1"})), "Taken", 1),
    ],
)
def test_what_becomes_of_a_request(situation: Situation, state: str, retrains: int) -> None:
    """A request that nobody took was no retrain that could have helped."""
    after = follow(Governor(retrains=1, requests=(request(),)), situation, helped=False)
    assert (after.requests[0].state, after.retrains) == (state, retrains)
    assert follow(after, situation, helped=False) == after


@pytest.mark.parametrize(
    ("asked", "state"),
    [
        (request(), "Pending"),
        (request(model="d" * 64), "Superseded"),
        (request(id="r3", training_job=None, back=Back("flights", "c" * 64)), "Superseded"),
    ],
)
def test_only_a_retrain_is_still_owed_for_the_model_that_gave_way(asked: Request, state: str) -> None:
    gave_way = request(id="r2", training_job=None, back=Back("flights", "b" * 64), state="Taken")
    after = follow(Governor(requests=(gave_way, asked)), replace(CALM, model="b" * 64), helped=False)
    assert after.requests[1].state == state


def test_a_long_time_of_calm_forgets_the_retrains() -> None:
    assert follow(Governor(retrains=3), CALM, helped=True).retrains == 0


def test_what_was_done_is_still_said_while_one_waits() -> None:
    governor = Governor(cooldown_until=NOW + 1, requests=(request(state="Taken"),))
    _, decision = decide(governor, "Retrain", "Harm", CALM, LIMITS)
    assert decision.action == "asked TrainingJob flights for a retrain (request r1)"
    assert decision.until == NOW + 1


BACK = Back("flights", "0" * 64, 2)
PROVEN = Return(BACK, wins=True, words="on 400 rows its loss is 0.1 where it is 0.4 now")
BETTER = replace(CALM, way_back=PROVEN)
ROLLED_BACK = request(id="b1", training_job=None, back=BACK, state="Taken")


@pytest.mark.parametrize(
    ("governor", "situation", "limits", "kind", "says"),
    [
        (Governor(), BETTER, LIMITS, "Requested", "ModelDeployment takes the request"),
        (Governor(), CALM, LIMITS, "Held", "there is no version before this one"),
        (Governor(), replace(BETTER, way_back=Return(objection="it is pinned")), LIMITS, "Held", "it is pinned"),
        (Governor(), replace(BETTER, way_back=replace(PROVEN, wins=False)), LIMITS, "Unproven", "on 400 rows its loss"),
        (Governor(), replace(BETTER, way_back=replace(PROVEN, under_way=True)), LIMITS, "InFlight", "takes over"),
        (Governor(requests=(request(back=BACK),)), BETTER, LIMITS, "InFlight", "takes the request"),
        (Governor(), replace(BETTER, rival="other"), LIMITS, "NotActing", "DriftMonitor other acts"),
        (Governor(), BETTER, replace(LIMITS, dry_run=True), "DryRun", "until spec.dryRun is false"),
        (Governor(retrains=3), BETTER, LIMITS, "Stopped", "a person looks"),
        (Governor(rollbacks=3), BETTER, LIMITS, "Stopped", "a person looks"),
        (Governor(rollback_after=NOW + 1), BETTER, LIMITS, "Cooldown", "after the cooldown"),
        (Governor(), replace(BETTER, brake=Brake("switched off")), LIMITS, "Braked", "switched off"),
        (Governor(), BETTER, APPROVED_ONLY, "Proposed", "perennial.dev/approve="),
        (Governor(), replace(BETTER, data_fault=True), LIMITS, "Held", "no version is to blame"),
        (Governor(), replace(BETTER, hasty=True), LIMITS, "Held", "one whole window more"),
        # What is in the way of a retrain only:
        (Governor(cooldown_until=NOW + 1), BETTER, LIMITS, "Requested", ""),
        (Governor(requests=(request(),)), BETTER, LIMITS, "Requested", ""),
        (Governor(), replace(BETTER, brake=Brake("used up", only="Retrain")), LIMITS, "Requested", ""),
        (Governor(), replace(BETTER, busy="it runs"), LIMITS, "Requested", ""),
    ],
)
def test_rules_of_a_rollback(governor: Governor, situation: Situation, limits: Limits, kind: str, says: str) -> None:
    after, decision = decide(governor, "Rollback", "Harm", situation, limits)
    assert decision.kind == kind
    assert says in decision.next
    assert (after == governor) == (kind not in ("Requested", "Proposed"))


def test_a_rollback_is_asked_of_the_deployment_and_cools_down_both() -> None:
    after, decision = decide(Governor(retrains=1), "Rollback", "Harm: worse", BETTER, LIMITS)
    (asked,) = after.requests
    assert (asked.action, asked.back, asked.training_job, asked.model) == ("Rollback", BACK, None, MODEL)
    assert decision.action == f"asked ModelDeployment flights to go back to version 2 (request {asked.id})"
    assert (after.cooldown_until, after.rollback_after) == (NOW + 600, NOW + 600)
    assert (after.retrains, after.rollbacks) == (1, 1)
    later = replace(BETTER, now=NOW + 599, taken=frozenset({asked.id}))
    followed = follow(after, later, helped=False)
    assert decide(followed, "Retrain", "Harm", later, LIMITS)[1].kind == "Cooldown"
    assert decide(followed, "Rollback", "Harm", later, LIMITS)[1].kind == "Cooldown"
    assert follow(after, replace(later, now=NOW + LIFETIME, taken=frozenset()), helped=False).rollbacks == 0


def test_both_are_proposed_and_each_is_approved_by_itself() -> None:
    waiting = Governor()
    actions: tuple[Action, ...] = ("Retrain", "Rollback")
    for action in actions:
        waiting, _ = decide(waiting, action, "Harm", BETTER, APPROVED_ONLY)
    retrain, rollback = waiting.proposals
    assert retrain.id != rollback.id
    approved = replace(BETTER, approved=rollback.id)
    assert decide(waiting, "Retrain", "Harm", approved, APPROVED_ONLY)[1].kind == "Proposed"
    asked, _ = decide(waiting, "Rollback", "Harm", approved, APPROVED_ONLY)
    assert [request.id for request in asked.requests] == [rollback.id]
    assert asked.proposals == (retrain,)


@pytest.mark.parametrize(("rollback", "state"), [(ROLLED_BACK, "Pending"), (None, "Superseded")])
def test_a_retrain_is_still_wanted_for_a_model_that_gave_way(rollback: Request | None, state: str) -> None:
    requests = (rollback, request()) if rollback else (request(),)
    after = follow(Governor(requests=requests), replace(CALM, model="0" * 64), helped=False)
    assert after.requests[-1].state == state
