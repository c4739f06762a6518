"""How often drift is found where there is none, and how soon where there is, beside the rules that others use.

python -m tests.benchmarks.bench_detection [peers] [delays] [starts] [false-alarms] [--windows 90000] [--quick]

The plain scan (`plain_scan.py`), of which this project's is an extension, sees every window that this one does, at the
same allowance; both are also asked what they would say if they were told that rows are independent.

False alarms are counted over many windows, of which only the counts are drawn (`null_streams.py`), by the default
allowance and by a larger one, which shows far more precisely whether it is kept. What others use needs rows; it is
asked of fewer windows.

Delays are of rows, counted by the server's tally and judged from epochs to verdicts; the peers see the same windows.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice, product

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import chi2

from perennial.monitoring.history import STRETCHES
from tests.benchmarks import peers_drift
from tests.benchmarks.changed_streams import Asked, Delays
from tests.benchmarks.drift_world import FEATURES, REFERENCE_ROWS, Change, Found, draw
from tests.benchmarks.null_streams import (
    JOINT_COLUMNS,
    KINDS,
    SCAN_SHARE,
    SCANS,
    Counts,
    alarms,
    settle,
    until_found,
)

Ints = NDArray[np.int64]

KNOBS = (90 * 24 * 12, 1000)
"""Windows allowed per false alarm: falseAlarmEvery 90d with windows of 5 minutes, the default, and one at which as many
windows as these hold enough alarms to tell a scan that keeps to its allowance from one that does not."""
WIDEST = max(map(len, SCANS))
"""Of the scans' names."""


@dataclass(frozen=True)
class Stream:
    """Windows of one kind against a reference of its own."""

    features: int
    kind: str
    n: int
    windows: int
    seed: int
    alone: bool = False

    def counts(self) -> Counts:
        return Counts(np.random.default_rng([7000, self.features, self.n, self.seed]), self.features, self.kind)

    def alarms(self) -> Ints:
        """By each of SCANS, or the first of them, and of KNOBS."""
        return alarms(self.counts(), self.n, self.windows, KNOBS, alone=self.alone)


@dataclass(frozen=True)
class Null:
    """Rows of the table of false alarms: of windows with nothing changed, so many a row in so many streams."""

    windows: int
    streams: int
    features: Sequence[int]
    kinds: Sequence[str]
    sizes: Sequence[int]
    alone: bool

    @property
    def rows(self) -> list[tuple[int, str, int]]:
        return [*product(self.features, self.kinds, self.sizes)]

    @property
    def drawn(self) -> list[Stream]:
        every = self.windows // self.streams
        return [Stream(*row, every, seed, self.alone) for row in self.rows for seed in range(self.streams)]


