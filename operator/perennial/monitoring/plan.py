"""The DriftMonitor's plan: from what was observed to the checkpoint, the status and the Events of one look.

The checkpoint is a child and so is written before the status. Pods are told to forget an epoch only in the next look,
by the checkpoint that the API server then has.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import msgspec

from perennial.api.conditions import ConditionType, Finding, is_true
from perennial.api.driftmonitor import DriftMonitorSpec
from perennial.api.modeldeployment_status import ModelDeploymentStatus
from perennial.api.reasons import CommonReason, DriftMonitorReason, Reason
from perennial.kube.ownership import owner_reference
from perennial.kube.plan import Child, Manifest, Mode, Plan, Problem
from perennial.kube.resources import CONFIGMAPS

from . import judge
from .checkpoint import MOST_BYTES, Checkpoint, Judged, encode, size_of
from .conditions import learning_reason
from .counts import miss
from .events import events
from .fruitless import fruitless, stale_data
from .governor import decide, follow, mark, withdraw
from .joins import Joining, joining
from .names import CHECKPOINT
from .objections import Decision, Decisions, Limits, Situation
from .observed import Observed
from .requests import Action
from .returning import way_back
from .status import status
from .verdict import Verdict
from .words import describe

SHORTEST_SECONDS = 0.2
"""Nothing is asked again sooner."""

RETRY_SECONDS = 30.0
"""After this long a write that was refused is tried again."""

_REFUSED: dict[str, Reason] = {
    "NameTaken": CommonReason.NAME_TAKEN,
    "Forbidden": CommonReason.FORBIDDEN,
    "QuotaExceeded": CommonReason.QUOTA_EXCEEDED,
    "Contended": CommonReason.CONTENDED,
}

_ACTING = ("Harm", "HarmSuspected", "Drift")
ACTIONS: tuple[Action, ...] = ("Retrain", "Rollback")


def plan(observed: Observed, problems: tuple[Problem, ...], now: datetime) -> Plan:
    """Everything that one look wants."""
    if observed.manifest["metadata"].get("deletionTimestamp"):
        return Plan()
    spec = observed.spec
    if spec is None:
        return _unable(observed, now, CommonReason.INVALID_SPEC, observed.invalid or "", stalled=True)
    if unwritten := [problem for problem in problems if problem.kind == CONFIGMAPS.kind]:
        return _refused(observed, unwritten[0], now)
    if spec.suspend:
        return _unable(observed, now, CommonReason.SUSPENDED, "spec.suspend is true: no counts are taken")
    if observed.deployment is None:
        message = f"there is no ModelDeployment {spec.deployment} in the namespace"
        return _unable(observed, now, DriftMonitorReason.DEPLOYMENT_NOT_FOUND, message)
    checkpoint, decisions = consider(observed, spec, now)
    if checkpoint.model is None:
        message = f"ModelDeployment {spec.deployment} has no stable revision yet"
        return _unable(observed, now, DriftMonitorReason.NOTHING_SERVED, message)
    labels = joining(observed, checkpoint.joins, now)
    if problems:
        # A Job or its pod: what is watched goes on without.
        labels = replace(labels, waiting=f"{problems[0].reason}: {problems[0].message}", recheck=RETRY_SECONDS)
    return _whole(observed, msgspec.structs.replace(checkpoint, joins=labels.joins), decisions, labels, now)


def consider(observed: Observed, spec: DriftMonitorSpec, now: datetime) -> tuple[Checkpoint, Decisions]:
    """What one look finds and what is decided on it: the whole policy, which a backtest asks too."""
    return _governed(observed, _counted(observed, spec, now), spec, now)


def _counted(observed: Observed, spec: DriftMonitorSpec, now: datetime) -> Checkpoint:
    checkpoint = observed.checkpoint
    look = observed.look
    stable = observed.deployment.status.stable if observed.deployment else None
    if (since := now.timestamp() if observed.resumes else observed.created) > checkpoint.begun:
        checkpoint = judge.start(checkpoint, since)
        checkpoint = msgspec.structs.replace(checkpoint, suspension=observed.status.observed_generation)
    token = observed.release
    if token and token != checkpoint.released:
        checkpoint = judge.release(checkpoint, token)
    if stable and (checkpoint.model is None or checkpoint.model.sha256 != stable.sha256):
        checkpoint = judge.begin(checkpoint, Judged(stable.sha256, stable.version), None)
    if look.reference and checkpoint.model and look.reference.model == checkpoint.model.sha256:
        checkpoint = judge.refer(checkpoint, look.reference)
    checkpoint = judge.advance(checkpoint, spec, look.answers, now.timestamp())
    return checkpoint if look.present is None else miss(checkpoint, look.present, now.timestamp(), look.quiet)


def _governed(
    observed: Observed, checkpoint: Checkpoint, spec: DriftMonitorSpec, now: datetime
) -> tuple[Checkpoint, Decisions]:
    situation = _situation(observed, checkpoint, now)
    governor = follow(checkpoint.governor, situation, helped=judge.helped(checkpoint, spec))
    rules = spec.governor
    limits = Limits(rules.cooldown.seconds, rules.stop_after, spec.dry_run, approval=rules.approval == "Required")
    decisions: dict[str, tuple[Decision, ...]] = {}
    for action in ACTIONS:
        causes = _causes(checkpoint, spec, action)
        if not causes:
            governor = withdraw(governor, action)
            continue
        times = [cause.found for cause in causes]
        hasty, stale = checkpoint.opened < causes[0].found, stale_data(observed, max(times))
        situation = replace(situation, hasty=hasty, found=min(times), stale=stale)
        governor, decision = decide(governor, action, _cause(causes[0], action, situation), situation, limits)
        decisions |= {verdict.id: (*decisions.get(verdict.id, ()), decision) for verdict in causes}
    governor = mark(governor, decisions, limits, situation.now)
    return msgspec.structs.replace(checkpoint, governor=governor), decisions


def _causes(checkpoint: Checkpoint, spec: DriftMonitorSpec, action: Action) -> list[Verdict]:
    """The verdicts that ask for an action, the worst first."""
    states = {asked.state for asked in spec.actions if asked.action == action}
    return [
        verdict
        for state in _ACTING
        if state in states
        for verdict in checkpoint.triage.verdicts
        if verdict.state == state
    ]


def _cause(verdict: Verdict, action: Action, situation: Situation) -> str:
    cause = f"{verdict.state}: {describe(verdict)}"
    return f"{cause}; {situation.way_back.words}" if action == "Rollback" else cause


def _situation(observed: Observed, checkpoint: Checkpoint, now: datetime) -> Situation:
    deployment, training = observed.deployment, observed.training
    return Situation(
        model=checkpoint.model.sha256 if checkpoint.model else "",
        now=now.timestamp(),
        training_job=deployment.training_job if deployment else None,
        pinned=deployment.pinned if deployment else None,
        accepted=training.accepted.version if training and training.accepted else 0,
        taken=_taken(observed),
        busy=_busy(observed, checkpoint),
        fruitless=fruitless(observed, checkpoint),
        way_back=way_back(observed, checkpoint),
        rival=observed.rival,
        data_fault=checkpoint.triage.of("DataFault") is not None,
        approved=observed.approve,
        brake=observed.brake,
    )


def _taken(observed: Observed) -> frozenset[str]:
    """The requests that were taken last, by the TrainingJob and by the deployment."""
    uid, deployment, training = observed.identity.uid, observed.deployment, observed.training
    noted = (
        training.handled.monitors.get(uid) if training else None,
        deployment.status.handled.monitors.get(uid) if deployment else None,
    )
    return frozenset(request for request in noted if request)


def _busy(observed: Observed, checkpoint: Checkpoint) -> str | None:
    """What is already going on that may be the cure: no second one is asked for meanwhile."""
    training = observed.training
    deployment = observed.deployment
    if training and deployment:
        name = deployment.training_job
        if is_true(training.conditions, ConditionType.TRAINING):
            return f"TrainingJob {name} is running"
        if training.pending:
            return f"TrainingJob {name} waits to run"
    if deployment and deployment.status.candidate:
        return f"version {deployment.status.candidate.version} is being rolled out"
    accepted = training.accepted if training else None
    if not accepted or not checkpoint.model or accepted.sha256 == checkpoint.model.sha256:
        return None
    if deployment and _is_out(accepted.sha256, deployment.status):
        return None
    return f"version {accepted.version} was accepted and waits for its rollout"


def _is_out(sha256: str, deployment: ModelDeploymentStatus) -> bool:
    """Whether a version was rolled back, or taken back by a person: it will cure nothing by itself."""
    if any(entry.sha256 == sha256 for entry in deployment.quarantined):
        return True
    newest = next((entry for entry in deployment.history if entry.sha256 == sha256), None)
    return newest is not None and newest.outcome == "Aborted"


def _blocked(observed: Observed, checkpoint: Checkpoint) -> Finding | None:
    look = observed.look
    if checkpoint.reference or not look.serving:
        return None
    if look.no_reference:
        return Finding(False, DriftMonitorReason.NO_REFERENCE, look.no_reference)
    errors = "; ".join(f"{pod}: {error}" for pod, error in sorted(look.unreachable.items())[:3])
    if not errors:
        return Finding(checkpoint.succeeds, learning_reason(checkpoint), "the reference is being fetched")
    return Finding(False, DriftMonitorReason.COUNTS_UNREACHABLE, f"no pod hands over the reference yet: {errors}")


def _unable(observed: Observed, now: datetime, reason: Reason, message: str, *, stalled: bool = False) -> Plan:
    finding = Finding(stalled, reason, message)
    told = status(
        observed,
        observed.checkpoint,
        {},
        now,
        stalled=finding if stalled else None,
        blocked=None if stalled else finding,
    )
    return Plan(status=told.to_manifest(), requeue_after=observed.look.next)


def _refused(observed: Observed, problem: Problem, now: datetime) -> Plan:
    """The checkpoint was not written: the pods keep their epochs, and nothing is said that is not on record."""
    reason = _REFUSED.get(problem.reason, CommonReason.INVALID_CHILD)
    message = f"{problem.kind} {problem.name}: {problem.message}"
    told = _unable(observed, now, reason, message, stalled=problem.reason == "NameTaken")
    return Plan(status=told.status, requeue_after=RETRY_SECONDS)


def _whole(
    observed: Observed,
    checkpoint: Checkpoint,
    decisions: Decisions,
    labels: Joining,
    now: datetime,
) -> Plan:
    configmap = _configmap(observed, checkpoint)
    if (size := size_of(configmap)) > MOST_BYTES:
        return _too_large(observed, checkpoint, size, now)
    told = status(observed, checkpoint, decisions, now, labels=labels, blocked=_blocked(observed, checkpoint))
    return Plan(
        children=(Child(CONFIGMAPS, configmap, Mode.RECORD), *labels.children),
        status=told.to_manifest(),
        events=tuple(events(observed, checkpoint, decisions, told)),
        requeue_after=_requeue(observed, decisions, labels, now),
    )


def _too_large(observed: Observed, checkpoint: Checkpoint, size: int, now: datetime) -> Plan:
    """Not written either: it would be refused, in words that say nothing of features."""
    columns = len(checkpoint.reference.columns) if checkpoint.reference else 0
    message = (
        f"what is remembered of {columns} columns takes {size // 1024} KiB, a ConfigMap holds {MOST_BYTES // 1024}: "
        "train the model with fewer features (spec.data.features of the TrainingJob)"
    )
    return _unable(observed, now, DriftMonitorReason.TOO_MANY_COLUMNS, message)


def _configmap(observed: Observed, checkpoint: Checkpoint) -> Manifest:
    stored = observed.stored
    unchanged = stored is not None and checkpoint == observed.checkpoint and observed.unreadable is None
    identity = observed.identity
    # What another operator has written since, one that led before or leads by now, pods have forgotten.
    version = {"resourceVersion": stored["metadata"]["resourceVersion"]} if stored else {}
    return {
        "apiVersion": CONFIGMAPS.api_version,
        "kind": CONFIGMAPS.kind,
        "metadata": {
            "name": identity.checkpoint,
            "namespace": identity.namespace,
            "labels": identity.labels(CHECKPOINT),
            "ownerReferences": [owner_reference(observed.manifest)],
            **version,
        },
        "binaryData": stored["binaryData"] if stored and unchanged else encode(checkpoint),
    }


def _requeue(observed: Observed, decisions: Decisions, labels: Joining, now: datetime) -> float | None:
    waits = [each.until - now.timestamp() for made in decisions.values() for each in made if each.until]
    waits += [wait for wait in (observed.look.next, labels.recheck) if wait is not None]
    return max(min(waits), SHORTEST_SECONDS) if waits else None
