"""What the conditions say: whether a model is served, whether the user's spec is carried out, and how the rollout
stands.

A served model stays Ready while the loop rolls out another version by itself. Reconciling and Stalled are about the
spec: while a new one is being carried out Ready is Unknown, since what it asks for is not yet served though something
is.
"""

from __future__ import annotations

from datetime import datetime

from perennial.api.conditions import ConditionType, Finding, find, health
from perennial.api.reasons import CommonReason, Reason
from perennial.api.reasons import ModelDeploymentReason as MdReason
from perennial.kube.plan import Problem
from perennial.pods.statuses import holding

from .moves import Keep
from .observe import Observed
from .outcome import Outcome
from .revision import Revision
from .source import Awaited, source_of

_PROBLEMS: dict[str, Reason] = {
    "NameTaken": CommonReason.NAME_TAKEN,
    "Forbidden": CommonReason.FORBIDDEN,
    "QuotaExceeded": CommonReason.QUOTA_EXCEEDED,
    "Invalid": CommonReason.INVALID_CHILD,
    "Contended": CommonReason.CONTENDED,
}
_USERS_OWN = (CommonReason.NAME_TAKEN, CommonReason.FORBIDDEN, CommonReason.INVALID_CHILD)
_BARRED = (MdReason.QUARANTINED, MdReason.ABORTED, MdReason.INCONCLUSIVE)


def invalid_findings(observed: Observed) -> dict[ConditionType, Finding]:
    message = observed.invalid or "the spec cannot be read"
    stalled = Finding(True, CommonReason.INVALID_SPEC, message)
    found = health(Finding(False, CommonReason.INVALID_SPEC, message), stalled=stalled)
    found[ConditionType.ROLLING_OUT] = Finding(False, CommonReason.INVALID_SPEC, "nothing is changed")
    return found


def findings(observed: Observed, outcome: Outcome) -> dict[ConditionType, Finding]:
    served = _served(observed, outcome)
    found = _health(observed, outcome, served)
    found[ConditionType.ROLLING_OUT] = _rolling_out(observed, outcome)
    return found


def _health(observed: Observed, outcome: Outcome, served: Finding) -> dict[ConditionType, Finding]:
    if stalled := _stalled(observed, outcome):
        return health(Finding(False, stalled.reason, f"{stalled.message}; {served.message}"), stalled=stalled)
    if reconciling := _reconciling(observed, outcome, served):
        ready = Finding(None, reconciling.reason, served.message) if served.holds else served
        return health(ready, reconciling=reconciling)
    return health(served)


def _served(observed: Observed, outcome: Outcome) -> Finding:
    """Whether something answers requests, whatever else is going on."""
    after = outcome.after
    ready = sum(1 for pod in observed.pods if pod.ready_since and not pod.ending)
    if after.stable and not after.wanted:
        return Finding(True, MdReason.SCALED_TO_ZERO, "replicas is 0: nothing is served, as asked")
    if ready:
        title = _title(after.stable or after.candidate)
        return Finding(True, CommonReason.READY, f"{title} is served, {ready} of {after.wanted} pods are ready")
    if not after.stable and not after.candidate:
        return _not_started(observed, outcome)
    trouble = _trouble(observed, after.now)
    reason = MdReason.PODS_NOT_READY if trouble or after.stable else MdReason.STARTING
    message = f"no pod of {after.wanted} is ready"
    return Finding(False, reason, f"{message}: {trouble}" if trouble else message)


def _not_started(observed: Observed, outcome: Outcome) -> Finding:
    if isinstance(observed.target, Awaited):
        return Finding(False, observed.target.reason, observed.target.message)
    if isinstance(outcome.move, Keep):
        return Finding(False, outcome.move.reason, outcome.move.message)
    return Finding(False, MdReason.STARTING, "the first pods are made")


