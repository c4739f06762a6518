"""When a TrainingJob runs by the clock: the last time that was due and the next one.

Only the newest counts: however many passed while nobody looked, or while something held runs, they are one run.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim

from perennial.api.trainingjob import Schedule
from perennial.api.trainingjob_status import ScheduleStatus

from .observe import Observed

_MOMENT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Clock:
    """A schedule as it stands. `since` is from when on it is kept: what was due before it was written starts nothing.
    `last` is the newest time that is due by now, `next` the one after it; None where there is none in fifty years."""

    schedule: Schedule
    since: datetime
    last: datetime | None
    next: datetime | None

    def due(self, taken: datetime | None) -> datetime | None:
        """What asks for a run, where runs up to `taken` were started."""
        last = self.last
        return last if last and last > max(self.since, taken or self.since) else None

    def shown(self) -> ScheduleStatus:
        return ScheduleStatus(
            cron=self.schedule.cron, time_zone=self.schedule.time_zone, since=self.since, next=self.next
        )


def clock_of(observed: Observed, now: datetime) -> Clock | None:
    """The clock of a valid spec that has one."""
    schedule = observed.spec.schedule if observed.spec else None
    if schedule is None:
        return None
    told = observed.status.schedule
    kept = told and (told.cron, told.time_zone) == (schedule.cron, schedule.time_zone)
    there = now.astimezone(ZoneInfo(schedule.time_zone))
    # Looking back, the library begins before the moment that it is given.
    last = next(CronSim(schedule.cron, there + _MOMENT, reverse=True), None)
    following = next(CronSim(schedule.cron, there), None)
    return Clock(schedule, told.since if told and kept else now, _utc(last), _utc(following))


def _utc(moment: datetime | None) -> datetime | None:
    return moment.astimezone(UTC) if moment else None
