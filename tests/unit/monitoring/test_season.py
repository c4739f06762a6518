"""A baseline that knows the hours of the week: what it keeps, what it lets expect, and two weeks of swings through the
controller."""

from __future__ import annotations

import math
from itertools import chain
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perennial.monitoring import baseline as baselines
from perennial.monitoring.assumptions import assumptions
from perennial.monitoring.baseline import Baseline
from perennial.monitoring.checkpoint import Checkpoint, Judged, decode, encode
from perennial.monitoring.counts import fold
from perennial.monitoring.dispersion import Dispersion
from perennial.monitoring.expectation import Expectation
from perennial.monitoring.history import Bucket, History, crowds, hours, push, stretches
from perennial.monitoring.scan import Normal, Scan
from perennial.monitoring.season import MOST_BYTES, SPAN, Known, Making, Season, week
from perennial.wire.counts import Epoch, Epochs, ModelCounts
from perennial.wire.layout import Ints, Layout
from perennial.wire.reference import Column, Numeric
from perennial.wire.season import HOUR, WEEK, hour, pack, spread, unpack

from . import worlds
from .namespace import START, Cluster

X = Numeric("x", [0.0, 1.0, 2.0], [0, 500, 500, 0, 0])
LAYOUT = Layout([X])
COUNTS = st.lists(st.integers(0, 10_000), min_size=LAYOUT.cells, max_size=LAYOUT.cells).map(
    lambda each: [*each[:-1], 1]
)
BY_HOUR = st.dictionaries(st.integers(0, WEEK - 1), COUNTS, min_size=1, max_size=6)


@pytest.mark.parametrize(
    ("seconds", "is_in"), [(0.0, 0), (3599.9, 0), (3600.0, 1), (7 * 86_400 - 0.1, 167), (7 * 86_400, 0)]
)
def test_weeks_have_168_hours(seconds: float, is_in: int) -> None:
    assert hour(seconds) == is_in


@given(st.floats(0, 1e6), st.floats(0.1, 1e6), st.integers(0, 10_000))
def test_rows_of_a_long_while_are_spread_over_its_hours(opened: float, seconds: float, rows: int) -> None:
    found = spread(opened, opened + seconds, rows)
    assert sum(found.values()) == rows
    assert set(found) <= {hour(opened + each * HOUR) for each in range(math.ceil(seconds / HOUR) + 1)}


def test_they_are_spread_evenly() -> None:
    assert spread(0.5 * HOUR, 3.0 * HOUR, 500) == {0: 100, 1: 200, 2: 200}


@given(st.lists(st.integers(0, 2**62), max_size=50))
def test_counts_are_packed_and_unpacked(counts: list[int]) -> None:
    assert unpack(pack(np.array(counts, dtype=np.int64))).tolist() == counts


@pytest.mark.parametrize("packed", [b"", b"no counts", pack(np.arange(3))[:-3]])
def test_what_is_no_counts_is_said_to_be_none(packed: bytes) -> None:
    with pytest.raises(ValueError, match="no packed counts"):
        unpack(packed)


@given(st.lists(st.dictionaries(st.integers(0, WEEK - 1), st.integers(1, 50), min_size=1), min_size=1, max_size=40))
@settings(max_examples=20)
def test_history_loses_no_hour(windows: list[dict[int, int]]) -> None:
    history: History = ()
    for number, each in enumerate(windows):
        rows = sum(each.values())
        history = push(history, Bucket(1, rows, number, number + 1, [rows], each))
    for stretch, when in zip(stretches(history), hours(history), strict=True):
        assert sum(when.values()) == stretch[0]


@pytest.mark.parametrize("learned", [True, False])
def test_an_open_window_knows_when_its_rows_came(rng: np.random.Generator, learned: bool) -> None:
    """Counts by hour are for a baseline that is learned; of an epoch of several hours nobody knows which came when."""
    reference = worlds.reference([X, worlds.numeric("(score)", rng)])
    layout = Layout(reference.columns)
    baseline = baselines.from_serving(layout, 0.0)
    checkpoint = Checkpoint(
        model=Judged(worlds.MODEL), baseline=msgspec.structs.replace(baseline, complete=not learned)
    )
    drawn = [[cell for column in reference.columns for cell in worlds.draw(column, rng, 100)] for _ in range(3)]
    times = [(3500.0, 3560.0), (3590.0, 3640.0), (7200.0, 14_400.0)]
    epochs = [
        Epoch(number, opened, closed, {worlds.MODEL: ModelCounts(100, cells)})
        for number, (cells, (opened, closed)) in enumerate(zip(drawn, times, strict=True), start=1)
    ]
    window = fold(checkpoint, {"pod": Epochs("one", worlds.MODEL, epochs)}, cells=layout.cells, now=0.0).open
    assert window is not None
    assert window.hours == {0: 120, 1: 80, 2: 50, 3: 50}
    assert sum(window.hours.values()) == window.rows
    assert {each: unpack(cells).tolist() for each, cells in window.by_hour.items()} == (
        {0: drawn[0]} if learned else {}
    )


