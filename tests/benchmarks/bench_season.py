"""How often drift is found in what only comes back every day and week, and how soon where something changes beside it.

python -m tests.benchmarks season
python -m tests.benchmarks.bench_season [--windows 24000] [--streams 16] [--skip-flights]

Windows of an hour are drawn as counts (`null_streams.py`). Levels of columns, a category mix and how often values are
missing swing by the hour and differ at weekends, traffic falls to a third by night; beside that windows are alike, or
waver. Real ones are the flights out of New York City: their hours, days, airlines and destinations, through the
backtest.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import chi2

from demo import flights
from perennial.api.driftmonitor import DriftMonitorSpec
from perennial.cli.backtest.epochs import epochs
from perennial.cli.backtest.first_rows import from_first_rows
from perennial.cli.backtest.monitor import Monitor
from perennial.cli.backtest.observations import observe
from perennial.cli.backtest.replay import Replay, replay
from perennial.cli.backtest.table import Meaning, read_table
from perennial.monitoring import baseline as baselines
from perennial.monitoring import judge
from perennial.monitoring.baseline import Baseline
from perennial.monitoring.checkpoint import Checkpoint, encode
from perennial.monitoring.history import Bucket, History, crowds, hours, pushed, stretches
from perennial.monitoring.names import Identity
from perennial.monitoring.scan import Normal, Scan
from perennial.monitoring.season import SPAN
from perennial.wire.layout import SCORE, Layout
from perennial.wire.reference import Categorical
from perennial.wire.season import HOUR, WEEK, hour, pack
from tests.benchmarks.null_streams import BASELINE_ROWS, Counts, Floats, settle

KNOB = 90 * 24
"""falseAlarmEvery: 90d with windows of an hour."""
FEATURES = 20
ROWS = 1000
"""Of the busiest hour."""
SWING = 0.5
"""Standard deviations, at most, by which a column's level swings on either side."""
SHARES = np.array([0.4, 0.3, 0.15, 0.1, 0.05])
MISSING = 0.05
AT_ONCE = 8
MOST = 60
"""Windows that are waited for a change to be found."""


class Seasons(Counts):
    """Columns that swing, a text whose categories do, and traffic by the hour."""

    def __init__(self, rng: np.random.Generator, kind: str, swing: float) -> None:
        super().__init__(rng, FEATURES, kind)
        self._numbers = self.layout
        many = len(self.layout.columns)
        text = Categorical("kind", list("abcde"), [*(SHARES * BASELINE_ROWS).astype(int).tolist(), 0, 0, 0])
        self.layout = Layout([*self.layout.columns, text])
        self._swing = swing * rng.random(many + 1)
        self._weekend = swing / 2 * rng.normal(size=many + 1)
        self._phase = 24 * rng.random(many + 1)
        self._moved: tuple[int, float] = (0, 0.0)
        self.hour = 0

    def move(self, column: int, by: float) -> None:
        self._moved = (column, by)

    def window(self) -> Bucket:
        """The next hour."""
        rows = max(int(self.rng.poisson(ROWS * self._traffic)), 10)
        (numbers,) = self.windows(rows, 1)
        leaning = np.exp(self._season[-1] * np.linspace(-1, 1, len(SHARES)))
        missing = int(self.rng.binomial(rows, MISSING * np.exp(self._season[-1])))
        text = self.rng.multinomial(rows - missing, SHARES * leaning / (SHARES @ leaning))
        opened, self.hour = HOUR * self.hour, self.hour + 1
        cells = [*numbers.tolist(), *text.tolist(), 0, 0, missing]
        return Bucket(1, rows, opened, opened + HOUR, cells, {hour(opened): rows})

    def _means_of(self, windows: int) -> Floats:
        means = super()._means_of(windows) + self._season[:-1]
        column, by = self._moved
        means[:, column] += by
        return means

    @property
    def _season(self) -> Floats:
        swings = self._swing * np.sin(2 * np.pi * (self.hour - self._phase) / 24)
        season: Floats = swings / 2 + self._weekend if self._is_weekend else swings
        return season

    @property
    def _traffic(self) -> float:
        by_day = 0.3 + 0.7 * max(np.sin(np.pi * (self.hour % 24 - 5) / 16), 0.0)
        return float(by_day * (0.6 if self._is_weekend else 1.0))

    @property
    def _is_weekend(self) -> bool:
        """Unix time began on a Thursday."""
        return self.hour % WEEK // 24 in (2, 3)


