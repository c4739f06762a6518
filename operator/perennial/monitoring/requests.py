"""What is asked for and what becomes of it: a request waits for a while to be taken, a proposal for a person's yes.

A retrain is asked of a TrainingJob, a rollback of the ModelDeployment that is watched. Both are named by the look that
they were decided in, so that a plan that is made again of the same look asks once.
"""

from __future__ import annotations

import hashlib
from typing import Literal

import msgspec

from perennial.api.titles import model_title

LIFETIME = 3600.0
"""Seconds for which a request waits to be taken. Later the world is another one, and it is asked for again."""

KEPT = 3
"""Requests shown, the newest first."""

DAY = 86400.0
"""Seconds for which a request counts towards what the installation allows: so long it is kept."""

Action = Literal["Retrain", "Rollback"]


class Back(msgspec.Struct, frozen=True):
    """The deployment that is to go back, and the version that it is to go back to."""

    deployment: str
    sha256: str
    version: int | None = None

    @property
    def title(self) -> str:
        return model_title(self.version, self.sha256)


class Intent(msgspec.Struct, frozen=True, kw_only=True):
    """An action for the model with digest `model`: a retrain of a TrainingJob, or a rollback where it says what to go
    `back` to. Times are Unix seconds."""

    id: str
    training_job: str | None
    model: str
    reason: str
    created: float
    back: Back | None = None

    @property
    def action(self) -> Action:
        return "Rollback" if self.back else "Retrain"


class Request(Intent, frozen=True, kw_only=True):
    """What is asked for; a retrain when version `accepted` was the TrainingJob's newest accepted one (0: none was)."""

    expires: float
    accepted: int = 0
    state: Literal["Pending", "Taken", "Expired", "Superseded"] = "Pending"

    @property
    def words(self) -> str:
        if self.back:
            return f"asked ModelDeployment {self.back.deployment} to go back to {self.back.title} (request {self.id})"
        return f"asked TrainingJob {self.training_job} for a retrain (request {self.id})"


class Proposal(Intent, frozen=True, kw_only=True):
    """What waits for a person's yes; its id becomes the request's."""

    @property
    def words(self) -> str:
        if self.back:
            return f"proposed that ModelDeployment {self.back.deployment} goes back to {self.back.title}"
        return f"proposed a retrain of TrainingJob {self.training_job}"


class Governor(msgspec.Struct, frozen=True):
    """`retrains` and `rollbacks` count those in a row that no long calm followed; `approved` is the last proposal that
    became a request. A rollback waits for `rollback_after` only, which the last one set. `stopped` is when an action
    was first refused for those before it (Unix seconds), None while it may go on."""

    cooldown_until: float = 0.0
    rollback_after: float = 0.0
    retrains: int = 0
    rollbacks: int = 0
    requests: tuple[Request, ...] = ()
    proposals: tuple[Proposal, ...] = ()
    approved: str | None = None
    stopped: float | None = None

    def latest(self, action: Action) -> Request | None:
        return next((request for request in self.requests if request.action == action), None)

    def proposed(self, action: Action) -> Proposal | None:
        return next((proposal for proposal in self.proposals if proposal.action == action), None)


def identify(action: Action, model: str, now: float) -> str:
    """The same for a plan that is made again of the same look."""
    return hashlib.sha256(f"{action} {model} {now:.0f}".encode()).hexdigest()[:10]


def kept(requests: tuple[Request, ...], now: float) -> tuple[Request, ...]:
    """Those that are shown, or that count today, beside one that is new."""
    return tuple(
        request for place, request in enumerate(requests, start=1) if place < KEPT or now - request.created < DAY
    )
