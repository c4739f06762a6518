"""The status: what is served, what is taking over, and what was found about it. A view of the records, made anew each
time."""

from __future__ import annotations

from datetime import datetime

from perennial.api.conditions import settle
from perennial.api.modeldeployment_status import (
    AnalysisResult,
    AutoscalingStatus,
    HandledVerbs,
    HistoryEntry,
    ModelDeploymentStatus,
    PreviousVersion,
    Quarantined,
    RevisionStatus,
    RolloutStatus,
    Weight,
)
from perennial.api.reasons import ModelDeploymentReason as Reason
from perennial.api.trainingjob_status import SecretName
from perennial.kube.plan import Manifest

from .health import findings, invalid_findings
from .moves import GoBack
from .names import VERBS
from .observe import Observed
from .outcome import Outcome
from .revision import Revision
from .rollback import is_compared, previous
from .situation import Situation

HISTORY_SHOWN = 10
MEASURED_HYSTERESIS = 0.1
"""Of the target: a load that changes by less is not worth a write of the status."""


def invalid_status(observed: Observed, now: datetime) -> Manifest:
    """The last status, with what is wrong about the spec."""
    found = invalid_findings(observed)
    conditions = settle(observed.status.conditions, found, generation=observed.generation, now=now)
    changed = {"observed_generation": observed.generation, "conditions": conditions}
    return observed.status.model_copy(update=changed).to_manifest()


def status(observed: Observed, outcome: Outcome, now: datetime) -> Manifest:
    after = outcome.after
    found = findings(observed, outcome)
    living = [pod for pod in observed.pods if not pod.ending]
    model = observed.spec.model if observed.spec else None
    made = ModelDeploymentStatus(
        observed_generation=observed.generation,
        conditions=settle(observed.status.conditions, found, generation=observed.generation, now=now),
        url=observed.identity.url if after.revisions else None,
        training_job=model.training_job if model else None,
        stable=_revision(observed, after, after.stable) if after.stable else None,
        candidate=_revision(observed, after, after.candidate) if after.candidate else None,
        rollout=_rollout(outcome) if after.candidate else None,
        previous=_previous(after),
        quarantined=_quarantined(after),
        history=_history(after),
        replicas=len(living),
        ready_replicas=sum(1 for pod in living if pod.ready_since),
        selector=observed.identity.selector_text,
        autoscaling=_autoscaling(observed, outcome, now),
        handled=_handled(observed, outcome),
    )
    return made.to_manifest()


def _revision(observed: Observed, after: Situation, revision: Revision) -> RevisionStatus:
    pods = [pod for pod in observed.pods if pod.revision == revision.name and not pod.ending]
    model = revision.model
    return RevisionStatus(
        revision=revision.name,
        version=model.version,
        sha256=model.sha256,
        uri=model.uri,
        seal=model.seal,
        secret_ref=SecretName(name=model.secret) if model.secret else None,
        replicas=len(pods),
        ready=sum(1 for pod in pods if pod.ready_since),
        weight=_weight(observed, after, revision),
    )


def _weight(observed: Observed, after: Situation, revision: Revision) -> Weight | None:
    """The share asked for and the share of the requests that were counted, in whole percent."""
    if after.candidate is None or after.stable is None:
        return None
    asked = after.step.weight if after.step else 100
    counted = observed.readings.requests
    everything = sum(counted.get(one.name, 0) for one in (after.stable, after.candidate))
    measured = round(100 * counted.get(revision.name, 0) / everything) if everything else None
    return Weight(asked=asked if revision is after.candidate else 100 - asked, measured=measured)


def _rollout(outcome: Outcome) -> RolloutStatus:
    after, waits = outcome.after, outcome.waits
    progress = after.progress
    return RolloutStatus(
        step=min(progress.step, len(after.steps)),
        steps=len(after.steps),
        since=progress.since,
        state=(waits.reason if waits else Reason.ROLLING_OUT).value,
        analysis=tuple(
            AnalysisResult(name=f.name, value=_rounded(f.value), bound=f.bound, samples=f.n, verdict=f.verdict)
            for f in after.findings
        ),
        at={"requests": progress.requests} if progress.reached else {},
        message=waits.message if waits else None,
    )


def _previous(after: Situation) -> PreviousVersion | None:
    before = previous(after.stable, after.revisions)
    if after.stable is None or before is None:
        return None
    compared = is_compared(after.stable, before)
    return PreviousVersion(version=before.model.version, sha256=before.model.sha256, compared=compared)


def _quarantined(after: Situation) -> tuple[Quarantined, ...]:
    return tuple(
        Quarantined(
            revision=revision.name,
            version=revision.model.version,
            sha256=revision.model.sha256,
            reason=quarantine.reason,
            since=quarantine.since,
        )
        for revision in sorted(after.revisions.values(), key=lambda one: one.number)
        if (quarantine := revision.record.quarantine)
    )


def _history(after: Situation) -> tuple[HistoryEntry, ...]:
    entries = [
        HistoryEntry(
            revision=revision.name,
            version=revision.model.version,
            sha256=revision.model.sha256,
            outcome=ended.outcome,
            at=ended.at,
        )
        for revision in sorted(after.revisions.values(), key=lambda one: one.number, reverse=True)
        if (ended := revision.record.ended)
    ]
    return tuple(sorted(entries, key=lambda entry: entry.at, reverse=True)[:HISTORY_SHOWN])


def _autoscaling(observed: Observed, outcome: Outcome, now: datetime) -> AutoscalingStatus | None:
    scaling, spec = outcome.wanted.scaling, observed.spec
    if scaling is None or spec is None or spec.autoscaling is None:
        return None
    before = observed.status.autoscaling
    target = spec.autoscaling.metrics[0].target
    measured = _rounded(scaling.measured)
    moved = before is None or before.desired != scaling.desired
    message = scaling.message
    if before and not moved and _is_close(before.measured, measured, target):
        measured, message = before.measured, before.message or message
    return AutoscalingStatus(
        desired=scaling.desired,
        measured=measured,
        target=target,
        last_scaled_at=now if before and moved else (before.last_scaled_at if before else None),
        message=message,
    )


def _is_close(before: float | None, measured: float | None, target: int) -> bool:
    if before is None or measured is None:
        return before is measured
    return abs(before - measured) <= MEASURED_HYSTERESIS * target


def _handled(observed: Observed, outcome: Outcome) -> HandledVerbs:
    """What was taken. Where there is no status yet, or none any more, the tokens that are there count as taken."""
    before, verb = observed.status.handled, outcome.verb
    tokens = {name: getattr(before, name) for name in VERBS}
    if observed.status.observed_generation < 0:
        tokens = {name: observed.annotations.get(annotation) for name, annotation in VERBS.items()}
    elif verb is not None:
        tokens[verb] = observed.annotations[VERBS[verb]]
    return HandledVerbs(**tokens, monitors=_handled_now(observed, outcome))


def _handled_now(observed: Observed, outcome: Outcome) -> dict[str, str]:
    """Of monitors that are there and ask for something still."""
    taken = set(observed.handled) | {(late.monitor, late.request) for late in outcome.before.asked.late}
    if isinstance(outcome.move, GoBack):
        taken.add((outcome.move.back.monitor, outcome.move.back.request))
    return {monitor.uid: request.id for monitor, request in observed.requests if (monitor.uid, request.id) in taken}


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")
