"""Columns that follow the clock: silent with a season, and never broken because an hour was not seen yet."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np
import pytest

from perennial.api.driftmonitor import DriftMonitorSpec
from perennial.monitoring import judge
from perennial.monitoring.checkpoint import Checkpoint, Judged
from perennial.monitoring.clocks import follows_clock, narrow
from perennial.monitoring.history import Bucket
from perennial.wire.layout import Layout
from perennial.wire.reference import Categorical, Numeric
from perennial.wire.season import HOUR

from . import worlds

DAY = 24 * HOUR
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONDAY = 4 * DAY
HOURS = Numeric("hour", [float(each) for each in range(25)], [0, *[250] * 24, 0, 0])
WEEKDAY = Categorical("weekday", list(DAYS), [*[850] * 7, 0, 0, 0])


class Served:
    """Rows with the hour and the weekday at which they come, and a number that has nothing to do with it."""

    def __init__(self, rng: np.random.Generator, spec: Mapping[str, object], *, since: float, a_minute: float) -> None:
        self.rng = rng
        self.a_minute = a_minute
        self.x = worlds.numeric("x", rng)
        reference = worlds.reference([HOURS, WEEKDAY, self.x, worlds.numeric("(score)", rng)])
        self.score = reference.score
        self.spec = DriftMonitorSpec.model_validate({"deployment": "flights", **spec})
        self.checkpoint = judge.begin(Checkpoint(), Judged(worlds.MODEL), reference)
        self.now = since
        self.number = 0

    def until(self, end: float, *, minutes: float, moved: float = 0.0) -> set[tuple[str, str]]:
        """What was found by then, looking every so many minutes."""
        found: set[tuple[str, str]] = set()
        while self.now < end:
            self.look(60 * minutes, moved)
            verdicts = self.checkpoint.triage.verdicts
            found |= {(verdict.state, feature.name) for verdict in verdicts for feature in verdict.features}
        return found

    def look(self, seconds: float, moved: float) -> None:
        n = int(self.rng.poisson(self.a_minute * seconds / 60))
        when = self.now + seconds * self.rng.random(n)
        hours = np.bincount((when % DAY // HOUR).astype(int), minlength=24)
        days = np.bincount(((when - MONDAY) // DAY % 7).astype(int), minlength=7)
        drawn = (*worlds.draw(self.x, self.rng, n, shift=moved), *worlds.draw(self.score, self.rng, n))
        self.number += 1
        made = worlds.epoch(self.number, [0, *hours, 0, 0, *days, 0, 0, 0, *drawn], n)
        epoch = msgspec.structs.replace(made, opened=self.now, closed=self.now + seconds)
        self.now += seconds
        self.checkpoint = judge.advance(self.checkpoint, self.spec, {"pod": worlds.answer(epoch)}, self.now)


def test_a_season_knows_the_clock_and_sees_what_changes_beside_it(rng: np.random.Generator) -> None:
    """Though no look, and so no window, ends with an hour."""
    spec = {"baseline": {"from": "Serving", "period": "14d"}, "window": {"period": "1h"}}
    since = MONDAY + 2 * DAY + 1000.0
    served = Served(rng, spec, since=since, a_minute=10)
    assert served.until(since + 17 * DAY, minutes=5) == set()
    assert served.checkpoint.baseline is not None
    assert served.checkpoint.baseline.season
    assert ("Drift", "x") in served.until(since + 17.25 * DAY, minutes=5, moved=0.5)


@pytest.mark.parametrize("source", ["Serving", "Training"])
def test_without_a_season_a_clock_drifts_and_is_not_broken(rng: np.random.Generator, source: str) -> None:
    served = Served(rng, {"baseline": {"from": source}}, since=MONDAY, a_minute=100)
    found = served.until(MONDAY + 26 * HOUR, minutes=5)
    assert {("Drift", "hour"), ("Drift", "weekday")} <= found
    assert {name for _, name in found} == {"hour", "weekday"}
    assert not [state for state, _ in found if state == "DataFault"]
    reference = served.checkpoint.reference
    assert reference is not None
    layout, history = Layout(reference.columns), served.checkpoint.history
    assert [narrow(layout, place, history) for place in range(4)] == [True, True, False, False]


def test_what_never_changes_is_no_clock() -> None:
    """Else what breaks in it would be a change."""
    currency = Categorical("currency", ["EUR", "USD", "GBP"], [1600, 1700, 1700, 0, 0, 0])
    layout = Layout([currency])
    euros = [500, 0, 0, 0, 0, 0]
    windows = tuple(Bucket(1, 500, float(at), at + 1.0, euros) for at in range(4))
    assert narrow(layout, 0, windows)
    assert not follows_clock(layout, 0, np.array(euros), windows)
    dollars = Bucket(1, 500, 4.0, 5.0, [0, 500, 0, 0, 0, 0])
    assert follows_clock(layout, 0, np.array(euros), (dollars, *windows[:1]))


@pytest.mark.parametrize("cells", [[0, 0, 0, 0, 0, 500], [1, 0, 0, 0, 0, 499]])
def test_of_hardly_any_values_nobody_knows_that_they_are_a_clock(cells: list[int]) -> None:
    layout = Layout([Categorical("currency", ["EUR", "USD", "GBP"], [1600, 1700, 1700, 0, 0, 0])])
    assert not narrow(layout, 0, tuple(Bucket(1, 500, float(at), at + 1.0, cells) for at in range(4)))