@dataclass(frozen=True)
class Kind:
    """What windows are, and what the baseline has: a `season`, or a `period` in seconds without one."""

    windows: str
    swing: float
    season: bool
    period: float

    @property
    def baseline(self) -> str:
        if self.season:
            return "14 days, by hour"
        return "14 days, no hours" if self.period else "10,000 rows"


def learned(drawn: Seasons, kind: Kind) -> Baseline:
    baseline = baselines.from_serving(drawn.layout, since=0.0)
    while not baseline.complete:
        window = drawn.window()
        by_hour = {each: pack(np.array(window.cells)) for each in window.hours} if kind.season else None
        baseline = baselines.learn(
            baseline, drawn.layout, window, of=BASELINE_ROWS, by_hour=by_hour, period=kind.period
        )
    return baseline


def scan_with(layout: Layout, normal: Normal) -> Scan:
    return Scan(layout, normal, drift_looks=KNOB / judge.DRIFT_SHARE, fault_looks=KNOB / judge.FAULT_SHARE)


def stream(kind: Kind, windows: int, seed: int) -> tuple[int, dict[float, list[int]]]:
    """How many alarms there are in so many windows, each of which begins the history anew; then after how many windows
    shifts of a column were found, more than MOST if they were not."""
    drawn = Seasons(np.random.default_rng([7100, seed]), kind.windows, kind.swing)
    baseline = learned(drawn, kind)
    history: History = ()
    found = 0
    for number in range(windows):
        if number % AT_ONCE == 0:
            normal = baselines.normal(baseline, drawn.layout)
            scan = scan_with(drawn.layout, normal)
        history, pairs = pushed(history, drawn.window())
        if scan.excess(scan.statistics(stretches(history), hours(history), crowds(history))) > 1:
            history, found = (), found + 1
        else:
            baseline = baselines.compare(baseline, drawn.layout, pairs, normal)
            baseline = baselines.look_back(baseline, drawn.layout, history)
    return found, {by: [_delay(drawn, scan, by, 16 + 7 * each) for each in range(3)] for by in (0.2, 0.5)}


def _delay(drawn: Seasons, scan: Scan, by: float, before: int) -> int:
    history: History = ()
    for number in range(before + MOST):
        drawn.move(0, by if number >= before else 0.0)
        history = pushed(history, drawn.window())[0]
        peaks = scan.peaks(scan.statistics(stretches(history), hours(history), crowds(history)))
        if number >= before and any(peak.column == 0 for peak in peaks):
            return number - before + 1
    return MOST + 1


WAVERING = ("alike", "overdispersed", "dependent, 0.8")
KINDS = (
    *(Kind(windows, SWING, True, SPAN) for windows in WAVERING),
    Kind("alike", SWING, False, 0.0),
    Kind("alike", SWING, False, SPAN),
    *(Kind(windows, 0.0, False, SPAN) for windows in WAVERING),
)


