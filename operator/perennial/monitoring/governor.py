"""Whether an action is taken now: one request of a kind at a time, a cooldown between them, and a stop after those that
did not help."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from .objections import RULES, Decision, Decisions, Limits, Situation, requested, spent
from .requests import LIFETIME, Action, Governor, Proposal, Request, identify, kept


def follow(governor: Governor, situation: Situation, *, helped: bool) -> Governor:
    """The governor after a look at what became of its requests. `helped` says that all has long been well since."""
    requests = tuple(_follow(governor, request, situation) for request in governor.requests)
    lapsed = [
        after.action
        for before, after in zip(governor.requests, requests, strict=True)
        if before.state == "Pending" and after.state == "Expired"
    ]
    return msgspec.structs.replace(
        governor,
        requests=requests,
        retrains=0 if helped else max(governor.retrains - lapsed.count("Retrain"), 0),
        rollbacks=0 if helped else max(governor.rollbacks - lapsed.count("Rollback"), 0),
        proposals=tuple(proposal for proposal in governor.proposals if proposal.model == situation.model),
    )


def withdraw(governor: Governor, action: Action) -> Governor:
    """Nothing asks for it any more: what was proposed must not be approved later."""
    left = tuple(proposal for proposal in governor.proposals if proposal.action != action)
    return msgspec.structs.replace(governor, proposals=left)


def decide(
    governor: Governor, action: Action, cause: str, situation: Situation, limits: Limits
) -> tuple[Governor, Decision]:
    """What to do about a verdict that asks for an action; `cause` is in a person's words."""
    for rule in RULES[action]:
        if decision := rule(governor, situation, limits):
            return governor, replace(decision, action=decision.action or _done(governor, action, situation))
    proposal = governor.proposed(action)
    if limits.approval and (proposal is None or proposal.id != situation.approved):
        return _propose(governor, action, cause, situation)
    return _ask(governor, action, cause, situation, limits)


def mark(governor: Governor, decisions: Decisions, limits: Limits, now: float) -> Governor:
    """The governor with whether it has stopped: from the first refusal on, since the last action may yet help, and
    whatever asks for one or does not, until a calm, a release or another limit lets it go on."""
    if spent(governor, limits) is None:
        return msgspec.structs.replace(governor, stopped=None)
    refused = any(decision.kind == "Stopped" for made in decisions.values() for decision in made)
    return msgspec.structs.replace(governor, stopped=governor.stopped or now) if refused else governor


def _propose(governor: Governor, action: Action, cause: str, situation: Situation) -> tuple[Governor, Decision]:
    proposal = governor.proposed(action) or Proposal(
        id=identify(action, situation.model, situation.now),
        training_job=situation.training_job if action == "Retrain" else None,
        model=situation.model,
        reason=cause,
        created=situation.now,
        back=situation.way_back.back if action == "Rollback" else None,
    )
    asked = f"a person approves it by annotating the monitor with perennial.dev/approve={proposal.id}"
    decision = Decision("Proposed", proposal.words, f"{asked}{_misdirected(governor, situation)}")
    others = withdraw(governor, action).proposals
    return msgspec.structs.replace(governor, proposals=(*others, proposal)), decision


def _misdirected(governor: Governor, situation: Situation) -> str:
    """What a person approved that waits for nothing: a slip of the pen, or a proposal that was withdrawn."""
    said = situation.approved
    if said is None or said == governor.approved or any(each.id == said for each in governor.proposals):
        return ""
    return f"; {said}, which it has, names nothing that waits"


def _ask(
    governor: Governor, action: Action, cause: str, situation: Situation, limits: Limits
) -> tuple[Governor, Decision]:
    proposal = governor.proposed(action)
    is_back = action == "Rollback"
    request = Request(
        id=proposal.id if proposal else identify(action, situation.model, situation.now),
        training_job=None if is_back else situation.training_job,
        model=situation.model,
        reason=cause,
        created=situation.now,
        expires=situation.now + LIFETIME,
        accepted=0 if is_back else situation.accepted,
        back=situation.way_back.back if is_back else None,
    )
    cooled = situation.now + limits.cooldown
    asked = msgspec.structs.replace(
        withdraw(governor, action),
        cooldown_until=cooled,
        rollback_after=cooled if is_back else governor.rollback_after,
        retrains=governor.retrains + (not is_back),
        rollbacks=governor.rollbacks + is_back,
        requests=(request, *kept(governor.requests, situation.now)),
        approved=proposal.id if proposal and limits.approval else governor.approved,
    )
    return asked, requested(request, "Requested")


def _follow(governor: Governor, request: Request, situation: Situation) -> Request:
    if request.state != "Pending":
        return request
    if request.id in situation.taken:
        return msgspec.structs.replace(request, state="Taken")
    if request.model != situation.model and not _is_owed(governor, request, situation):
        return msgspec.structs.replace(request, state="Superseded")
    if situation.now >= request.expires:
        return msgspec.structs.replace(request, state="Expired")
    return request


def _is_owed(governor: Governor, request: Request, situation: Situation) -> bool:
    """A retrain is still wanted for a model that gave way to the one before it."""
    back = governor.latest("Rollback")
    if request.action != "Retrain" or back is None or back.model != request.model:
        return False
    return back.state == "Taken" or back.id in situation.taken


def _done(governor: Governor, action: Action, situation: Situation) -> str | None:
    """What was last done about what was found of this model."""
    done = (
        each.words
        for each in governor.requests
        if each.model == situation.model and each.action == action and each.created >= situation.found
    )
    last = next(done, None)
    if last and action == "Retrain" and situation.fruitless:
        return f"{last}; {situation.fruitless}"
    return last