def season_of(by_hour: dict[int, list[int]]) -> tuple[Season, Ints]:
    season = {each: Known(2, sum(cells), pack(np.array(cells))) for each, cells in by_hour.items()}
    return season, np.array(list(by_hour.values()), dtype=np.int64).sum(axis=0)


@given(BY_HOUR, st.data())
def test_what_is_expected_is_the_stratified_sample(by_hour: dict[int, list[int]], data: st.DataObject) -> None:
    season, total = season_of(by_hour)
    rows = {each: data.draw(st.integers(1, 1000)) for each in by_hour}
    expected = Expectation(LAYOUT, season, total).expected([rows])
    weights = {each: count / sum(rows.values()) for each, count in rows.items()}
    size = 1 / sum(weights[each] ** 2 / sum(by_hour[each]) for each in by_hour)
    shares = sum(weights[each] * np.array(by_hour[each]) / sum(by_hour[each]) for each in by_hour)
    assert expected.cells[0] == pytest.approx(size * shares)
    assert expected.cells.sum() == pytest.approx(size)
    inside, n = LAYOUT.cut_counts(expected.cells)
    known = n > 1e-9
    assert (expected.inside[known] / expected.n[known]) == pytest.approx(inside[known] / n[known])
    assert (expected.n <= n * (1 + 1e-9)).all()


def test_a_mixture_of_hours_that_spread_unlike_varies_by_chance(rng: np.random.Generator) -> None:
    """As a product with the hour does. Its error is another one at each cut, and its variance is one of all cuts."""
    x = worlds.numeric("x", rng)
    layout = Layout([x])

    def drawn(wide: int, narrow: int) -> Ints:
        values = np.concatenate([rng.normal(size=wide), rng.normal(scale=0.5, size=narrow)])
        return np.bincount(np.searchsorted(x.edges, values, side="right"), minlength=x.cells)

    season, total = season_of({0: drawn(120_000, 0).tolist(), 1: drawn(0, 120_000).tolist()})
    scan = Scan(
        layout, Normal(total, Dispersion(layout), Expectation(layout, season, total)), drift_looks=1, fault_looks=1
    )
    stretches = [scan.statistics(drawn(400, 100)[None], [{0: 400, 1: 100}])[0] for _ in range(200)]
    assert np.std(stretches, axis=0)[layout.is_whole] == pytest.approx(1.0, abs=0.2)


@given(BY_HOUR)
def test_traffic_as_it_was_is_expected_to_be_all_of_the_baseline(by_hour: dict[int, list[int]]) -> None:
    season, total = season_of(by_hour)
    expected = Expectation(LAYOUT, season, total).expected([{each: sum(cells) for each, cells in by_hour.items()}])
    assert expected.cells[0] == pytest.approx(total)


def test_few_rows_of_an_hour_that_varies_count_for_what_they_are_worth() -> None:
    """Nine rows in ten are of an hour that was seen often and never varies: the error is all of the other hour's."""
    season, total = season_of({0: [9000, 0, 0, 0, 0], 1: [5, 5, 0, 0, 0]})
    expected = Expectation(LAYOUT, season, total).expected([{0: 900, 1: 100}])
    (cut,) = (place for place, cut in enumerate(LAYOUT.cuts) if (cut.first, cut.last) == (0, 1))
    share = float(expected.inside[0, cut] / expected.n[0, cut])
    assert share == pytest.approx(0.95)
    assert share * (1 - share) / expected.n[0, cut] == pytest.approx(0.1**2 * 0.25 / 10)


def test_an_hour_that_is_not_known_is_expected_to_be_as_all() -> None:
    season, total = season_of({0: [0, 900, 100, 0, 0], 1: [0, 100, 900, 0, 0]})
    expectation = Expectation(LAYOUT, season, total)
    assert expectation.expected([{99: 50}]).cells[0] == pytest.approx(total)
    assert expectation.knows({0: 1, 1: 1})
    assert not expectation.knows({0: 1, 99: 1})


def test_the_difference_of_blocks_of_the_same_hours_has_no_error() -> None:
    season, total = season_of({0: [0, 90, 10, 0, 0], 1: [0, 10, 90, 0, 0]})
    normally = Expectation(LAYOUT, season, total).normally([{0: 5}, {0: 5}], [{0: 500}, {1: 5}])
    assert normally.error == pytest.approx([0.0, 2 / 100])