def _stalled(observed: Observed, outcome: Outcome) -> Finding | None:
    """What only the user can change. A version that the loop brought and that failed is not the user's spec."""
    for problem in outcome.problems:
        if _PROBLEMS.get(problem.reason) in _USERS_OWN:
            return Finding(True, _PROBLEMS[problem.reason], _problem(problem))
    if isinstance(observed.target, Awaited):
        awaited = observed.target
        return Finding(True, awaited.reason, awaited.message) if awaited.stalled else None
    move = outcome.move
    if outcome.after.candidate is None and isinstance(move, Keep) and move.reason in _BARRED and _is_users(observed):
        return Finding(True, move.reason, move.message)
    return None


def _is_users(observed: Observed) -> bool:
    """Whether the spec itself asks for the target: by a pin, or by a change of what its pods are made of."""
    if observed.spec is None or observed.target is None or isinstance(observed.target, Awaited):
        return False
    model, stable = observed.spec.model, observed.stable
    pinned = model.version is not None or model.uri is not None
    return pinned or (stable is not None and stable.digest != observed.target.digest)


def _reconciling(observed: Observed, outcome: Outcome, served: Finding) -> Finding | None:
    """While the first revision starts, and while a new generation is being carried out."""
    after = outcome.after
    if after.suspended and after.stable:
        return None
    if after.stable is None:
        reason = served.reason if not served.holds else CommonReason.PROGRESSING
        return Finding(True, reason, served.message)
    problem = next((p for p in outcome.problems if p.reason in _PROBLEMS), None)
    is_new = observed.status.observed_generation != observed.generation
    was_going_on = find(observed.status.conditions, ConditionType.RECONCILING) is not None
    if not (is_new or was_going_on):
        return None
    if isinstance(observed.target, Awaited) and _names_another(observed, after.stable):
        return Finding(True, observed.target.reason, observed.target.message)
    if after.candidate and _is_asked_by_spec(after.candidate, after.stable):
        message = f"{_title(after.candidate)} is taking over as the spec asks: {_state(outcome)[1]}"
        return Finding(True, CommonReason.PROGRESSING, message)
    ready = sum(1 for pod in observed.pods if pod.ready_since and not pod.ending)
    if ready < after.wanted:
        words = _problem(problem) if problem else _trouble(observed, after.now)
        message = f"{ready} of {after.wanted} pods are ready"
        return Finding(True, CommonReason.PROGRESSING, f"{message}: {words}" if words else message)
    return None


def _names_another(observed: Observed, stable: Revision) -> bool:
    """Whether the spec names its model otherwise than when the stable revision was rolled out for it."""
    return observed.spec is not None and source_of(observed.spec.model) != stable.record.source


def _is_asked_by_spec(candidate: Revision, stable: Revision) -> bool:
    return candidate.digest != stable.digest or candidate.record.source != stable.record.source


def _rolling_out(observed: Observed, outcome: Outcome) -> Finding:
    reason, message = _state(outcome)
    candidate = outcome.after.candidate
    if candidate:
        return Finding(True, reason, f"{_title(candidate)} is taking over: {message}")
    if isinstance(observed.target, Awaited):
        return Finding(False, observed.target.reason, observed.target.message)
    return Finding(False, reason, message)


def _state(outcome: Outcome) -> tuple[Reason, str]:
    after = outcome.after
    if waits := outcome.waits:
        return waits.reason, waits.message
    if after.candidate:
        step = f"step {after.progress.step + 1} of {len(after.steps)}" if after.step else "pods are replaced"
        return MdReason.ROLLING_OUT, step
    return MdReason.STABLE, "no rollout is going on"


def _title(revision: Revision | None) -> str:
    return revision.model.title if revision else "nothing"


def _trouble(observed: Observed, now: datetime) -> str | None:
    """A pod's own words, or those of the controller that may not make one."""
    for pod in observed.pods:
        if (trouble := pod.trouble_at(now)) and not pod.ending:
            return f"pod {pod.name}: {trouble}"
    for deployment in observed.deployments.values():
        if refused := holding(deployment, "ReplicaFailure"):
            return str(refused.get("message"))
    return None


def _problem(problem: Problem) -> str:
    return f"{problem.kind} {problem.name}: {problem.message}"
