"""The plan of a TrainingJob: what its runs have come to, whether another one starts, and what the status says.

Pure: what it decides follows from what was observed and the time. Every prefix of its writes can be the last before the
operator dies: an ended run is told by its record before anything else is done about it, and a run is started by making
its Job, which carries what was taken with it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from perennial.api.reasons import Reason, TrainingJobReason
from perennial.kube.plan import Child, Event, Plan, Problem
from perennial.pods.jobs import finished, trial_pod
from perennial.wire.run import Accepted

from .champion import champion
from .cleanup import deletions
from .digest import definition_digest, is_comparable
from .health import Standing, last_run
from .history import History, history_of
from .holds import Hold, Situation, hold, reason_of
from .intake import Context, Ended, Going, take_in
from .names import Identity
from .observe import Bucket, Observed, RunSeen
from .origin import Origin, Trigger
from .origins import origin_of
from .record import Record, to_child
from .report_job import report_job
from .run_job import run_job
from .status import status_of
from .store import default_claim, store_of
from .triggers import Asked, asked, token_of

_PENDING_DEADLINE = timedelta(seconds=600)
_SETTLED = (Bucket.RECORDED, Bucket.UNREADABLE)


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a run starts now, and which version it has to stand up to. `waiting` is what asked for one that has to
    wait, and `hold` why."""

    start: Origin | None
    waiting: tuple[Trigger, ...] = ()
    hold: Hold | None = None
    champion: Accepted | None = None


def plan(observed: Observed, problems: tuple[Problem, ...], now: datetime) -> Plan:
    """All that a TrainingJob wants. `problems` are refusals of the writes that the last plan asked for."""
    if observed.manifest["metadata"].get("deletionTimestamp"):
        return Plan()
    taken = _take_in_all(observed, problems, now)
    ended = tuple(result.record for result in taken if isinstance(result, Ended))
    going = tuple(result for result in taken if isinstance(result, Going))
    history = history_of(observed, ended)
    wanted = asked(observed, history, now)
    decision = _decide(observed, history, going, wanted, problems, now)
    standing = Standing(
        observed=observed,
        history=history,
        going=going[-1] if going else None,
        starting=decision.start,
        waiting=decision.waiting,
        hold=decision.hold,
    )
    status = status_of(standing, going, wanted, now)
    return Plan(
        children=tuple(_children(observed, ended, going, decision)),
        deletions=deletions(observed, ended, now),
        status=status.to_manifest(),
        events=tuple(_events(ended, decision, wanted)),
        requeue_after=_soonest(going, decision, wanted, now),
    )


def _take_in_all(observed: Observed, problems: tuple[Problem, ...], now: datetime) -> list[Going | Ended]:
    """What has become of every run without a record, oldest first: what is accepted is a matter of order."""
    taken: list[Going | Ended] = []
    sha256: str | None = None
    for run in observed.runs:
        if run.record:
            sha256 = _accepted_digest(run.record) or sha256
        if run.bucket in _SETTLED:
            continue
        result = take_in(run, _context(observed, run, sha256, problems, now))
        if isinstance(result, Ended) and (refusal := _record_refused(result, observed.identity, problems)):
            result = Going(run, "Running", f"its record cannot be written: {refusal}", recheck=30.0)
        if isinstance(result, Ended):
            sha256 = _accepted_digest(result.record) or sha256
        taken.append(result)
    return taken


def _accepted_digest(record: Record) -> str | None:
    model = record.result.model
    return model.sha256 if model and record.state == "Succeeded" else None


def _context(
    observed: Observed, run: RunSeen, accepted_sha256: str | None, problems: tuple[Problem, ...], now: datetime
) -> Context:
    spec, origin = observed.spec, origin_of(observed, run)
    return Context(
        identity=observed.identity,
        accepted_sha256=accepted_sha256,
        pending_deadline=timedelta(seconds=spec.pending_deadline_seconds) if spec else _PENDING_DEADLINE,
        origin=origin,
        outdated=_is_outdated(observed, origin),
        refusal=_pod_refusal(run, observed.identity, problems),
        now=now,
    )


