"""What is worth an Event: verdicts that are new or over, requests, a baseline that is whole."""

from __future__ import annotations

from collections.abc import Iterator

from perennial.api.conditions import ConditionType, find
from perennial.api.driftmonitor_status import DriftMonitorStatus
from perennial.api.reasons import DriftMonitorReason, Reason
from perennial.kube.plan import Event

from .checkpoint import Checkpoint
from .objections import Decisions
from .observed import Observed
from .words import describe, fault_reason

_FOUND: dict[str, tuple[str, Reason]] = {
    "TrainServeSkew": ("Warning", DriftMonitorReason.TRAIN_SERVE_SKEW),
    "MinorDrift": ("Normal", DriftMonitorReason.MINOR_DRIFT),
    "Drift": ("Warning", DriftMonitorReason.DRIFT),
    "HarmSuspected": ("Warning", DriftMonitorReason.HARM_SUSPECTED),
    "Harm": ("Warning", DriftMonitorReason.HARM),
}

_REQUESTED = {
    "Retrain": DriftMonitorReason.RETRAIN_REQUESTED,
    "Rollback": DriftMonitorReason.ROLLBACK_REQUESTED,
}
_PROPOSED = {"Retrain": DriftMonitorReason.RETRAIN_PROPOSED, "Rollback": DriftMonitorReason.ROLLBACK_PROPOSED}


def events(
    observed: Observed, checkpoint: Checkpoint, decisions: Decisions, told: DriftMonitorStatus
) -> Iterator[Event]:
    """What changed since the last status that persisted: an operator that died in between says it now."""
    before = observed.status
    known = {verdict.id: verdict for verdict in before.verdicts}
    if observed.unreadable:
        yield _event("Warning", DriftMonitorReason.CHECKPOINT_UNREADABLE, observed.unreadable)
    if _completed(before) < _completed(told):
        rows = told.baseline.rows if told.baseline else 0
        yield _event("Normal", DriftMonitorReason.BASELINE_COMPLETE, f"{rows} rows are the baseline")
    for verdict in checkpoint.triage.verdicts:
        if verdict.id not in known:
            severity, reason = _FOUND.get(verdict.state) or ("Warning", fault_reason(verdict))
            yield _event(severity, reason, f"{verdict.state}: {describe(verdict)}")
    for old in known.values():
        if all(verdict.id != old.id for verdict in checkpoint.triage.verdicts):
            yield _event("Normal", DriftMonitorReason.OVER, f"{old.state} {old.id} is over")
    yield from _joins(before, told)
    yield from _asked(checkpoint, before)
    yield from _announced(decisions, before)


def _asked(checkpoint: Checkpoint, before: DriftMonitorStatus) -> Iterator[Event]:
    asked = {request.id for request in before.requests}
    proposed = {proposal.id for proposal in before.proposals}
    for request in checkpoint.governor.requests:
        if request.id not in asked:
            yield _event("Normal", _REQUESTED[request.action], f"{request.words}: {request.reason}")
    for proposal in checkpoint.governor.proposals:
        if proposal.id not in proposed:
            message = f"{proposal.words}, which waits for perennial.dev/approve={proposal.id}: {proposal.reason}"
            yield _event("Warning", _PROPOSED[proposal.action], message)


def _joins(before: DriftMonitorStatus, told: DriftMonitorStatus) -> Iterator[Event]:
    """A join that fails again and again of the same says so once."""
    now, then = (find(status.conditions, ConditionType.LABELS_JOINED) for status in (told, before))
    if (
        now is not None
        and now.reason == DriftMonitorReason.JOIN_FAILED.value
        and (then is None or then.reason != now.reason)
    ):
        yield _event("Warning", DriftMonitorReason.JOIN_FAILED, now.message)


def _announced(decisions: Decisions, before: DriftMonitorStatus) -> Iterator[Event]:
    said = [verdict.action or "" for verdict in before.verdicts]
    made = {(each.kind, each.action): each for decided in decisions.values() for each in decided}
    for decision in made.values():
        if any((decision.action or "") in action for action in said):
            continue
        if decision.kind == "Stopped":
            yield _event("Warning", DriftMonitorReason.STOPPED, f"{decision.action}: {decision.next}")
        elif decision.kind == "DryRun":
            yield _event("Normal", DriftMonitorReason.DRY_RUN, decision.action or "")


def _completed(told: DriftMonitorStatus) -> bool:
    return told.baseline is not None and told.baseline.state == "Complete"


def _event(severity: str, reason: Reason, message: str) -> Event:
    return Event(severity, reason.value, message)
