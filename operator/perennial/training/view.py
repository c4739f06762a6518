"""Runs as the status shows them: small, newest first, from the records and from the Job that is going on.

An entry is kept to about half a kilobyte: etcd, every watch and every `kubectl get -o yaml` carry all of them.
"""

from __future__ import annotations

from datetime import datetime
from typing import cast, get_args

from perennial.api.reasons import TrainingJobReason
from perennial.api.trainingjob_status import (
    Cost,
    GateResult,
    Run,
    RunFailure,
    RunModel,
    RunProgress,
    RunTracking,
    SearchResult,
)
from perennial.api.trainingjob_status import Trigger as TriggerName
from perennial.pods.statuses import head, tail
from perennial.wire.progress import Progress
from perennial.wire.result import Gate, Result, Searched, Tracked

from .intake import Going
from .origin import Origin, Trigger
from .record import Failure, Record

MESSAGE_LIMIT = 200
SEARCH_LIMIT = 120
WAIT_LIMIT = 600
"""Characters of what a run waits for: there is only one such run, and Pod Security has a lot to say."""
ROOM = 512
"""Bytes of an entry. What of gates and metrics does not fit is in the record alone; one gate is always there."""
NEWEST_ROOM = 1024
"""Bytes of the newest entry: there is one of it, and it is the one that people look at."""
NOTE_LIMIT = 100
METRICS_LIMIT = 4
PROBLEM_LIMIT = 150
"""Characters of why a tracker was not told, in the newest entry; in older ones the record alone has it."""
_BARE, _GATE, _INTERVAL, _METRIC, _SEARCH, _TRACKING, _IMAGE = 370, 64, 32, 13, 72, 40, 18
"""About the bytes that each takes as JSON, beside names and URI."""
_DIGITS = 6
_INTERVAL_DIGITS = 4


def finished_run(record: Record, room: int = ROOM) -> Run:
    result, failure = record.result, record.failure
    model = result.model
    tracking = _tracking(result.tracked, room) if result.tracked else None
    image = record.image.rpartition("@")[2] if record.image and room >= NEWEST_ROOM else None
    taken = _BARE + (len(model.uri) if model else 0) + (_IMAGE + len(image) if image else 0)
    taken += _size_of_search(result.search) + _size_of_tracking(tracking)
    gates, metrics = _judgement(result, room - taken)
    return Run(
        version=record.version,
        state=record.state,
        trigger=trigger_name(record.trigger),
        triggered_by=record.trigger.by,
        started_at=_moment(record.started_at),
        finished_at=_moment(record.finished_at),
        model=RunModel(uri=model.uri, sha256=model.sha256, size=model.size, engine=model.engine) if model else None,
        metrics=metrics,
        gates=gates,
        search=_search(result.search) if result.search else None,
        tracking=tracking,
        image_digest=image,
        trained_through=result.trained_through,
        failure=_failure(failure) if failure else None,
        cost=_cost(record),
    )


def starting_run(origin: Origin, now: datetime) -> Run:
    return Run(
        version=origin.version,
        state="Pending",
        trigger=trigger_name(origin.trigger),
        triggered_by=origin.trigger.by,
        started_at=now,
    )


def going_run(going: Going, origin: Origin | None) -> Run:
    """A run that has not ended; what was told of its beginning stays."""
    run = going.run
    told = run.told
    trigger = origin.trigger if origin else Trigger(told.trigger if told else "FirstRun")
    made = _moment(run.job["metadata"]["creationTimestamp"]) if run.job else None
    return Run(
        version=run.version,
        state=going.state,
        trigger=trigger_name(trigger),
        triggered_by=trigger.by,
        started_at=told.started_at if told and told.started_at else made,
        message=head(going.message, WAIT_LIMIT) if going.message else None,
        pending_since=going.pending_since,
        progress=_progress(going.progress) if going.progress else None,
    )


def trigger_name(trigger: Trigger) -> TriggerName:
    """A trigger that only a newer release knows is shown as the one that asks for the least."""
    return cast(TriggerName, trigger.type) if trigger.type in get_args(TriggerName) else "Requested"


def _judgement(result: Result, room: int) -> tuple[tuple[GateResult, ...], dict[str, float]]:
    """As many gates as there is room for, those that failed first; then metrics whose value no gate says."""
    gates: list[GateResult] = []
    for gate in sorted(result.gates, key=lambda gate: gate.passed):
        room -= len(gate.metric) + _GATE + (_INTERVAL if gate.interval else 0) + len(gate.note or "")
        if gates and room < 0:
            break
        gates.append(_gate(gate))
    metrics: dict[str, float] = {}
    gated = {gate.metric for gate in gates}
    for name in (name for name in result.metrics if name not in gated):
        room -= len(name) + _METRIC
        if room < 0 or len(metrics) == METRICS_LIMIT:
            break
        metrics[name] = _rounded(result.metrics[name])
    return tuple(gates), metrics


def _gate(gate: Gate) -> GateResult:
    value = None if gate.value is None else _rounded(gate.value)
    return GateResult(
        metric=gate.metric,
        rule=gate.rule,
        bound=gate.bound,
        value=value,
        interval=tuple(_rounded(end, _INTERVAL_DIGITS) for end in gate.interval or ()),
        passed=gate.passed,
        note=head(gate.note, NOTE_LIMIT) if gate.note else None,
    )


def _progress(told: Progress) -> RunProgress:
    best = None if told.best is None else _rounded(told.best)
    return RunProgress(done=told.done, of=told.of, metric=told.metric, best=best)


def _size_of_search(found: Searched | None) -> int:
    return 0 if found is None else _SEARCH + min(len(found.parameters), SEARCH_LIMIT)


def _search(found: Searched) -> SearchResult:
    return SearchResult(
        metric=found.metric,
        score=_rounded(found.score),
        trials=found.trials,
        parameters=head(found.parameters, SEARCH_LIMIT),
    )


def _tracking(tracked: Tracked, room: int) -> RunTracking | None:
    if tracked.problem and room < NEWEST_ROOM:
        return None
    return RunTracking(run=tracked.run, problem=head(tracked.problem, PROBLEM_LIMIT) if tracked.problem else None)


def _size_of_tracking(shown: RunTracking | None) -> int:
    return 0 if shown is None else _TRACKING + len(shown.run or "") + len(shown.problem or "")


def _failure(failure: Failure) -> RunFailure:
    # A crash is explained at the end of the container's log, everything else at the beginning of its message.
    cut = tail if failure.reason == TrainingJobReason.CRASHED else head
    return RunFailure(
        reason=failure.reason,
        message=cut(failure.message, MESSAGE_LIMIT),
        pod=failure.pod,
        node=failure.node,
        exit_code=failure.exit_code,
    )


def _cost(record: Record) -> Cost | None:
    cost = record.cost
    return Cost(cpu_seconds=cost.cpu_seconds, memory_gib_seconds=cost.memory_gib_seconds) if cost else None


def _rounded(value: float, digits: int = _DIGITS) -> float:
    return float(f"{value:.{digits}g}")


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