def test_the_present_week_is_not_compared_with_itself() -> None:
    first, second = pack(np.array([0, 1, 2, 0, 0])), pack(np.array([0, 30, 40, 0, 0]))
    making = Making().plus({5: first}, 0)
    assert making.before(LAYOUT, [5], 0) is None
    making = making.plus({5: second}, 1).plus({5: second}, 1)
    assert making.before(LAYOUT, [5], 1) == {5: Known(1, 3, first)}
    assert making.before(LAYOUT, [5], 2) == {5: Known(2, 143, pack(np.array([0, 61, 82, 0, 0])))}
    assert making.before(LAYOUT, [5, 6], 2) is None
    assert making.before(LAYOUT, [], 2) is None


def test_weeks_are_counted_from_the_beginning() -> None:
    since = 3.5 * HOUR
    times = [0.0, since, 3 * HOUR + SPAN / 2 - 1, 3 * HOUR + SPAN / 2, 3 * HOUR + SPAN]
    assert [week(since, each) for each in times] == [0, 0, 0, 1, 2]


def test_counts_that_are_too_large_are_given_up(rng: np.random.Generator) -> None:
    cells = pack(rng.integers(0, 2**62, size=MOST_BYTES // 16))
    making = Making().plus({1: cells}, 0)
    assert not making.too_large
    making = making.plus({2: cells}, 0).plus({3: cells}, 0)
    assert making == Making(too_large=True)


@pytest.mark.parametrize(("once", "known"), [(10, True), (20, False)])
def test_nearly_all_rows_must_be_of_hours_seen_twice(once: int, known: bool) -> None:
    each, other = pack(np.array([0, 0, 45, 0, 0])), pack(np.array([0, 0, once, 0, 0]))
    making = Making().plus({1: each, 2: other}, 0).plus({1: each}, 1)
    season = {1: Known(2, 90, pack(np.array([0, 0, 90, 0, 0]))), 2: Known(1, once, other)}
    assert making.whole(LAYOUT, 90 + once) == (season if known else None)
    assert Making().whole(LAYOUT, 0) is None


class Swings:
    """Windows of an hour of two columns: the level of x swings by the hour, y does not."""

    def __init__(self, rng: np.random.Generator, rows: int = 500) -> None:
        self.rng = rng
        self.rows = rows
        self.columns: list[Column] = [worlds.numeric("x", rng, rows=10_000), worlds.numeric("y", rng, rows=10_000)]
        self.layout = Layout(self.columns)
        self.number = 0

    def window(self, moved: float = 0.0) -> Bucket:
        shifts = (0.6 * math.sin(2 * math.pi * self.number / 24), moved)
        drawn = [
            worlds.draw(column, self.rng, self.rows, shift=shift)
            for column, shift in zip(self.columns, shifts, strict=True)
        ]
        opened, self.number = self.number * HOUR, self.number + 1
        return Bucket(1, self.rows, opened, opened + HOUR, [*chain.from_iterable(drawn)], {hour(opened): self.rows})

    def learned(self, windows: int, **more: Any) -> Baseline:
        learned = baselines.from_serving(self.layout, 0.0)
        for _ in range(windows):
            window = self.window()
            by_hour = {each: pack(np.array(window.cells)) for each in window.hours}
            learned = baselines.learn(learned, self.layout, window, **{"of": 100, "by_hour": by_hour, **more})
        return learned


@pytest.mark.parametrize(("windows", "complete"), [(335, False), (336, True)])
def test_a_baseline_takes_its_period_and_then_knows_the_season(
    rng: np.random.Generator, windows: int, complete: bool
) -> None:
    learned = Swings(rng).learned(windows, period=SPAN)
    assert learned.complete is complete
    assert (learned.season is not None) is complete
    if learned.season:
        assert list(learned.season) == list(range(WEEK))
        assert np.sum([unpack(known.packed) for known in learned.season.values()], axis=0).tolist() == learned.cells
        assert learned.making == Making()


def test_what_the_season_leaves_is_all_that_wavers(rng: np.random.Generator) -> None:
    """Neighbouring hours differ by the swing; beyond what the week before showed they differ by chance."""
    learned = Swings(rng).learned(335, period=SPAN)
    plain, left = learned.served[2], learned.making.differences[2]
    assert max(plain.squares) / plain.pairs > 20
    telling = np.array(left.told) > 0
    assert (np.array(left.squares) / left.pairs)[telling] == pytest.approx(1.0, abs=0.6)


def test_a_season_is_survived_by_the_checkpoint(rng: np.random.Generator) -> None:
    for windows in (200, 336):
        checkpoint = Checkpoint(baseline=Swings(rng).learned(windows, period=SPAN))
        assert decode({"metadata": {"name": "x"}, "binaryData": encode(checkpoint)}) == checkpoint


def test_what_came_after_a_season_is_of_other_hours_than_all_of_it(rng: np.random.Generator) -> None:
    swings = Swings(rng)
    learned = swings.learned(336, period=SPAN)
    assert baselines.look_back(learned, swings.layout, (swings.window(),)) == learned


def test_small_changes_are_seen_through_the_swing(rng: np.random.Generator) -> None:
    """Of the column that swings, and of the other: with the season taken out either is as still."""
    swings = Swings(rng)
    learned = swings.learned(336, period=SPAN)
    scan = Scan(swings.layout, baselines.normal(learned, swings.layout), drift_looks=10_000, fault_looks=10_000)
    plain = Normal(scan.normal.cells, Dispersion(swings.layout))
    without = Scan(swings.layout, plain, drift_looks=10_000, fault_looks=10_000)
    history: History = ()
    alarms = 0
    for _ in range(WEEK):
        history = push(history, swings.window())
        assert scan.peaks(scan.statistics(stretches(history), hours(history), crowds(history))) == []
        alarms += bool(without.peaks(without.statistics(stretches(history))))
    assert alarms > WEEK / 2
    for _ in range(16):
        history = push(history, swings.window(moved=0.25))
    found = scan.peaks(scan.statistics(stretches(history), hours(history), crowds(history)))
    assert {peak.column for peak in found} == {1}
    assert history[found[0].stretch].opened >= (swings.number - 24) * HOUR


@pytest.mark.parametrize(
    ("baseline", "period", "said"),
    [
        (Baseline("Serving", 0.0, closed=3 * 86_400.0), 300.0, "covers 3.0 of the 14 days"),
        (Baseline("Serving", 0.0, closed=SPAN, making=Making(too_large=True)), 300.0, "more than the 512 KiB"),
        (Baseline("Serving", 0.0, closed=SPAN, complete=True), 300.0, "less than 90% of the baseline's rows"),
        (Baseline("Serving", 0.0, closed=86_400.0), 86_400.0, "day of the week"),
        (Baseline("Training", 0.0, complete=True), 300.0, "held-out rows are not known by their hours"),
        (
            Baseline("Serving", 0.0, season={3: Known(2, 9, b""), 4: Known(1, 9, b"")}),
            300.0,
            "2 of 168 hours were seen, 1 of them in two weeks",
        ),
    ],
)
def test_the_status_says_what_is_known_of_the_season(baseline: Baseline, period: float, said: str) -> None:
    assert said in assumptions(baseline, period)[1]


SIX_HOURS = 6 * HOUR


def looks(cluster: Cluster, count: int, moved: float = 0.0) -> list[str]:
    """A look every six hours; weekends and nights are lower in x. What was found by then."""
    found: list[str] = []
    for _ in range(count):
        cluster.now += SIX_HOURS
        day, of_day = divmod(cluster.now / 86_400, 1)
        pod = cluster.pods["one"]
        pod.shift = {"x": 0.3 * math.sin(2 * math.pi * of_day) - (1.5 if day % 7 in (2, 3) else 0.0), "y": moved}
        pod.serve(600)
        cluster.reconcile()
        verdicts = [each for each in cluster.status.get("verdicts", ()) if each["state"] != "TrainServeSkew"]
        found += [f"{each['state']} {each['features'][0]['name']}" for each in verdicts]
    return sorted(set(found))


def test_nights_and_weekends_seen_twice_are_no_news_and_a_change_at_noon_is() -> None:
    cluster = Cluster(
        window={"minRows": 500, "period": "15s"}, baseline={"from": "Serving", "rows": 1000, "period": "14d"}
    )
    cluster.now = START - START % SIX_HOURS
    cluster.add_pod("one")
    assert looks(cluster, 55) == []
    assert cluster.status["baseline"]["state"] == "Learning"
    assert "of the 14 days" in cluster.status["baseline"]["assumes"][1]
    ready = next(each for each in cluster.status["conditions"] if each["type"] == "Ready")
    assert "takes at least 14d; at this rate it is whole at 2023-11-29T00:00:00Z" in ready["message"]
    assert looks(cluster, 2) == []
    assert cluster.status["baseline"]["state"] == "Complete"
    assert "28 of 168 hours were seen, 28 of them in two weeks" in cluster.status["baseline"]["assumes"][1]
    cluster.restart()
    assert looks(cluster, 30) == []
    assert looks(cluster, 3, moved=0.6) == ["Drift y"]


def test_a_baseline_of_some_days_takes_the_weekend_for_drift() -> None:
    cluster = Cluster(window={"minRows": 500, "period": "15s"}, baseline={"from": "Serving", "rows": 6000})
    cluster.now = START - START % SIX_HOURS
    cluster.add_pod("one")
    assert looks(cluster, 20) == ["Drift x"]
    assert "no season, since the baseline covers 2." in cluster.status["baseline"]["assumes"][1]