def _is_outdated(observed: Observed, origin: Origin | None) -> bool:
    """Whether a person asks for another run than this one. What a DriftMonitor asked for goes on: it is the cure of
    drift, which a run for a changed definition is not taken for."""
    if observed.spec is None or observed.spec.suspend or origin is None or origin.trigger.type == "DriftMonitor":
        return False
    if token_of(observed) not in (None, origin.handled.run):
        return True
    return is_comparable(origin.definition) and origin.definition != definition_digest(observed.manifest["spec"])


def _pod_refusal(run: RunSeen, identity: Identity, problems: tuple[Problem, ...]) -> tuple[Reason, str] | None:
    for problem in problems:
        if problem.kind == "Pod" and problem.name == identity.run_job(run.version):
            return reason_of(problem), problem.message
    return None


def _record_refused(ended: Ended, identity: Identity, problems: tuple[Problem, ...]) -> str | None:
    name = identity.record(ended.record.version)
    return next((p.message for p in problems if p.kind == "ControllerRevision" and p.name == name), None)


def _decide(
    observed: Observed,
    history: History,
    going: tuple[Going, ...],
    wanted: Asked,
    problems: tuple[Problem, ...],
    now: datetime,
) -> Decision:
    """The first trigger that nothing holds starts a run, and all others are contained in it."""
    situation = Situation(observed, history, _occupied_by(observed, going), problems, now)
    holds = [(trigger, hold(trigger, situation)) for trigger in wanted.triggers]
    free = next((trigger for trigger, held in holds if held is None), None)
    if free is None or observed.spec is None:
        return Decision(None, wanted.triggers, holds[0][1] if holds else None)
    store = store_of(observed.spec, observed.settings, observed.identity.namespace)
    start = Origin(situation.next_version, wanted.definition, free, store, wanted.handled)
    return Decision(start, champion=champion(history.records, observed.quarantined))


def _occupied_by(observed: Observed, going: tuple[Going, ...]) -> int | None:
    """The run that another one has to wait for. One that was given up counts until its Job is gone."""
    unfinished = [run.version for run in observed.runs if run.job and not finished(run.job)]
    return max([*unfinished, *(run.run.version for run in going)], default=None)


def _children(
    observed: Observed, ended: Iterable[Record], going: Iterable[Going], decision: Decision
) -> Iterable[Child]:
    identity, owner, settings = observed.identity, observed.manifest, observed.settings
    orphaned = (run.record for run in observed.runs if run.record and run.revision is None)
    for record in (*orphaned, *ended):
        yield to_child(record, identity, owner)
    for run in going:
        origin = origin_of(observed, run.run)
        if run.needs_report and origin:
            yield report_job(observed.spec, origin, identity, owner, settings)
        if run.needs_trial and run.run.job:
            yield trial_pod(run.run.job)
    if decision.start and observed.spec:
        if claim := default_claim(decision.start.store, settings, identity.namespace):
            yield claim
        yield run_job(observed.spec, decision.start, identity, owner, settings, decision.champion)


def _events(ended: Iterable[Record], decision: Decision, wanted: Asked) -> Iterable[Event]:
    for record in ended:
        yield _ended_event(record)
        if (tracked := record.result.tracked) and tracked.problem:
            yield Event("Warning", TrainingJobReason.NOT_TRACKED, f"run v{record.version}: {tracked.problem}")
    for uid in wanted.late:
        yield Event(
            "Normal",
            TrainingJobReason.LATE_REQUEST,
            f"request {wanted.late[uid]} was made before the accepted version was",
        )
    if start := decision.start:
        by = f" by {start.trigger.by}" if start.trigger.by else ""
        yield Event("Normal", TrainingJobReason.RUN_STARTED, f"run v{start.version}: {start.trigger.type}{by}")


def _ended_event(record: Record) -> Event:
    finding = last_run(record)
    return Event("Normal" if finding.holds else "Warning", finding.reason, finding.message)


def _soonest(going: Iterable[Going], decision: Decision, wanted: Asked, now: datetime) -> float | None:
    times = [run.recheck for run in going] + [decision.hold.recheck if decision.hold else None]
    if wanted.clock and wanted.clock.next:
        times.append((wanted.clock.next - now).total_seconds())
    return min((time for time in times if time is not None), default=None)
