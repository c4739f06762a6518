"""What hours of the week are like: a baseline's counts by them, while it is learned and once it is whole.

A week has to be seen twice: by one alone nobody knows which of its hours come back. What is kept of one that is being
learned tells the present week from those before, so that windows can be compared with what others showed and not with
themselves. Counts by hour are many, so there is a limit to their size.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from perennial.wire.layout import Layout
from perennial.wire.reference import Differences
from perennial.wire.season import HOUR, WEEK, pack, unpack

PERIODS = 2
"""Weeks that nearly all hours must have been seen in."""

SPAN = PERIODS * WEEK * HOUR
"""Seconds that a baseline with a season takes at least."""

MOST_BYTES = 512 * 1024
"""Of packed counts: with the rest of the checkpoint they must fit into a ConfigMap, which holds 1 MiB."""

ENOUGH = 0.9
"""The share of a baseline's rows that must be of hours seen twice."""


class Known(msgspec.Struct, frozen=True):
    """An hour of the week as so many `weeks` have shown it: `rows`, and their counts, packed."""

    weeks: int
    rows: int
    packed: bytes


Season = dict[int, Known]
"""By hour of the week."""


class Hour(msgspec.Struct, frozen=True):
    """Packed counts of an hour of the week: `now` of the week with this number, `before` of those before it. `weeks` is
    in how many it was seen."""

    week: int
    weeks: int
    now: bytes
    before: bytes | None = None

    def plus(self, cells: bytes, week: int) -> Hour:
        if week == self.week:
            return msgspec.structs.replace(self, now=_sum(self.now, cells))
        return Hour(week, self.weeks + 1, cells, self.all)

    @property
    def all(self) -> bytes:
        return self.now if self.before is None else _sum(self.before, self.now)


class Making(msgspec.Struct, frozen=True):
    """A season that is being learned. `differences` are those of neighbouring stretches beyond what their hours were
    like in the weeks before. `too_large` ones are given up."""

    hours: dict[int, Hour] = {}
    differences: list[Differences] = []
    too_large: bool = False

    def plus(self, by_hour: Mapping[int, bytes], week: int) -> Making:
        """With the counts of one more window."""
        if self.too_large:
            return self
        hours = dict(self.hours)
        for each, cells in by_hour.items():
            hours[each] = hours[each].plus(cells, week) if each in hours else Hour(week, 1, cells)
        if sum(len(hour.now) + len(hour.before or b"") for hour in hours.values()) > MOST_BYTES:
            return Making(too_large=True)
        return msgspec.structs.replace(self, hours=hours)

    def before(self, layout: Layout, hours: Iterable[int], week: int) -> Season | None:
        """What these hours were like in the weeks before this one; None if there are none, or one of them was not seen
        then."""
        season: Season = {}
        for each in hours:
            hour = self.hours.get(each)
            packed = None if hour is None else hour.before if hour.week == week else hour.all
            if hour is None or packed is None:
                return None
            season[each] = _known(layout, hour.weeks - (hour.week == week), packed)
        return season or None

    def whole(self, layout: Layout, rows: int) -> Season | None:
        """The season of all hours that were seen; None where those seen twice hold too few of the baseline's `rows`."""
        season = {each: _known(layout, hour.weeks, hour.all) for each, hour in sorted(self.hours.items())}
        twice = sum(known.rows for known in season.values() if known.weeks >= PERIODS)
        return season if season and twice >= ENOUGH * rows else None


def week(since: float, seconds: float) -> int:
    """The number of the week, counted from the hour of `since` on, in which a time lies (both in Unix seconds)."""
    return max(int(seconds // HOUR) - int(since // HOUR), 0) // WEEK


def _known(layout: Layout, weeks: int, packed: bytes) -> Known:
    return Known(weeks, int(layout.rows(unpack(packed))), packed)


def _sum(one: bytes, other: bytes) -> bytes:
    return pack(unpack(one) + unpack(other))
