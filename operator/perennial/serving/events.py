"""Events of a ModelDeployment: one for each turn of a rollout, and when the autoscaler moved."""

from __future__ import annotations

from collections.abc import Iterable

from perennial.api.reasons import ModelDeploymentReason as Reason
from perennial.kube.plan import Event

from .moves import End, GoBack, GoTo, Move, Promote, Release, Start
from .observe import Observed
from .outcome import Outcome
from .situation import Situation


def events(outcome: Outcome, observed: Observed) -> Iterable[Event]:
    if event := _of_move(outcome.move, outcome.before):
        yield event
    for late in outcome.before.asked.late:
        yield Event("Normal", Reason.LATE_REQUEST.value, late.message)
    before = observed.status.autoscaling
    scaling = outcome.wanted.scaling
    if before and scaling and before.desired != scaling.desired:
        message = f"from {before.desired} to {scaling.desired} replicas: {scaling.message}"
        yield Event("Normal", Reason.SCALED.value, message)


def _of_move(move: Move, before: Situation) -> Event | None:
    stable = before.stable.model.title if before.stable else None
    candidate = before.candidate.model.title if before.candidate else "the candidate"
    match move:
        case Start(target):
            over = f" over {stable}" if stable else ""
            return Event("Normal", Reason.ROLLING_OUT.value, f"{target.model.title} is rolled out{over}")
        case GoTo(step) if step < len(before.steps):
            weight = before.steps[step].weight
            message = f"{candidate} goes on to step {step + 1} of {len(before.steps)}: {weight}% of the requests"
            return Event("Normal", Reason.ROLLING_OUT.value, message)
        case GoTo():
            return Event("Normal", Reason.ROLLING_OUT.value, f"{candidate} takes over whole")
        case Promote():
            return Event("Normal", Reason.PROMOTED.value, f"{candidate} is stable")
        case End(outcome, reason, message):
            kind = "Normal" if outcome in ("Aborted", "Superseded") else "Warning"
            back = f"; {stable} goes on serving" if stable else ""
            return Event(kind, reason.value, f"{candidate}: {message}{back}")
        case GoBack(back):
            return Event("Warning", Reason.ROLLED_BACK.value, f"{stable}: {back.reason}; {back.to.title} takes over")
        case Release():
            return Event("Normal", Reason.STABLE.value, "quarantines are lifted")
    return None
