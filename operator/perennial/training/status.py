"""The status of a TrainingJob, made anew each time from the records, the Job that is going on and what waits.

What the last status said is asked for only where nothing else tells: since when something waits, when a condition
changed, which requests were noted without a run.
"""

from __future__ import annotations

from datetime import datetime

from perennial.api.conditions import settle
from perennial.api.trainingjob_status import HandledTriggers, PendingTrigger, Run, TrainingJobStatus

from .digest import is_comparable
from .health import Standing, findings
from .history import History
from .intake import Going
from .observe import Observed
from .origin import Origin
from .origins import origin_of
from .triggers import Asked
from .view import NEWEST_ROOM, finished_run, going_run, starting_run, trigger_name

_HISTORY = 10
"""Runs that are shown while the spec is too wrong to say how many."""


def status_of(standing: Standing, going: tuple[Going, ...], wanted: Asked, now: datetime) -> TrainingJobStatus:
    """The whole status: a view of the records and of the run that is going on."""
    observed, history, start = standing.observed, standing.history, standing.starting
    accepted = history.accepted
    return TrainingJobStatus(
        observed_generation=observed.generation,
        conditions=settle(observed.status.conditions, findings(standing), generation=observed.generation, now=now),
        latest_version=(start.version if start else history.latest) or None,
        accepted_version=accepted.version if accepted else None,
        accepted=accepted,
        runs=_runs(standing, going, now),
        handled=_handled(observed, history, start, wanted),
        schedule=wanted.clock.shown() if wanted.clock else None,
        pending=_pending(standing, now),
        definition=_definition(history, start, wanted),
    )


def _runs(standing: Standing, going: tuple[Going, ...], now: datetime) -> tuple[Run, ...]:
    observed = standing.observed
    limit = observed.spec.version_history_limit if observed.spec else _HISTORY
    records = standing.history.records
    shown = [finished_run(record) for record in records[:-1]]
    shown += [finished_run(record, NEWEST_ROOM) for record in records[-1:]]
    shown += [going_run(run, origin_of(observed, run.run)) for run in going]
    if standing.starting:
        shown.append(starting_run(standing.starting, now))
    return tuple(sorted(shown, key=lambda run: -run.version)[:limit])


def _handled(observed: Observed, history: History, start: Origin | None, wanted: Asked) -> HandledTriggers:
    """Monitors that are gone are forgotten: their requests are gone with them."""
    handled = start.handled if start else history.handled
    monitors = handled.monitors if start else handled.monitors | wanted.late
    there = {monitor.uid for monitor in observed.monitors}
    return HandledTriggers(
        run=handled.run,
        monitors={uid: request for uid, request in monitors.items() if uid in there},
        schedule=handled.schedule,
    )


def _pending(standing: Standing, now: datetime) -> PendingTrigger | None:
    if not standing.waiting:
        return None
    first, before = standing.waiting[0], standing.observed.status.pending
    shown = PendingTrigger(trigger=trigger_name(first), since=now, by=first.by)
    if before and (before.trigger, before.by) == (shown.trigger, shown.by):
        return before
    return shown


def _definition(history: History, start: Origin | None, wanted: Asked) -> str | None:
    """The last definition that was started; one told by another release's algorithm is adopted."""
    if start:
        return start.definition
    if history.latest and not is_comparable(history.started):
        return wanted.definition
    return history.started
