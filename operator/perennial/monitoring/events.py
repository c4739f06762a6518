"""What is worth an Event: verdicts that are new or over, requests, a baseline that is whole."""

from __future__ import annotations

from collections.abc import Iterator

from perennial.api.conditions import ConditionType, find
from perennial.api.driftmonitor_status import DriftMonitorStatus, Verdict
from perennial.api.reasons import DriftMonitorReason, Reason
from perennial.kube.plan import Event

from .checkpoint import Checkpoint
from .objections import Decision, Decisions
from .observed import Observed
from .words import NAMED, at, count, describe, fault_reason

_FOUND: dict[str, tuple[str, Reason]] = {
    "TrainServeSkew": ("Warning", DriftMonitorReason.TRAIN_SERVE_SKEW),
    "MinorDrift": ("Normal", DriftMonitorReason.MINOR_DRIFT),
    "AnchorDrift": ("Warning", DriftMonitorReason.ANCHOR_DRIFT),
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
    if lost := _lost(observed.checkpoint, checkpoint):
        yield _event("Warning", DriftMonitorReason.COUNTS_LOST, lost)
    if _completed(before) < _completed(told):
        rows = told.baseline.rows if told.baseline else 0
        yield _event("Normal", DriftMonitorReason.BASELINE_COMPLETE, f"{rows} rows are the baseline")
    for verdict in checkpoint.triage.verdicts:
        if verdict.id not in known:
            severity, reason = _FOUND.get(verdict.state) or ("Warning", fault_reason(verdict))
            yield _event(severity, reason, f"{verdict.state}: {describe(verdict)}")
    for old in known.values():
        if all(verdict.id != old.id for verdict in checkpoint.triage.verdicts):
            yield _event("Normal", DriftMonitorReason.OVER, f"{_named(old)} is over: {_why_over(old, before, told)}")
    yield from _joins(before, told)
    yield from _asked(checkpoint, before)
    yield from _announced(decisions, before)


def _lost(before: Checkpoint, now: Checkpoint) -> str | None:
    """What pods took with them that ended unheard: also of the version before, whose coverage is shown no more."""
    gone = [pod for pod, mark in now.pods.items() if mark.gone and pod in before.pods and not before.pods[pod].gone]
    lost = sum(
        tally.lost - before.tallies[sha256].lost for sha256, tally in now.tallies.items() if sha256 in before.tallies
    )
    if not gone or round(lost) < 1:
        return None
    rows = f"about {count(round(lost), 'row')} of {count(len(gone), 'pod')} that ended"
    return f"{rows} could not be counted: nobody took what was left to hand over"


def _named(verdict: Verdict) -> str:
    features = [feature.name for feature in verdict.features]
    shown = [*features[:NAMED], f"{len(features) - NAMED} more"] if len(features) > NAMED else features
    of = f" of {', '.join(shown)}" if shown else ""
    return f"{verdict.state}{of} ({verdict.id})"


def _why_over(old: Verdict, before: DriftMonitorStatus, told: DriftMonitorStatus) -> str:
    if before.handled.release != told.handled.release:
        return f"perennial.dev/release {told.handled.release} was taken"
    if old.state == "AnchorDrift":
        return "the version that is judged now does not differ from the anchor, or what differs was told as Drift"
    if before.model and told.model and before.model.sha256 != told.model.sha256:
        return "another model is judged"
    if before.baseline and told.baseline and before.baseline.since != told.baseline.since:
        return "there is a new baseline"
    if _was_broken_data(old, before, told):
        return "broken data (DataFault) were the cause"
    return "it has looked normal for long enough"


def _was_broken_data(old: Verdict, before: DriftMonitorStatus, told: DriftMonitorStatus) -> bool:
    """Drift is taken back when a fault turns out to be it, harm when the fault that did it is over."""
    was, now = ({each.state: each for each in status.verdicts}.get("DataFault") for status in (before, told))
    if old.state in ("Harm", "HarmSuspected"):
        return was is not None and now is None
    names = {feature.name for feature in old.features}
    return old.state in ("Drift", "MinorDrift") and now is not None and any(each.name in names for each in now.features)


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
    made = {(each.kind, each.action): each for decided in decisions.values() for each in decided}
    for decision in made.values():
        if _was_told(decision, before):
            continue
        if decision.kind == "Stopped":
            yield _event("Warning", DriftMonitorReason.STOPPED, f"{decision.action}: {decision.next}")
        elif decision.kind == "Stale" and decision.until:
            message = "; ".join(filter(None, (decision.action, decision.next)))
            yield _event("Warning", DriftMonitorReason.NOTHING_NEW, f"{message} at {at(decision.until)}")
        elif decision.kind == "DryRun":
            yield _event("Normal", DriftMonitorReason.DRY_RUN, decision.action or "")


def _was_told(decision: Decision, before: DriftMonitorStatus) -> bool:
    if decision.kind == "Stale":
        # The run may have been asked for by somebody else: then nothing was done about the verdict yet.
        return any(decision.next in (verdict.next or "") for verdict in before.verdicts)
    return any((decision.action or "") in (verdict.action or "") for verdict in before.verdicts)


def _completed(told: DriftMonitorStatus) -> bool:
    return told.baseline is not None and told.baseline.state == "Complete"


def _event(severity: str, reason: Reason, message: str) -> Event:
    return Event(severity, reason.value, message)
