"""What the conditions say: whether the TrainingJob does its job, and what its loop does.

A model that is accepted and being retrained, or whose retrain failed, leaves Ready as it is: what the loop does by
itself has conditions of its own. Reconciling and Stalled are about the definition that the user wrote.
"""

from __future__ import annotations

from dataclasses import dataclass

from perennial.api.conditions import ConditionType, Finding, health
from perennial.api.reasons import CommonReason, Reason, RunFailureReason, TrainingJobReason
from perennial.pods.jobs import BAD_INPUT

from .digest import is_comparable
from .history import History
from .holds import Hold
from .intake import Going
from .observe import Observed
from .origin import Origin, Trigger
from .record import Failure, Record

_USERS_OWN = {CommonReason.INVALID_SPEC, CommonReason.NAME_TAKEN, TrainingJobReason.STORE_NOT_CONFIGURED}

_HOW_TO_GO_ON = "another run starts when the spec changes; annotate perennial.dev/run where something else was mended"

_DOCUMENTED: dict[str, Reason] = {
    member.value: member for kind in (TrainingJobReason, CommonReason, RunFailureReason) for member in kind
}


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a TrainingJob stands: what is going on or starting, what waits and why."""

    observed: Observed
    history: History
    going: Going | None
    starting: Origin | None
    waiting: tuple[Trigger, ...]
    hold: Hold | None

    @property
    def newest(self) -> Record | None:
        return self.history.records[-1] if self.history.records else None


def findings(standing: Standing) -> dict[ConditionType, Finding]:
    found = _health(standing)
    found[ConditionType.TRAINING] = _training(standing)
    if standing.newest:
        found[ConditionType.LAST_RUN_ACCEPTED] = last_run(standing.newest)
    return found


def _health(standing: Standing) -> dict[ConditionType, Finding]:
    if stalled := _stalled(standing):
        return health(Finding(False, stalled.reason, stalled.message), stalled=stalled)
    if reconciling := _reconciling(standing):
        # What is accepted goes on being served, though it is not what the new definition asks for.
        holds = None if standing.history.accepted else False
        return health(Finding(holds, reconciling.reason, reconciling.message), reconciling=reconciling)
    return health(_ready(standing))


def _ready(standing: Standing) -> Finding:
    accepted = standing.history.accepted
    if accepted:
        return Finding(True, CommonReason.READY, f"version {accepted.version} is accepted")
    if standing.hold:
        return Finding(False, standing.hold.reason, standing.hold.message)
    return Finding(False, TrainingJobReason.NO_ACCEPTED_VERSION, "no run has been accepted yet")


def _stalled(standing: Standing) -> Finding | None:
    if standing.observed.invalid:
        return Finding(True, CommonReason.INVALID_SPEC, standing.observed.invalid)
    if not _is_new(standing):
        return None
    hold = standing.hold
    if hold and hold.reason in _USERS_OWN:
        return Finding(True, hold.reason, hold.message)
    newest = standing.newest
    if standing.going or standing.starting or standing.waiting or newest is None:
        return None
    message = f"{last_run(newest).message} ({_HOW_TO_GO_ON})"
    if newest.state == "Failed":
        return Finding(True, TrainingJobReason.FIRST_RUN_FAILED, message)
    if newest.state == "Rejected":
        return Finding(True, TrainingJobReason.FIRST_RUN_REJECTED, message)
    return None


def _reconciling(standing: Standing) -> Finding | None:
    if not _is_new(standing):
        return None
    reason: Reason = CommonReason.PROGRESSING if standing.history.accepted else TrainingJobReason.FIRST_RUN
    if standing.going or standing.starting:
        return Finding(True, reason, _training(standing).message)
    hold = standing.hold
    if hold is None or hold.reason == CommonReason.SUSPENDED:
        return None
    return Finding(True, reason, hold.message)


def _is_new(standing: Standing) -> bool:
    """Whether the user's definition has not come to an accepted version, or to any end, yet."""
    if standing.history.accepted is None:
        return True
    if any(trigger.type == "DefinitionChanged" for trigger in standing.waiting):
        return True
    if standing.going is None and standing.starting is None:
        return False
    done = standing.history.carried_out
    begun = standing.starting.definition if standing.starting else standing.history.started
    return is_comparable(done) and is_comparable(begun) and begun != done


def _training(standing: Standing) -> Finding:
    if standing.starting:
        return Finding(True, TrainingJobReason.RUN_IN_PROGRESS, f"run v{standing.starting.version} is Pending")
    going = standing.going
    if going:
        words = f": {going.message}" if going.message else ""
        return Finding(True, going.reason, f"run v{going.run.version} is {going.state}{words}")
    if standing.hold:
        return Finding(False, standing.hold.reason, standing.hold.message)
    if standing.observed.spec and standing.observed.spec.suspend:
        return Finding(False, CommonReason.SUSPENDED, "spec.suspend is true: no run is started")
    return Finding(False, TrainingJobReason.IDLE, "no run is going on and none waits")


def last_run(record: Record) -> Finding:
    """How this run ended, for a condition or an Event."""
    run = f"run v{record.version}"
    if record.state == "Succeeded":
        return Finding(True, TrainingJobReason.ACCEPTED, f"{run} passed every gate")
    if record.state == "Unchanged":
        return Finding(True, TrainingJobReason.UNCHANGED, f"{run} came to the model that is accepted already")
    if record.state == "Rejected":
        return Finding(False, TrainingJobReason.REJECTED, f"{run} was rejected: {_missed_gates(record)}")
    failure = record.failure
    if failure is None:
        return Finding(False, TrainingJobReason.FAILED, f"{run} failed")
    return Finding(False, _known(failure), f"{run} failed: {failure.reason}: {failure.message}")


def _missed_gates(record: Record) -> str:
    return ", ".join(gate.told for gate in record.result.gates if not gate.passed)


def _known(failure: Failure) -> Reason:
    """The documented reason of that name; of a newer trainer's words, what its exit code tells."""
    if failure.reason in _DOCUMENTED:
        return _DOCUMENTED[failure.reason]
    return TrainingJobReason.BAD_DATA if failure.exit_code == BAD_INPUT else TrainingJobReason.FAILED
