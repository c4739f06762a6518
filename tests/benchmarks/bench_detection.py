"""How often drift is found where there is none, and how soon where there is, beside the rules that others use.

python -m tests.benchmarks.bench_detection [--windows 90000] [--streams 20] [--quick] [--skip-peers]

False alarms are counted over many windows, so there counts are drawn instead of rows: a window of n rows of a
continuous column falls into the bins of a reference as a multinomial, whose probabilities are the true distribution's
between the edges; the edges are quantiles of a sample of 10,000, so that the reference's own error is in the result.
As this holds for any continuous column, joint ones included, features with 32 bins, the twelve joint columns with 16
and the score are drawn alike. What others use needs rows; it is asked of fewer windows.

Delays are of rows, counted by the server's tally and judged from epochs to verdicts; the peers see the same windows.
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import product

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtr
from scipy.stats import chi2

from perennial.monitoring import baseline as baselines
from perennial.monitoring import judge
from perennial.monitoring.baseline import Baseline
from perennial.monitoring.history import STRETCHES, Bucket, History, Pair, pushed
from perennial.monitoring.scan import Scan
from perennial.runtime.trainer.joint import BINS as JOINT_BINS
from perennial.wire.layout import Layout
from perennial.wire.reference import MAX_BINS, Numeric
from tests.benchmarks import peers_drift
from tests.benchmarks.drift_world import FEATURES, Change, Found, Watched, draw

LOOKS = 90 * 24 * 12
"""falseAlarmEvery: 90d with windows of 5 minutes."""
REFERENCE_ROWS = 10_000
JOINT_COLUMNS = 12
SPREAD = 0.05
"""Standard deviation of a window's mean where windows are not alike: a dispersion of 3.4 at n = 1,000."""
KINDS: dict[str, float | None] = {
    "alike": None,
    "overdispersed": 0.0,
    "dependent, 0.3": 0.3,
    "dependent, 0.6": 0.6,
    "dependent, 0.8": 0.8,
    "dependent, 0.9": 0.9,
}
"""What windows are, and the correlation of a window's mean with the next one's; None where means do not waver."""
BASELINE_ROWS = 10_000
"""What a baseline from serving has by default, from ten windows or more."""
AT_ONCE = 16
KEPT = 80
"""Windows: more than the longest stretch has."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Counts:
    """Columns of a standard normal distribution, binned by a sample of it; windows as counts."""

    def __init__(self, rng: np.random.Generator, features: int, kind: str) -> None:
        self.rng = rng
        self.kind = kind
        bins = [*[MAX_BINS] * features, *[JOINT_BINS] * JOINT_COLUMNS, MAX_BINS]
        self.edges = [_edges(rng, count) for count in bins]
        self.layout = Layout([_column(place, edges) for place, edges in enumerate(self.edges)])
        self._means = rng.normal(size=len(bins)) * SPREAD

    def windows(self, n: int, count: int) -> Ints:
        """The cells of so many windows of n rows."""
        means = self._means_of(count)
        blocks = [self._cells(edges, means[:, place], n) for place, edges in enumerate(self.edges)]
        return np.concatenate(blocks, axis=1)

    def _cells(self, edges: Floats, means: Floats, n: int) -> Ints:
        below = ndtr(edges[None, :] - means[:, None])
        ends = np.ones((len(means), 1))
        shares = np.diff(np.concatenate([0 * ends, below, ends], axis=1))
        counts = self.rng.multinomial(n, shares / shares.sum(axis=1, keepdims=True))
        return np.concatenate([counts, np.zeros((len(means), 1), np.int64)], axis=1)

    def _means_of(self, windows: int) -> Floats:
        fresh = self.rng.normal(size=(windows, len(self.edges))) * SPREAD
        persistence = KINDS[self.kind]
        if persistence is None:
            return fresh * 0.0
        for means in fresh:
            means *= np.sqrt(1 - persistence**2)
            means += persistence * self._means
            self._means = means.copy()
        return fresh


def _edges(rng: np.random.Generator, bins: int) -> Floats:
    values = np.sort(rng.normal(size=REFERENCE_ROWS))
    return np.append(values[np.arange(bins) * REFERENCE_ROWS // bins], np.nextafter(values[-1], np.inf))


def _column(place: int, edges: Floats) -> Numeric:
    bins = len(edges) - 1
    ranks = np.append(np.arange(bins) * REFERENCE_ROWS // bins, REFERENCE_ROWS)
    return Numeric(f"column {place}", edges.tolist(), [0, *np.diff(ranks).tolist(), 0, 0])


def alarms(drawn: Counts, n: int, count: int) -> int:
    """How many alarms there are, with a baseline from serving, as is the default, when each one starts the history
    anew. The monitor learns on what windows differ by, here every few windows, which are then scanned at once."""
    baseline = _learned(drawn, n)
    history: History = ()
    found = 0
    first, summed = 0, np.zeros((1, drawn.layout.cells), np.int64)
    for at in range(0, count, AT_ONCE):
        summed = np.concatenate([summed, summed[-1] + drawn.windows(n, AT_ONCE).cumsum(axis=0)])
        normal = baselines.normal(baseline, drawn.layout)
        scan = Scan(drawn.layout, normal, drift_looks=LOOKS / judge.DRIFT_SHARE, fault_looks=LOOKS / judge.FAULT_SHARE)
        window = at
        while window < at + AT_ONCE:
            steps = _walk(history, range(window, at + AT_ONCE), n)
            alarm = _first_alarm(scan, steps, summed, first)
            taken = steps if alarm is None else steps[: alarm + 1]
            merged = [pair for _, pairs in taken for pair in pairs]
            pairs = [(_filled(older, summed, first), _filled(newer, summed, first)) for older, newer in merged]
            baseline = baselines.compare(baseline, drawn.layout, pairs, normal)
            found += alarm is not None
            history = steps[-1][0] if alarm is None else ()
            window += len(taken)
        first, summed = first + len(summed[:-KEPT]), summed[-KEPT:]
    return found


def _walk(history: History, windows: range, n: int) -> list[tuple[History, list[Pair]]]:
    """The history after each window and the pairs that it merged. Buckets hold no cells, but begin and end at places in
    cumulative counts."""
    steps = []
    for window in windows:
        history, pairs = pushed(history, Bucket(1, n, float(window), float(window + 1), []))
        steps.append((history, pairs))
    return steps


def _first_alarm(scan: Scan, steps: list[tuple[History, list[Pair]]], summed: Ints, first: int) -> int | None:
    """The first of the steps at which anything alarms."""
    begins = [[int(bucket.opened) - first for bucket in history] for history, _ in steps]
    ends = np.repeat([int(history[0].closed) - first for history, _ in steps], [len(each) for each in begins])
    statistics = scan.statistics(summed[ends] - summed[np.concatenate(begins)])
    beyond = (np.abs(statistics) > scan.bounds).any(axis=1)
    alarming = np.repeat(np.arange(len(steps)), [len(each) for each in begins])[beyond]
    return int(alarming[0]) if len(alarming) else None


def _filled(bucket: Bucket, summed: Ints, first: int) -> Bucket:
    cells = summed[int(bucket.closed) - first] - summed[int(bucket.opened) - first]
    return msgspec.structs.replace(bucket, cells=cells.tolist())


def _learned(drawn: Counts, n: int) -> Baseline:
    learned = baselines.from_serving(drawn.layout, since=0.0)
    while not learned.complete:
        (window,) = drawn.windows(n, 1)
        learned = baselines.learn(learned, drawn.layout, Bucket(1, n, 0.0, 0.0, window.tolist()), of=BASELINE_ROWS)
    return learned


def poisson_upper(count: int) -> float:
    """The upper 95% confidence bound of a Poisson mean."""
    return float(chi2.ppf(0.95, 2 * count + 2) / 2)


def false_alarms(windows: int, streams: int, features: list[int], processes: int) -> None:
    scan = judge.DRIFT_SHARE + judge.FAULT_SHARE
    print(
        f"\nFalse alarms per 1,000 windows with nothing changed: {1000 / LOOKS:.3f} are allowed, {scan:.0%} to the scan"
    )
    print(f"| {'windows are':<14} | features | {'n':>5} | {'windows':>8} | alarms | per 1,000 | at most (95%) |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for each in features:
        for kind, n in product(KINDS, (200, 500, 1000)):
            with ProcessPoolExecutor(processes) as pool:
                tasks = [(each, kind, n, windows // streams, seed) for seed in range(streams)]
                found = sum(pool.map(_null_stream, *zip(*tasks, strict=True)))
            rate, most = 1000 * found / windows, 1000 * poisson_upper(found) / windows
            row = f"| {kind:<14} | {each:>8} | {n:>5,} | {windows:>8,} | {found:>6} | {rate:>9.3f} | {most:>13.3f} |"
            print(row, flush=True)


def _null_stream(features: int, kind: str, n: int, windows: int, seed: int) -> int:
    drawn = Counts(np.random.default_rng([7000, features, n, seed]), features, kind)
    return alarms(drawn, n, windows)


@dataclass(frozen=True)
class Changed:
    """A change of rows, the columns that a right answer may name, and the delay that the design notes."""

    name: str
    change: Change
    columns: tuple[str, ...]


def _shift(*columns: str, by: float) -> Change:
    def change(rows: pd.DataFrame, _: np.random.Generator) -> None:
        rows[list(columns)] += by

    return change


def _scale(column: str, by: float) -> Change:
    def change(rows: pd.DataFrame, _: np.random.Generator) -> None:
        rows[column] *= by

    return change


def _tail(rows: pd.DataFrame, rng: np.random.Generator) -> None:
    rows.loc[rng.random(len(rows)) < 0.02, "x7"] = 6.0


def _category(rows: pd.DataFrame, rng: np.random.Generator) -> None:
    rows.loc[(rows["kind"] == "ash") & (rng.random(len(rows)) < 0.3), "kind"] = "oak"


def _flip(rows: pd.DataFrame, _: np.random.Generator) -> None:
    rows["x1"] -= 1.4 * rows["x0"]


def _loosen(rows: pd.DataFrame, rng: np.random.Generator) -> None:
    rows["x1"] = rng.normal(size=len(rows))


def _missing(rows: pd.DataFrame, rng: np.random.Generator) -> None:
    rows.loc[rng.random(len(rows)) < 0.05, "x7"] = np.nan


NORMAL = tuple(f"x{place}" for place in range(15))
CHANGES = (
    Changed("mean +0.1 sd, one of 20", _shift("x7", by=0.1), ("x7",)),
    Changed("mean +0.2 sd, one of 20", _shift("x7", by=0.2), ("x7",)),
    Changed("mean +0.5 sd, one of 20", _shift("x7", by=0.5), ("x7",)),
    Changed("mean +0.1 sd, fifteen of 20", _shift(*NORMAL, by=0.1), NORMAL),
    Changed("sd x 1.2, one of 20", _scale("x7", by=1.2), ("x7",)),
    Changed("2% far out in the tail, one of 20", _tail, ("x7",)),
    Changed("a category 40% -> 28%", _category, ("kind",)),
    Changed("a correlation 0.7 -> -0.7", _flip, ("x0", "x1")),
    Changed("a correlation 0.7 -> 0", _loosen, ("x0", "x1")),
    Changed("5% missing, one of 20", _missing, ("x7",)),
)


def delays(streams: int, n: int = 1000, most: int = 60) -> None:
    """Each stream changes after another number of windows: merged ones begin at multiples of their length."""
    print(f"\nWindows of {n:,} rows until something is said, median of {streams} streams (share not found in {most})")
    print(f"| {'change':<34} | {'delay':>12} | names only what changed | beginning off by, windows |")
    print("| --- | ---: | ---: | ---: |")
    for changed in CHANGES:
        found = [
            Watched(np.random.default_rng([8000, seed])).until_found(changed.change, n, most=most, before=8 + seed % 8)
            for seed in range(streams)
        ]
        said = [each for each in found if each]
        rightly = np.mean([_rightly(each, changed) for each in said]) if said else 0.0
        off = np.median([abs(each.off) for each in said]) if said else np.nan
        print(f"| {changed.name:<34} | {_summary(found):>12} | {rightly:>23.0%} | {off:>25.3g} |", flush=True)


def _rightly(found: Found, changed: Changed) -> bool:
    """The score follows what it is made of, a component what it weighs; anything else must have changed."""
    plain = [name for name in found.named if not name.startswith("(")]
    return all(set(name.split(" * ")) & set(changed.columns) for name in plain)


def _summary(found: list[Found | None]) -> str:
    windows = [each.windows if each else np.inf for each in found]
    missed = np.mean(np.isinf(windows))
    return f"{np.median(windows):g}" + (f" ({missed:.0%})" if missed else "")


def peers(windows: int, asked: int) -> None:
    """The rules of others on windows of rows: how many of them alarm with nothing changed, and with each change.

    Evidently takes seconds a window, so it is `asked` about that many with nothing changed, and about one of each
    change.
    """
    rng = np.random.default_rng(9000)
    reference = draw(rng, REFERENCE_ROWS).drop(columns="score")
    served: list[tuple[str, list[pd.DataFrame], int]] = [
        (f"nothing changed, n = {n:,}", [_rows(rng, n, None) for _ in range(windows)], asked) for n in (200, 500, 1000)
    ]
    for changed in CHANGES:
        rows = [_rows(rng, 1000, changed.change) for _ in range(max(windows // 10, 1))]
        served.append((f"{changed.name}, n = 1,000", rows, 1))
    told = peers_drift.evidently(reference, [each for _, rows, few in served for each in rows[:few]])
    rules = ["KS, Bonferroni", "PSI > 0.1", "PSI > 0.25", peers_drift.EVIDENTLY.replace("==", " ")]
    print("\nWindows in which a rule alarms, each window by itself, any of 20 features")
    print(f"| {'windows':<44} | {' | '.join(f'{rule:>16}' for rule in rules)} |")
    print(f"| --- |{' ---: |' * len(rules)}")
    for name, rows, few in served:
        largest = np.array([peers_drift.psi(reference, each) for each in rows])
        shares = [
            np.mean([peers_drift.ks_bonferroni(reference, each) for each in rows]),
            np.mean(largest > 0.1),
            np.mean(largest > 0.25),
        ]
        answers, told = told[: len(rows[:few])], told[len(rows[:few]) :]
        columns = [*(f"{share:.1%}" for share in shares), f"{sum(answers)} of {len(answers)}"]
        print(f"| {name:<44} | {' | '.join(f'{column:>16}' for column in columns)} |", flush=True)


def _rows(rng: np.random.Generator, n: int, change: Change | None) -> pd.DataFrame:
    rows = draw(rng, n).drop(columns="score")
    if change:
        change(rows, rng)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--windows", type=int, default=90_000, help="windows per row of the table of false alarms")
    parser.add_argument("--streams", type=int, default=20, help="references, each with its own stream")
    parser.add_argument("--features", type=int, nargs="*", default=[20, 200], help="columns of the false alarms' table")
    parser.add_argument("--processes", type=int, default=2, help="that count false alarms at once")
    parser.add_argument("--only-peers", action="store_true", help="the rules of others alone")
    parser.add_argument("--quick", action="store_true", help="a tenth of it all")
    parser.add_argument("--skip-peers", action="store_true", help="ours alone, with nothing to install")
    arguments = parser.parse_args()
    share = 10 if arguments.quick else 1
    print(
        f"{FEATURES} features, {JOINT_COLUMNS} joint columns and the score; {STRETCHES} stretches of up to 46 windows"
    )
    if not arguments.skip_peers:
        peers(windows=200 // share, asked=max(20 // share, 1))
    if arguments.only_peers:
        return
    started = time.monotonic()
    delays(max(arguments.streams // share, 4))
    false_alarms(arguments.windows // share, arguments.streams, arguments.features, arguments.processes)
    print(f"\nDelays and false alarms took {(time.monotonic() - started) / 60:.0f} minutes")


if __name__ == "__main__":
    main()
