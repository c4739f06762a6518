"""What the status says of labels that are joined from a table."""

from __future__ import annotations

from perennial.api.conditions import ConditionType, Finding
from perennial.api.driftmonitor import LabelTable
from perennial.api.driftmonitor_status import JoinStatus
from perennial.api.reasons import DriftMonitorReason
from perennial.wire.join import FILE_DIGEST

from .checkpoint import Joins
from .joins import Joining
from .observed import Observed
from .words import at, moment


def joined(observed: Observed, joins: Joins, labels: Joining | None) -> dict[ConditionType, Finding]:
    """Only for who has a table of labels, and while it is looked at."""
    spec = observed.spec
    if spec is None or spec.labels is None or labels is None:
        return {}
    return {ConditionType.LABELS_JOINED: _join_finding(observed, spec.labels, joins, labels)}


def _join_finding(observed: Observed, table: LabelTable, joins: Joins, labels: Joining) -> Finding:
    reason = DriftMonitorReason
    if observed.rival:
        return Finding(False, reason.SECOND_MONITOR, f"DriftMonitor {observed.rival} joins labels for this deployment")
    if joins.failure:
        tried = "is tried again now" if labels.going else f"is tried again at {at(joins.due)}"
        return Finding(False, reason.JOIN_FAILED, f"{joins.failure}. The join {tried}")
    if labels.waiting:
        return Finding(False, reason.JOIN_PENDING, f"Job {labels.going} waits: {labels.waiting}")
    if joins.ended is None:
        waits = f"Job {labels.going} goes on" if labels.going else "it waits for a pod that serves"
        return Finding(None, reason.JOIN_PENDING, f"no join has ended yet: {waits}")
    if not joins.files:
        # A misspelt place or key looks like one that has nothing yet: neither may pass for labels that are joined.
        carried = f"labels are joined by {table.key}, which requests carry: a field of each row, or a tensor"
        missing = joins.note or "there is no file"
        return Finding(None, reason.JOIN_PENDING, f"nothing was joined yet: {missing}; {carried}")
    told = f"{joins.counted} labels of {len(joins.files) // FILE_DIGEST} files were joined"
    if joins.unmatched:
        told += f"; {joins.unmatched} have keys that no pod remembers a prediction of"
        told += "" if joins.counted else ": are they the same texts in requests and in the table?"
    return Finding(True, reason.JOINED, f"{told}; {joins.note}" if joins.note else told)


def join_status(joins: Joins, labels: Joining | None, observed: Observed) -> JoinStatus:
    """How the joining goes, in numbers."""
    going = labels.going if labels else None
    failed = observed.identity.join_job(joins.number) if joins.failure else None
    return JoinStatus(
        joined=joins.counted,
        late=joins.late,
        unmatched=joins.unmatched,
        duplicates=joins.duplicates,
        rejected=joins.rejected,
        files=len(joins.files) // FILE_DIGEST,
        kept_since=moment(joins.since) if joins.since is not None else None,
        last=moment(joins.ended) if joins.ended is not None else None,
        next=moment(joins.due) if labels and not going and joins.due else None,
        job=going or failed,
    )
