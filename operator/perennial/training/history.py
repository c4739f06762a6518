"""What the records and the Job that is going on say together: the newest run, the accepted version, what was taken.

The status is asked only for what nothing else tells, so that one that was cleared is rebuilt the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from perennial.api.trainingjob_status import AcceptedVersion, SecretName, TrainingJobStatus

from .digest import is_comparable
from .observe import Bucket, Observed, RunSeen
from .origin import Handled
from .record import Record


@dataclass(frozen=True, slots=True)
class History:
    """`records` are oldest first. `started` is the definition that the newest run was started with, `carried_out` that
    of the newest run that has ended; None where nothing tells.
    """

    records: tuple[Record, ...]
    latest: int
    accepted: AcceptedVersion | None
    started: str | None
    carried_out: str | None
    handled: Handled


def history_of(observed: Observed, ended: Iterable[Record] = ()) -> History:
    """The history, with what has just ended."""
    known = {run.version: run.record for run in observed.runs if run.record}
    known |= {record.version: record for record in ended}
    records = tuple(known[number] for number in sorted(known))
    status = observed.status
    return History(
        records=records,
        latest=max((status.latest_version or 0, *(run.version for run in observed.runs))),
        accepted=_accepted(observed, records),
        started=_started(observed.runs, records, status),
        carried_out=records[-1].definition if records else None,
        handled=_handled(observed.runs, status),
    )


def _accepted(observed: Observed, records: tuple[Record, ...]) -> AcceptedVersion | None:
    newest = next((record for record in reversed(records) if record.state == "Succeeded"), None)
    told = observed.status.accepted
    lost = next((run for run in observed.runs if told and run.version == told.version), None)
    if (
        lost
        and lost.bucket not in (Bucket.RECORDED, Bucket.UNREADABLE)
        and not any(r.version == lost.version for r in records)
    ):
        # Its record was deleted; what it was stands until a report has found or missed it in the store.
        return told
    return _accepted_version(newest) if newest else None


def _accepted_version(record: Record) -> AcceptedVersion:
    model = record.result.model
    assert model is not None
    return AcceptedVersion(
        version=record.version,
        uri=model.uri,
        sha256=model.sha256,
        seal=model.seal,
        engine=model.engine,
        secret_ref=SecretName(name=record.store.secret) if record.store.secret else None,
    )


def _started(runs: tuple[RunSeen, ...], records: tuple[Record, ...], status: TrainingJobStatus) -> str | None:
    """The newest run's own word; where that is of another release, what this release adopted instead."""
    told = [(run.version, run.origin.definition) for run in runs if run.origin]
    told += [(record.version, record.definition) for record in records]
    newest = max(told, default=(0, None))[1]
    if newest is None or not is_comparable(newest):
        return status.definition or newest
    return newest


def _handled(runs: tuple[RunSeen, ...], status: TrainingJobStatus) -> Handled:
    """The status has the last word, unless a run was started after it was written."""
    told = Handled(status.handled.run, dict(status.handled.monitors), status.handled.schedule)
    newest = max(runs, key=lambda run: run.version, default=None)
    noted = _noted(newest) if newest else None
    if newest is None or noted is None:
        return told
    first, last = (noted, told) if (status.latest_version or 0) >= newest.version else (told, noted)
    return Handled(
        run=last.run or first.run,
        monitors=first.monitors | last.monitors,
        schedule=last.schedule or first.schedule,
    )


def _noted(run: RunSeen) -> Handled | None:
    if run.record:
        return run.record.handled
    return run.origin.handled if run.origin else None