def false_alarms(null: Null, processes: int) -> None:
    scans = SCANS[:1] if null.alone else SCANS
    allowed = " or ".join(f"{1000 / knob:.3f}" for knob in KNOBS)
    print(f"\nFalse alarms per 1,000 windows with nothing changed: {allowed} are allowed, {SCAN_SHARE:.1%} to the scan")
    print("At most: the upper 95% confidence bound. Of other scans there are the alarms by either allowance")
    columns = [f"{f'{name} ({knob:,})':>16}" for knob in KNOBS for name in ("alarms", "at most")]
    columns += [f"{name:>{WIDEST}}" for name in scans[1:]]
    print(f"| {'windows are':<14} | features | {'n':>5} | {'windows':>9} | {' | '.join(columns)} |")
    print(f"| --- |{' ---: |' * (3 + len(columns))}")
    total = dict.fromkeys(null.features, np.zeros((len(scans), len(KNOBS)), dtype=np.int64))
    every = null.windows // null.streams * null.streams
    with ProcessPoolExecutor(processes, initializer=settle) as pool:
        found = pool.map(Stream.alarms, null.drawn)
        for features, kind, n in null.rows:
            counts = np.array([*islice(found, null.streams)]).sum(axis=0)
            total[features] = total[features] + counts
            _row(f"{kind:<14} | {features:>8} | {n:>5,}", every, counts)
    for features, counts in total.items():
        _row(f"{'all':<14} | {features:>8} | {'':>5}", every * len(null.rows) // len(null.features), counts)


def _row(name: str, windows: int, counts: Ints) -> None:
    """Of counts of shape (scans, knobs)."""
    columns = [f"{count:>16} | {1000 * poisson_upper(int(count)) / windows:>16.4f}" for count in counts[0]]
    columns += [f"{' / '.join(f'{count:,}' for count in each):>{WIDEST}}" for each in counts[1:]]
    print(f"| {name} | {windows:>9,} | {' | '.join(columns)} |", flush=True)


def poisson_upper(count: int) -> float:
    """The upper 95% confidence bound of a Poisson mean."""
    return float(chi2.ppf(0.95, 2 * count + 2) / 2)


def starts(baselines: int, n: int = 1000, windows: int = 64, most: int = 60) -> None:
    """What comes of a baseline of ten windows, which have shown little of how windows differ."""
    print(f"\nOf {baselines} baselines of ten windows of {n:,} rows, how many alarm in the next {windows}")
    print(f"| {'windows are':<14} | {' | '.join(f'by {knob:>6,}' for knob in KNOBS)} |")
    print("| --- | ---: | ---: |")
    for kind in KINDS:
        found = [Stream(20, kind, n, windows, 1000 + seed, alone=True).alarms()[0] for seed in range(baselines)]
        columns = [f"{count:>9}" for count in np.count_nonzero(found, axis=0)]
        print(f"| {kind:<14} | {' | '.join(columns)} |", flush=True)
    shifts, few = (0.1, 0.2, 0.5), max(baselines // 5, 1)
    print(f"\nWindows until a mean that shifts so soon is found, windows alike, median and greatest of {few}")
    print("| windows after the baseline | " + " | ".join(f"+{shift} sd" for shift in shifts) + " |")
    print("| ---: | ---: | ---: | ---: |")
    for before in (0, 10, 40):
        row = []
        for shift in shifts:
            streams = [Stream(20, "alike", n, 0, 2000 + seed).counts() for seed in range(few)]
            delay = [until_found(each, n, shift=shift, before=before, most=most, knob=KNOBS[0]) for each in streams]
            row.append(f"{np.nanmedian(delay):>4g},{np.nanmax(delay):>3g}")
        print(f"| {before:>26} | {' | '.join(row)} |", flush=True)


@dataclass(frozen=True)
class Changed:
    """A change of rows, and the columns that a right answer may name."""

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


def _outliers(column: str, share: float) -> Change:
    def change(rows: pd.DataFrame, rng: np.random.Generator) -> None:
        rows.loc[rng.random(len(rows)) < share, column] = 6.0

    return change


def _category(share: float) -> Change:
    def change(rows: pd.DataFrame, rng: np.random.Generator) -> None:
        rows.loc[(rows["kind"] == "ash") & (rng.random(len(rows)) < share), "kind"] = "oak"

    return change


def _correlation(to: float) -> Change:
    """Of x0 and x1, which are correlated at 0.7."""

    def change(rows: pd.DataFrame, _: np.random.Generator) -> None:
        own = (rows["x1"] - 0.7 * rows["x0"]) / np.sqrt(1 - 0.7**2)
        rows["x1"] = to * rows["x0"] + np.sqrt(1 - to**2) * own

    return change


def _missing(column: str, share: float) -> Change:
    def change(rows: pd.DataFrame, rng: np.random.Generator) -> None:
        rows.loc[rng.random(len(rows)) < share, column] = np.nan

    return change


NORMAL = tuple(f"x{place}" for place in range(15))
CHANGES = (
    Changed("mean +0.1 sd, one of 20", _shift("x7", by=0.1), ("x7",)),
    Changed("mean +0.2 sd, one of 20", _shift("x7", by=0.2), ("x7",)),
    Changed("mean +0.5 sd, one of 20", _shift("x7", by=0.5), ("x7",)),
    Changed("mean +0.1 sd, fifteen of 20", _shift(*NORMAL, by=0.1), NORMAL),
    Changed("sd x 1.1, one of 20", _scale("x7", by=1.1), ("x7",)),
    Changed("sd x 1.2, one of 20", _scale("x7", by=1.2), ("x7",)),
    Changed("1% far out in the tail, one of 20", _outliers("x7", 0.01), ("x7",)),
    Changed("2% far out in the tail, one of 20", _outliers("x7", 0.02), ("x7",)),
    Changed("a category 40% -> 36%", _category(0.1), ("kind",)),
    Changed("a category 40% -> 28%", _category(0.3), ("kind",)),
    Changed("a correlation 0.7 -> 0.5", _correlation(0.5), ("x0", "x1")),
    Changed("a correlation 0.7 -> 0", _correlation(0.0), ("x0", "x1")),
    Changed("a correlation 0.7 -> -0.7", _correlation(-0.7), ("x0", "x1")),
    Changed("2% missing, one of 20", _missing("x7", 0.02), ("x7",)),
    Changed("5% missing, one of 20", _missing("x7", 0.05), ("x7",)),
)


def _delays_of(seed: int, wanted: Delays) -> list[list[Found | None]]:
    """By change and scan; what comes before the change is one for all."""
    asked = Asked(seed, wanted)
    return [asked.until_found(changed.change) for changed in CHANGES]


def delays(wanted: Delays, processes: int) -> None:
    print(f"\nWindows of {wanted.n:,} rows until something is said, one false alarm allowed every {wanted.every}")
    print(f"Median of {wanted.streams} streams (share not found in {wanted.most})")
    scans = " | ".join(f"{scan:>{WIDEST}}" for scan in SCANS)
    print(f"| {'change':<34} | {scans} | names only what changed | beginning off by, windows |")
    print(f"| --- |{' ---: |' * (len(SCANS) + 2)}")
    with ProcessPoolExecutor(processes, initializer=settle) as pool:
        found = [*pool.map(_delays_of, range(wanted.streams), [wanted] * wanted.streams)]
    for changed, of_streams in zip(CHANGES, zip(*found, strict=True), strict=True):
        ours, *others = zip(*of_streams, strict=True)
        said = [each for each in ours if each]
        rightly = np.mean([_rightly(each, changed) for each in said]) if said else 0.0
        off = np.median([abs(each.off) for each in said]) if said else np.nan
        columns = " | ".join(f"{_summary(each):>{WIDEST}}" for each in (ours, *others))
        print(f"| {changed.name:<34} | {columns} | {rightly:>23.0%} | {off:>25.3g} |", flush=True)


def _rightly(found: Found, changed: Changed) -> bool:
    """The score follows what it is made of, a component what it weighs; anything else must have changed."""
    plain = [name for name in found.named if not name.startswith("(")]
    return all(set(name.split(" * ")) & set(changed.columns) for name in plain)


def _summary(found: Sequence[Found | None]) -> str:
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


PARTS = ("peers", "delays", "starts", "false-alarms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("parts", nargs="*", help=f"what to measure: {', '.join(PARTS)}; all of it unless said")
    parser.add_argument("--windows", type=int, default=90_000, help="windows per row of the table of false alarms")
    parser.add_argument("--streams", type=int, default=20, help="references of such a row, each with its own stream")
    parser.add_argument("--changing", type=int, default=60, help="streams whose delays are measured")
    parser.add_argument("--every", default="90d", help="what the delays allow one false alarm in (falseAlarmEvery)")
    parser.add_argument("--before", type=int, default=8, help="windows, or up to 7 more, before what is delayed")
    parser.add_argument("--features", type=int, nargs="*", default=[20, 200], help="columns of the false alarms' table")
    parser.add_argument("--kinds", nargs="*", default=list(KINDS), choices=KINDS, help="of windows in its rows")
    parser.add_argument("--sizes", type=int, nargs="*", default=[200, 500, 1000], help="rows of a window in its rows")
    parser.add_argument("--alone", action="store_true", help="count this project's false alarms only")
    parser.add_argument("--processes", type=int, default=2, help="that count false alarms and delays at once")
    parser.add_argument("--quick", action="store_true", help="a tenth of it all")
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    share = 10 if arguments.quick else 1
    settle()
    print(
        f"{FEATURES} features, {JOINT_COLUMNS} joint columns and the score; {STRETCHES} stretches of up to 46 windows"
    )
    for part in arguments.parts or PARTS:
        started = time.monotonic()
        if part == "peers":
            peers(windows=200 // share, asked=max(20 // share, 1))
        elif part == "delays":
            delays(Delays(max(arguments.changing // share, 4), arguments.every, arguments.before), arguments.processes)
        elif part == "starts":
            starts(100 // share)
        else:
            null = Null(
                arguments.windows // share,
                arguments.streams,
                arguments.features,
                arguments.kinds,
                arguments.sizes,
                arguments.alone,
            )
            false_alarms(null, arguments.processes)
        print(f"\nThat took {(time.monotonic() - started) / 60:.0f} minutes", flush=True)


if __name__ == "__main__":
    main()
