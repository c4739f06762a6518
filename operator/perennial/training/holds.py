"""What keeps a run that was asked for from starting: an ordered list of small decisions, each with its reason.

The first that holds is the one that the status names; the run waits and nothing that asked for it is forgotten.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from perennial.api.conditions import ConditionType, find, is_true
from perennial.api.reasons import CommonReason, Reason, TrainingJobReason
from perennial.api.timestamp import to_text
from perennial.kube.plan import Problem
from perennial.kube.resources import PERSISTENTVOLUMECLAIMS
from perennial.wire.estimators import refusal, transformer_refusal

from .history import History
from .observe import Observed
from .origin import Trigger
from .store import not_configured

_DAY = timedelta(days=1)
_RETRY = 30.0
"""Seconds until a refused write is tried again: a quota may be raised, a name become free."""

_REASONS: dict[str, Reason] = {
    "NameTaken": CommonReason.NAME_TAKEN,
    "Forbidden": CommonReason.FORBIDDEN,
    "QuotaExceeded": CommonReason.QUOTA_EXCEEDED,
    "Invalid": CommonReason.INVALID_SPEC,
    "Contended": CommonReason.CONTENDED,
}


@dataclass(frozen=True, slots=True)
class Situation:
    """What a hold is decided on. `going` is the version of a run that has not ended."""

    observed: Observed
    history: History
    going: int | None
    problems: tuple[Problem, ...]
    now: datetime

    @property
    def next_version(self) -> int:
        return self.history.latest + 1


@dataclass(frozen=True, slots=True)
class Hold:
    """Why a run waits. `recheck` is in seconds, None where an event will tell."""

    reason: Reason
    message: str
    recheck: float | None = None


def hold(trigger: Trigger, situation: Situation) -> Hold | None:
    """The first reason for which a run of this trigger has to wait."""
    for decide in _DECISIONS:
        if found := decide(trigger, situation):
            return found
    return None


def reason_of(problem: Problem) -> Reason:
    return _REASONS.get(problem.reason, CommonReason.INVALID_CHILD)


def _invalid_spec(trigger: Trigger, situation: Situation) -> Hold | None:
    invalid = situation.observed.invalid
    return Hold(CommonReason.INVALID_SPEC, invalid) if invalid else None


def _not_allowed(trigger: Trigger, situation: Situation) -> Hold | None:
    observed = situation.observed
    if observed.spec is None or observed.spec.sklearn is None:
        return None
    sklearn, further = observed.spec.sklearn, observed.settings.estimators
    named = [step.transformer for step in sklearn.steps]
    why = refusal(sklearn.estimator, further) or transformer_refusal(named, further)
    return Hold(CommonReason.INVALID_SPEC, why) if why else None


def _suspended(trigger: Trigger, situation: Situation) -> Hold | None:
    spec = situation.observed.spec
    if spec is None or not spec.suspend:
        return None
    return Hold(CommonReason.SUSPENDED, "spec.suspend is true: no run is started")


def _run_going_on(trigger: Trigger, situation: Situation) -> Hold | None:
    if situation.going is None:
        return None
    return Hold(TrainingJobReason.RUN_WAITING, f"waits for run v{situation.going} to end")


def _no_store(trigger: Trigger, situation: Situation) -> Hold | None:
    observed = situation.observed
    if observed.spec is None:
        return None
    missing = not_configured(observed.spec, observed.settings, observed.schedulable_nodes)
    return Hold(TrainingJobReason.STORE_NOT_CONFIGURED, missing, _RETRY) if missing else None


def _data_fault(trigger: Trigger, situation: Situation) -> Hold | None:
    """A run must not learn from broken data by itself. A person who asks for one may know better."""
    if trigger.type == "Requested":
        return None
    for monitor in situation.observed.monitors:
        if is_true(monitor.status.conditions, ConditionType.DATA_FAULT):
            condition = find(monitor.status.conditions, ConditionType.DATA_FAULT)
            words = condition.message if condition else ""
            return Hold(
                TrainingJobReason.RUN_WAITING,
                f"DriftMonitor {monitor.name} says DataFault: {words}. A run waits until it clears; annotate "
                "perennial.dev/run to train all the same",
            )
    return None


def _too_many_runs(trigger: Trigger, situation: Situation) -> Hold | None:
    spec = situation.observed.spec
    if trigger.type == "Requested" or spec is None:
        return None
    since = situation.now - _DAY
    starts = sorted(
        started
        for record in situation.history.records
        if record.trigger.type != "Requested" and record.started_at
        if (started := datetime.fromisoformat(record.started_at)) > since
    )
    if len(starts) < spec.max_runs_per_day:
        return None
    frees = starts[-spec.max_runs_per_day] + _DAY
    return Hold(
        TrainingJobReason.RUN_WAITING,
        f"spec.maxRunsPerDay ({spec.max_runs_per_day}) is reached: the next run may start at {to_text(frees)}",
        (frees - situation.now).total_seconds(),
    )


def _refused(trigger: Trigger, situation: Situation) -> Hold | None:
    job = situation.observed.identity.run_job(situation.next_version)
    for problem in situation.problems:
        if problem.name == job or problem.kind == PERSISTENTVOLUMECLAIMS.kind:
            return Hold(reason_of(problem), f"{problem.kind} {problem.name}: {problem.message}", _RETRY)
    return None


_DECISIONS: tuple[Callable[[Trigger, Situation], Hold | None], ...] = (
    _invalid_spec,
    _not_allowed,
    _suspended,
    _run_going_on,
    _no_store,
    _data_fault,
    _too_many_runs,
    _refused,
)
