"""Whether an action is taken now: one request at a time, a cooldown between them, and a stop after retrains that did
not help.

Rules are asked in order and the first that objects says why and until when. Nothing here knows the cluster: what the
TrainingJob and the deployment are doing comes in as a situation.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import msgspec

LIFETIME = 3600.0
"""Seconds for which a request waits to be taken. Later the world is another one, and it is asked for again."""

KEPT = 3
"""Requests shown, the newest first."""

DAY = 86400.0
"""Seconds for which a request counts towards what the installation allows: so long it is kept."""


class Request(msgspec.Struct, frozen=True):
    """A retrain asked of a TrainingJob, for the model with digest `model`, when version `accepted` was its newest
    accepted one (0: none was). Times are Unix seconds."""

    id: str
    training_job: str
    model: str
    reason: str
    created: float
    expires: float
    accepted: int = 0
    state: Literal["Pending", "Taken", "Expired", "Superseded"] = "Pending"


class Proposal(msgspec.Struct, frozen=True):
    """A retrain that waits for a person's yes; its id becomes the request's."""

    id: str
    training_job: str
    model: str
    reason: str
    created: float


class Governor(msgspec.Struct, frozen=True):
    """`retrains` counts those in a row that no long calm followed; `approved` is the last proposal that became a
    request."""

    cooldown_until: float = 0.0
    retrains: int = 0
    requests: tuple[Request, ...] = ()
    proposal: Proposal | None = None
    approved: str | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """What the user allows. `cooldown` is in seconds."""

    cooldown: float
    stop_after: int
    dry_run: bool
    approval: bool = False


@dataclass(frozen=True, slots=True)
class Brake:
    """Why this installation allows no retrain now. `until` is when to ask again (Unix seconds), None for when it is
    installed anew."""

    reason: str
    until: float | None = None


@dataclass(frozen=True, slots=True)
class Situation:
    """What matters beyond the monitor. `accepted` is the TrainingJob's accepted version, 0 without one; `taken` is the
    last request that it noted; `pinned` is the version that the deployment is held to; `busy` says what is already
    going on.

    `rival` is the name of the monitor that acts instead of this one; `approved` is the proposal that a person said yes
    to; `hasty` says that no whole window was judged since the cause was found.
    """

    model: str
    now: float
    training_job: str | None = None
    pinned: int | None = None
    accepted: int = 0
    taken: str | None = None
    busy: str | None = None
    rival: str | None = None
    data_fault: bool = False
    hasty: bool = False
    approved: str | None = None
    brake: Brake | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What was done or would be, and what comes next. `until` is when to ask again (Unix seconds), None for as soon as
    something changes."""

    kind: Literal["Requested", "Proposed", "InFlight", "Cooldown", "Stopped", "Braked", "DryRun", "Held", "NotActing"]
    action: str | None
    next: str
    until: float | None = None


def follow(governor: Governor, situation: Situation, *, helped: bool) -> Governor:
    """The governor after a look at what became of its requests. `helped` says that all has long been well since."""
    requests = tuple(_follow(request, situation) for request in governor.requests)
    lapsed = sum(
        before.state == "Pending" and after.state == "Expired"
        for before, after in zip(governor.requests, requests, strict=True)
    )
    retrains = 0 if helped else max(governor.retrains - lapsed, 0)
    proposal = governor.proposal if governor.proposal and governor.proposal.model == situation.model else None
    return msgspec.structs.replace(governor, requests=requests, retrains=retrains, proposal=proposal)


def withdraw(governor: Governor) -> Governor:
    """Nothing asks for a retrain any more: what was proposed must not be approved later."""
    return msgspec.structs.replace(governor, proposal=None)


def decide(governor: Governor, cause: str, situation: Situation, limits: Limits) -> tuple[Governor, Decision]:
    """What to do about a verdict that asks for a retrain; `cause` is in a person's words."""
    for rule in _RULES:
        if decision := rule(governor, situation, limits):
            return governor, replace(decision, action=decision.action or _done(governor, situation))
    proposal = governor.proposal
    if limits.approval and (proposal is None or proposal.id != situation.approved):
        return _propose(governor, cause, situation)
    return _ask(governor, cause, situation, limits)


def _rival(_: Governor, situation: Situation, __: Limits) -> Decision | None:
    if situation.rival is None:
        return None
    return Decision("NotActing", None, f"nothing: DriftMonitor {situation.rival} acts for this deployment")


def _no_training_job(_: Governor, situation: Situation, __: Limits) -> Decision | None:
    if situation.training_job:
        return None
    return Decision("Held", None, "nothing: the deployment follows no TrainingJob that could be run again")