def streams(windows: int, count: int, processes: int) -> None:
    print(
        f"\nWindows of an hour, {ROWS:,} rows at the busiest, {FEATURES} features, joint columns, a text, the score: "
        f"{1000 / KNOB:.2f} false alarms per 1,000 windows are allowed, "
        f"{judge.DRIFT_SHARE + judge.FAULT_SHARE:.0%} of them to the scan"
    )
    print("| windows are | swing, sd | baseline | windows | alarms | per 1,000 | at most (95%) | +0.2 sd | +0.5 sd |")
    print("| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for kind in KINDS:
        with ProcessPoolExecutor(processes, initializer=settle) as pool:
            made = list(pool.map(stream, *zip(*((kind, windows // count, seed) for seed in range(count)), strict=True)))
        alarms = sum(found for found, _ in made)
        most = float(chi2.ppf(0.95, 2 * alarms + 2) / 2)
        waits = [_summary([each for _, delays in made for each in delays[by]]) for by in (0.2, 0.5)]
        print(
            f"| {kind.windows} | {kind.swing:g} | {kind.baseline} | {windows:,} | {alarms} "
            f"| {1000 * alarms / windows:.2f} | {1000 * most / windows:.2f} | {waits[0]} | {waits[1]} |",
            flush=True,
        )


def _summary(delays: list[int]) -> str:
    missed = float(np.mean(np.array(delays) > MOST))
    return f"{np.median(delays):g}" + (f" ({missed:.0%} never)" if missed else "")


def costs() -> None:
    """Of a window of the scan, and of the checkpoint."""
    print("\n| baseline | a window is judged in, ms | checkpoint, KiB | encoded in, ms |")
    print("| --- | ---: | ---: | ---: |")
    for kind in (Kind("alike", SWING, True, SPAN), Kind("alike", SWING, False, SPAN)):
        drawn = Seasons(np.random.default_rng(7200), kind.windows, kind.swing)
        baseline = learned(drawn, kind)
        history: History = ()
        spent = []
        for _ in range(48):
            history = pushed(history, drawn.window())[0]
            began = time.perf_counter()
            scan = scan_with(drawn.layout, baselines.normal(baseline, drawn.layout))
            scan.excess(scan.statistics(stretches(history), hours(history), crowds(history)))
            spent.append(time.perf_counter() - began)
        checkpoint = Checkpoint(baseline=baseline, history=history)
        began = time.perf_counter()
        stored = encode(checkpoint)
        encoded = time.perf_counter() - began
        size = sum(map(len, stored.values())) * 3 / 4 / 1024
        print(f"| {kind.baseline} | {1000 * np.median(spent[-16:]):.2f} | {size:.0f} | {1000 * encoded:.1f} |")


def of_flights(until: str = "2013-04-15") -> None:
    """What would have been said of the flights of spring 2013, with and without a season."""
    columns = ["scheduled", "carrier", "origin", "dest", "distance", "hour", "weekday"]
    rows = pd.read_parquet(flights.prepared(), columns=columns)
    print(f"\nFlights from New York City up to {until}, windows of 100 rows or an hour")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "flights.parquet"
        rows[rows["scheduled"] < until].to_parquet(path, index=False)
        for baseline in ({"rows": 10_000}, {"rows": 10_000, "period": "14d"}, {"rows": 10_000, "period": "28d"}):
            _told(_replayed(str(path), baseline), baseline)


def _replayed(path: str, baseline: Mapping[str, object]) -> Replay:
    meaning = Meaning("scheduled", None, None, None)
    standard, table = from_first_rows(read_table(path, meaning, list), 5_000, meaning, ())
    spec = DriftMonitorSpec.model_validate(
        {
            "deployment": "flights",
            "baseline": baseline,
            "window": {"minRows": 100, "period": "1h"},
            "features": {"exclude": [SCORE]},
        }
    )
    monitor = Monitor(Identity("team-a", "flights", "uid"), spec, "flights")
    return replay(monitor, standard.reference, epochs(observe(table, standard, meaning, ()), standard, spec.window))


def _told(made: Replay, baseline: Mapping[str, object]) -> None:
    learned = _at(made.learned) if made.learned else "never"
    print(f"\nbaseline {dict(baseline)}: whole {learned}, {len(made.windows)} windows, {len(made.spells)} verdicts")
    for spell in made.spells:
        features = ", ".join(f"{each.name} {each.effect:.2f}" for each in spell.found.features[:3])
        over = _at(spell.over) if spell.over else "the end"
        print(f"  {spell.verdict.state:<10} {_at(spell.found.found)} to {over}: {features}")


def _at(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%a %m-%d %H:%M}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--windows", type=int, default=24_000, help="windows per row of the table")
    parser.add_argument("--streams", type=int, default=16, help="baselines, each with its own stream")
    parser.add_argument("--processes", type=int, default=2, help="that draw streams at once")
    parser.add_argument("--skip-flights", action="store_true", help="what is drawn alone")
    options = parser.parse_args()
    costs()
    if not options.skip_flights:
        of_flights()
    streams(options.windows, options.streams, options.processes)


if __name__ == "__main__":
    main()
