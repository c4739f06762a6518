"""When labels of a table are joined, and what is remembered of it.

One Job at a time. Its number is that of the last join accounted for, plus one; its result and the number go into the
checkpoint in one write. So a Job that ended is accounted for once. One that is gone before is made again under its
name, and where its result was lost the next one reads the same files: the pods know a label that they were sent before,
and its numbers come out the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec

from perennial.api.driftmonitor import LabelTable
from perennial.kube.plan import Child, Manifest
from perennial.pods.creation import QUIET
from perennial.pods.jobs import ended_at, finished, trial_pod
from perennial.pods.statuses import holding
from perennial.wire.join import FILE_DIGEST, MAX_FILES, Joined

from .checkpoint import Joins
from .join_end import Failed, ended, waits_for
from .join_job import TABLE, asked_of, join_job, table_of, told_to
from .observed import Observed

SOONEST = 10.0
"""Seconds between two looks at the table, at least."""
RETRY = 60.0
"""Seconds after a failure, doubled each time up to `every`; and after a join that missed a pod."""
PATIENCE = 3
"""Joins of the same files at most, where each time a pod could not be asked: pods may come and go all the time."""
CACHE_GRACE = timedelta(seconds=10)
"""How long the last words of a Job that is complete are waited for: Jobs and pods come by watches of their own."""
_LOST = Failed("its Job is complete, and its last words are lost with its pod")
"""That changes nothing that was counted. It is a failure like others, since what takes the words once may always do."""


@dataclass(frozen=True, slots=True)
class Joining:
    """What is to be done about the labels now. `waiting` is why the Job that there is does not start, `recheck` in how
    many seconds something may be different."""

    joins: Joins
    children: tuple[Child, ...] = ()
    going: str | None = None
    waiting: str | None = None
    recheck: float | None = None


def joining(observed: Observed, joins: Joins, now: datetime) -> Joining:
    """The next step: take a Job's result in, wait for it, or make one."""
    spec = observed.spec
    if spec is None or spec.labels is None:
        return Joining(joins)
    if observed.rival:
        return Joining(joins)
    if observed.join_job is not None:
        return _of_job(observed, spec.labels, observed.join_job, joins, now)
    wait = joins.due - now.timestamp()
    if wait > 0 and joins.table == table_of(spec.labels):
        return Joining(joins, recheck=wait)
    if not observed.servers:
        return Joining(joins)
    asked = asked_of(spec.labels, spec.deployment, joins.number + 1, observed.servers, joins.files)
    job = join_job(spec.labels, asked, observed.identity, observed.manifest, observed.settings)
    return Joining(joins, (job,), going=job.manifest["metadata"]["name"])


def _of_job(observed: Observed, labels: LabelTable, job: Manifest, joins: Joins, now: datetime) -> Joining:
    result = ended(job, observed.join_pods)
    if result is None:
        if not finished(job):
            return _going(observed, job, joins, now)
        left = datetime.fromisoformat(ended_at(job) or job["metadata"]["creationTimestamp"]) + CACHE_GRACE - now
        if left > timedelta(0):
            return Joining(joins, going=job["metadata"]["name"], recheck=left.total_seconds())
        result = _LOST
    accounted = msgspec.structs.replace(joins, number=joins.number + 1, table=_table(job))
    if isinstance(result, Failed):
        return Joining(_failed(accounted, labels, result, now))
    return Joining(_taken(observed, labels, job, result, accounted, now))


def _going(observed: Observed, job: Manifest, joins: Joins, now: datetime) -> Joining:
    name, began = job["metadata"]["name"], datetime.fromisoformat(job["metadata"]["creationTimestamp"])
    quiet = (began + QUIET - now).total_seconds()
    if quiet > 0:
        return Joining(joins, going=name, recheck=quiet)
    if observed.join_pods:
        return Joining(joins, going=name, waiting=waits_for(observed.join_pods))
    if holding(job, "Suspended"):
        return Joining(joins, going=name, waiting="it is suspended: a queue, or a person, lets it go on")
    return Joining(joins, (trial_pod(job),), going=name, waiting="it has no pod yet", recheck=QUIET.total_seconds())


def _taken(observed: Observed, labels: LabelTable, job: Manifest, result: Joined, joins: Joins, now: datetime) -> Joins:
    missed = result.missed or (_unasked(observed, job) if result.files else None)
    if missed and joins.missed + 1 < PATIENCE:
        # These files are joined again, with the pods that there are then.
        due = now.timestamp() + min(RETRY, _every(labels))
        return msgspec.structs.replace(joins, due=due, missed=joins.missed + 1)
    return msgspec.structs.replace(
        joins,
        due=now.timestamp() + (0.0 if result.more else _every(labels)),
        files=(joins.files + result.files)[-MAX_FILES * FILE_DIGEST :],
        counted=joins.counted + result.counted + result.late,
        late=joins.late + result.late,
        unmatched=joins.unmatched + result.unmatched,
        duplicates=joins.duplicates + result.duplicates,
        rejected=joins.rejected + result.rejected,
        since=result.since if result.since is not None else joins.since,
        ended=now.timestamp(),
        missed=0,
        failed=0,
        failure=None,
        note=result.notes[0] if result.notes else None,
    )


def _unasked(observed: Observed, job: Manifest) -> str | None:
    """A pod that came after the Job was made may have been given what one remembered that has ended since."""
    told = told_to(job)
    asked = {server.uid for server in told.servers} if told else set()
    new = [server.name for server in observed.servers if server.uid not in asked]
    return f"pod {new[0]} came meanwhile" if new else None


def _failed(joins: Joins, labels: LabelTable, failed: Failed, now: datetime) -> Joins:
    pause = min(RETRY * 2.0 ** min(joins.failed, 10), max(_every(labels), RETRY))
    return msgspec.structs.replace(
        joins,
        due=now.timestamp() + pause,
        failed=joins.failed + 1,
        failure=failed.words,
    )


def _every(labels: LabelTable) -> float:
    return max(float(labels.every.seconds), SOONEST)


def _table(job: Manifest) -> str:
    return str((job["metadata"].get("annotations") or {}).get(TABLE, ""))
