"""What is deleted: Jobs that have told all they know, and the oldest records beyond the history that is asked for.

A version that is accepted, served or may be gone back to keeps its record. The store is never touched from here.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from perennial.kube.plan import Deletion, Manifest, Resource
from perennial.kube.resources import CONTROLLERREVISIONS, JOBS
from perennial.pods.jobs import finished

from .history import history_of
from .observe import Observed, RunSeen
from .record import Record, from_manifest

JOBS_KEPT = 3
"""Finished Jobs that stay for their logs."""
_DAY = timedelta(days=1)


def deletions(observed: Observed, ended: Iterable[Record], now: datetime) -> tuple[Deletion, ...]:
    """`ended` are the records that this plan writes: deletions come after all writes have succeeded."""
    told = {record.version for record in ended}
    done = [run for run in observed.runs if run.record or run.version in told]
    spent = _spent(observed, now)
    return (*_jobs(done, spent), *_records(done, spent), *_adopted_orphans(observed))


def _jobs(done: list[RunSeen], spent: set[int]) -> Iterable[Deletion]:
    """A recorded run's Job that still goes on was given up; a report Job has nothing more to say."""
    for_logs = {run.version for run in done[-JOBS_KEPT:]} - spent
    for run in done:
        if run.report and not _is_leaving(run.report):
            yield _deletion(JOBS, run.report)
        if run.job and not _is_leaving(run.job) and (run.version not in for_logs or not finished(run.job)):
            yield _deletion(JOBS, run.job)


def _is_leaving(job: Manifest) -> bool:
    return "deletionTimestamp" in job["metadata"]


def _records(done: list[RunSeen], spent: set[int]) -> Iterable[Deletion]:
    """A record goes after its Job is gone: a finished Job without one would be recorded anew."""
    for run in done:
        if run.version in spent and run.revision and not run.job:
            yield _deletion(CONTROLLERREVISIONS, run.revision)


def _spent(observed: Observed, now: datetime) -> set[int]:
    """The versions beyond `versionHistoryLimit` that nobody needs."""
    if observed.spec is None:
        return set()
    recorded = [run for run in observed.runs if run.record and run.revision]
    old = recorded[: -observed.spec.version_history_limit]
    if not old:
        return set()
    accepted = history_of(observed).accepted
    needed = observed.in_use | ({accepted.version} if accepted else set())
    return {run.version for run in old if run.version not in needed and not _is_of_today(run.record, now)}


def _is_of_today(record: Record | None, now: datetime) -> bool:
    """`maxRunsPerDay` is counted from the records, so that those of a day stay whatever their number."""
    if record is None or record.started_at is None:
        return False
    return datetime.fromisoformat(record.started_at) > now - _DAY


def _adopted_orphans(observed: Observed) -> Iterable[Deletion]:
    """An orphan goes when a record of our own says what it said."""
    kept = {run.version for run in observed.runs if run.revision}
    for orphan in observed.orphans:
        record = from_manifest(orphan)
        if record and record.version in kept:
            yield _deletion(CONTROLLERREVISIONS, orphan)


def _deletion(resource: Resource, manifest: Manifest) -> Deletion:
    metadata = manifest["metadata"]
    return Deletion(resource, metadata["namespace"], metadata["name"], metadata["uid"])