def _pinned(_: Governor, situation: Situation, __: Limits) -> Decision | None:
    if situation.pinned is None:
        return None
    why = f"the deployment's spec.model.version is {situation.pinned}, so that no retrain would be served"
    return Decision("Held", None, f"nothing: {why}")


def _data_fault(_: Governor, situation: Situation, __: Limits) -> Decision | None:
    if not situation.data_fault:
        return None
    return Decision("Held", None, "a retrain is held until the DataFault is over: broken data must not be learned from")


def _hasty(_: Governor, situation: Situation, __: Limits) -> Decision | None:
    """Labels may prove harm before the window closes that shows the data to be broken."""
    if not situation.hasty:
        return None
    return Decision("Held", None, "a retrain waits for one whole window more, which would show broken data")


def _in_flight(governor: Governor, situation: Situation, _: Limits) -> Decision | None:
    latest = governor.requests[0] if governor.requests else None
    if latest and latest.state == "Pending":
        return Decision("InFlight", _asked(latest), "TrainingJob takes the request", latest.expires)
    return Decision("InFlight", None, situation.busy) if situation.busy else None


def _dry_run(_: Governor, situation: Situation, limits: Limits) -> Decision | None:
    if not limits.dry_run:
        return None
    would = f"dry run: a retrain of TrainingJob {situation.training_job} would have been asked for"
    return Decision("DryRun", would, "nothing, until spec.dryRun is false")


def _stopped(governor: Governor, _: Situation, limits: Limits) -> Decision | None:
    if governor.retrains < limits.stop_after:
        return None
    return Decision(
        "Stopped",
        f"{governor.retrains} retrains in a row, and none was followed by a long calm",
        "a person looks at data and definition, then annotates the monitor with perennial.dev/release",
    )


def _cooldown(governor: Governor, situation: Situation, _: Limits) -> Decision | None:
    if situation.now >= governor.cooldown_until:
        return None
    return Decision("Cooldown", None, "a retrain is asked for after the cooldown", governor.cooldown_until)


def _brake(_: Governor, situation: Situation, __: Limits) -> Decision | None:
    if situation.brake is None:
        return None
    return Decision("Braked", None, f"nothing: {situation.brake.reason}", situation.brake.until)


_RULES: tuple[Callable[[Governor, Situation, Limits], Decision | None], ...] = (
    _rival,
    _no_training_job,
    _pinned,
    _data_fault,
    _in_flight,
    _hasty,
    _dry_run,
    _stopped,
    _cooldown,
    _brake,
)


def _propose(governor: Governor, cause: str, situation: Situation) -> tuple[Governor, Decision]:
    proposal = governor.proposal or Proposal(
        id=_identify(situation),
        training_job=situation.training_job or "",
        model=situation.model,
        reason=cause,
        created=situation.now,
    )
    decision = Decision(
        "Proposed",
        f"proposed a retrain of TrainingJob {proposal.training_job}",
        f"a person approves it by annotating the monitor with perennial.dev/approve={proposal.id}",
    )
    return msgspec.structs.replace(governor, proposal=proposal), decision


def _ask(governor: Governor, cause: str, situation: Situation, limits: Limits) -> tuple[Governor, Decision]:
    proposal = governor.proposal
    request = Request(
        id=proposal.id if proposal else _identify(situation),
        training_job=situation.training_job or "",
        model=situation.model,
        reason=cause,
        created=situation.now,
        expires=situation.now + LIFETIME,
        accepted=situation.accepted,
    )
    asked = Governor(
        cooldown_until=situation.now + limits.cooldown,
        retrains=governor.retrains + 1,
        requests=(request, *_kept(governor.requests, situation.now)),
        approved=proposal.id if proposal and limits.approval else governor.approved,
    )
    return asked, Decision("Requested", _asked(request), "TrainingJob takes the request", request.expires)


def _identify(situation: Situation) -> str:
    """The same for a plan that is made again of the same look."""
    return hashlib.sha256(f"{situation.model} {situation.now:.0f}".encode()).hexdigest()[:10]


def _kept(requests: tuple[Request, ...], now: float) -> tuple[Request, ...]:
    return tuple(
        request for place, request in enumerate(requests, start=1) if place < KEPT or now - request.created < DAY
    )


def _follow(request: Request, situation: Situation) -> Request:
    if request.state != "Pending":
        return request
    if situation.taken == request.id:
        return msgspec.structs.replace(request, state="Taken")
    if request.model != situation.model:
        return msgspec.structs.replace(request, state="Superseded")
    if situation.now >= request.expires:
        return msgspec.structs.replace(request, state="Expired")
    return request


def _done(governor: Governor, situation: Situation) -> str | None:
    """What was last done about this model."""
    return next((_asked(request) for request in governor.requests if request.model == situation.model), None)


def _asked(request: Request) -> str:
    return f"asked TrainingJob {request.training_job} for a retrain (request {request.id})"
