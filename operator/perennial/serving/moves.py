"""What a rollout can do next, and what each move writes into the revisions' records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypeAlias

import msgspec

from perennial.api.reasons import ModelDeploymentReason, Reason
from perennial.wire.places import claim_of

from .revision import Ended, ModelRef, Outcome, Progress, Quarantine, Record, Revision, Setback, Taken
from .rollback import Back
from .situation import Situation, Target


@dataclass(frozen=True, slots=True)
class Keep:
    """Nothing changes; `reason` says what is waited for, `again` when to look at the latest."""

    reason: Reason
    message: str
    again: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Start:
    """The target becomes the candidate."""

    target: Target


@dataclass(frozen=True, slots=True)
class GoTo:
    """The candidate goes on to a step; the one after the last is taking over whole."""

    step: int


@dataclass(frozen=True, slots=True)
class Note:
    """The candidate's progress is written down anew."""

    progress: Progress


@dataclass(frozen=True, slots=True)
class Promote:
    """The candidate becomes stable."""


@dataclass(frozen=True, slots=True)
class End:
    """The candidate is taken away."""

    outcome: Outcome
    reason: ModelDeploymentReason
    message: str
    quarantine: bool = False
    setback: bool = False
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class GoBack:
    """The stable revision is quarantined, and the model before it is wanted instead."""

    back: Back


@dataclass(frozen=True, slots=True)
class Release:
    """Quarantines and setbacks are lifted."""


Move: TypeAlias = Keep | Start | GoTo | Note | Promote | End | GoBack | Release


def applied(move: Move, situation: Situation) -> dict[str, Record]:
    """The records that the move changes, by revision. A candidate that starts may have none yet."""
    match move:
        case Start(target):
            return {target.name: _started(target, situation)}
        case GoTo(step):
            return _candidate_record(situation, progress=_at_step(situation, step))
        case Note(progress):
            return _candidate_record(situation, progress=progress)
        case Promote():
            newest = max(revision.record.promotion for revision in situation.revisions.values())
            ended = Ended("Promoted", situation.now)
            return _candidate_record(situation, progress=None, setback=None, promotion=newest + 1, ended=ended)
        case End():
            return _ended(move, situation)
        case GoBack(back):
            return _gone_back(back, situation)
        case Release():
            return {
                name: msgspec.structs.replace(revision.record, quarantine=None, setback=None)
                for name, revision in situation.revisions.items()
                if revision.record.quarantine or revision.record.setback
            }
    return {}


def with_records(revisions: Mapping[str, Revision], records: Mapping[str, Record]) -> dict[str, Revision]:
    """The known revisions under their new records."""
    return {
        name: replace(revision, record=records[name]) if name in records else revision
        for name, revision in revisions.items()
    }


def roles(revisions: Mapping[str, Revision]) -> tuple[Revision | None, Revision | None]:
    """The stable revision and the candidate. The highest number wins: a crash may have left two."""
    promoted = [revision for revision in revisions.values() if revision.record.promotion]
    stable = max(promoted, key=lambda revision: revision.record.promotion, default=None)
    candidates = [
        (revision.record.progress.number, revision)
        for revision in revisions.values()
        if revision.record.progress and not revision.record.quarantine
    ]
    candidate = max(candidates, key=lambda numbered: numbered[0], default=(0, None))[1]
    return stable, candidate


def _started(target: Target, s: Situation) -> Record:
    known = s.revisions.get(target.name)
    record = known.record if known else Record()
    numbers = [revision.record.progress.number for revision in s.revisions.values() if revision.record.progress]
    promotions = [revision.record.promotion for revision in s.revisions.values()]
    progress = Progress(
        number=max([*numbers, *promotions, 0]) + 1,
        # A person who retries with `promote` wants it whole; what is gone back to was judged before.
        step=len(s.steps) if s.verb == "promote" or s.goes_back_to(target.model) else 0,
        since=s.now,
        begun=s.now,
    )
    fixed = target.name in s.groups
    companion = record.companion if fixed else _companion(target, s)
    return msgspec.structs.replace(record, progress=progress, companion=companion, source=target.source)


def _companion(target: Target, s: Situation) -> ModelRef | None:
    """The stable model, where the candidate's pods can open its store too: the same claim, the same credentials."""
    if s.stable is None or s.stable.model.sha256 == target.model.sha256:
        return None
    ours, theirs = target.model, s.stable.model
    shared = (ours.secret, claim_of(ours.uri)) == (theirs.secret, claim_of(theirs.uri))
    return theirs if shared else None


def _at_step(s: Situation, step: int) -> Progress:
    return msgspec.structs.replace(s.progress, step=step, since=s.now, reached=None, requests=0, blocked=False)


def _gone_back(back: Back, s: Situation) -> dict[str, Record]:
    if s.stable is None:
        raise ValueError("there is no stable revision")
    record = msgspec.structs.replace(
        s.stable.record,
        quarantine=Quarantine(back.reason, s.now, instead=back.to),
        taken=Taken(back.monitor, back.request),
        ended=Ended("RolledBack", s.now),
        source=back.source,
    )
    return {s.stable.name: record}


def _ended(end: End, s: Situation) -> dict[str, Record]:
    quarantine = Quarantine(end.message, s.now) if end.quarantine else None
    setback = Setback(end.reason.value, end.message, attempts(s) + 1, end.until) if end.setback else None
    return _candidate_record(s, progress=None, quarantine=quarantine, setback=setback, ended=Ended(end.outcome, s.now))


def _candidate_record(s: Situation, **changes: object) -> dict[str, Record]:
    if s.candidate is None:
        raise ValueError("there is no candidate")
    return {s.candidate.name: msgspec.structs.replace(s.candidate.record, **changes)}


def attempts(s: Situation) -> int:
    setback = s.candidate.record.setback if s.candidate else None
    return setback.attempts if setback else 0
