"""False alarms, delays and cost of the drift scan on simulated counts, beside the rules that others use on the same
windows.

python -m tests.benchmarks.bench_drift [--windows 30000] [--quick]

A reference of 10,000 rows fixes 32 equal-mass bins of 20 features, as a training run does; windows of n rows are drawn
from the true distribution, so that the bins' own sampling error is in the result. Every stream has its own reference.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2, ks_2samp, norm

from perennial.api.driftmonitor import DriftMonitorSpec
from perennial.monitoring import baseline as baselines
from perennial.monitoring import judge
from perennial.monitoring.checkpoint import Checkpoint, Judged, decode, encode
from perennial.monitoring.history import Bucket, History, push, stretches
from perennial.monitoring.layout import Layout, reference_cells
from perennial.monitoring.scan import Normal, Scan
from perennial.wire.counts import Epoch, Epochs, Labels, ModelCounts
from perennial.wire.reference import Column, Loss, Numeric, Reference

FEATURES = 20
REFERENCE_ROWS = 10_000
BINS = 32
LOOKS = 90 * 24 * 12
"""falseAlarmEvery: 90d with windows of 5 minutes."""

Floats = NDArray[np.float64]
Shift = Callable[[Floats], Floats]
"""From the standard normal values of the edges to where the change moves them: probabilities are the normal's at the
result."""


@dataclass(frozen=True)
class World:
    """A reference and the true probabilities of its cells: the edges are the quantiles of a sample, not of the
    truth."""

    columns: list[Column]
    edges: list[Floats]

    def probabilities(self, shift: Shift | None = None, shifted: int = 1) -> list[Floats]:
        moved = [shift(edges) if shift and i < shifted else edges for i, edges in enumerate(self.edges)]
        return [np.append(np.diff(np.concatenate([[0.0], norm.cdf(edges), [1.0]])), 0.0) for edges in moved]


def world(rng: np.random.Generator, rows: int = REFERENCE_ROWS, features: int = FEATURES) -> World:
    columns: list[Column] = []
    edges = []
    for feature in range(features):
        values = np.sort(rng.normal(size=rows))
        inner = np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1])
        cuts = np.concatenate([values[:1], inner, [np.nextafter(values[-1], np.inf)]])
        counts = np.bincount(np.searchsorted(cuts, values, side="right"), minlength=len(cuts) + 2)
        columns.append(Numeric(f"feature {feature}", cuts.tolist(), counts.tolist()))
        edges.append(cuts)
    return World(columns, edges)


def window(rng: np.random.Generator, probabilities: list[Floats], n: int, at: int = 0) -> Bucket:
    cells = np.concatenate([rng.multinomial(n, p / p.sum()) for p in probabilities])
    return Bucket(windows=1, rows=n, opened=at, closed=at + 1, cells=cells.tolist())


def scan_of(reference: World, phi: float = 1.0) -> Scan:
    layout = Layout(reference.columns)
    normal = Normal(reference_cells(reference.columns), np.full(len(layout.cuts), phi))
    return scan_with(layout, normal)


def scan_with(layout: Layout, normal: Normal, looks: float = LOOKS) -> Scan:
    """With the shares of the allowance that a monitor gives its scan."""
    return Scan(layout, normal, drift_looks=looks / judge.DRIFT_SHARE, fault_looks=looks / judge.FAULT_SHARE)


def first_alarm(scan: Scan, windows: Iterator[Bucket]) -> int | None:
    history: History = ()
    for count, bucket in enumerate(windows, start=1):
        history = push(history, bucket)
        if scan.excess(scan.statistics(stretches(history))) > 1:
            return count
    return None


def alarms(scan: Scan, windows: Iterator[Bucket]) -> int:
    """How many alarms there are when each one starts the history anew."""
    history: History = ()
    found = 0
    for bucket in windows:
        history = push(history, bucket)
        if scan.excess(scan.statistics(stretches(history))) > 1:
            found += 1
            history = ()
    return found


def poisson_upper(count: int) -> float:
    """The upper 95% confidence bound of a Poisson mean."""
    return float(chi2.ppf(0.95, 2 * count + 2) / 2)


def false_alarms(windows: int, streams: int) -> None:
    allowed = 1000 * (judge.DRIFT_SHARE + judge.FAULT_SHARE) / LOOKS
    print(
        f"\nFalse alarms with nothing changed; a monitor is allowed {1000 / LOOKS:.3f} per 1,000 windows"
        f" (one in {LOOKS:,}), its scan {allowed:.3f} of them"
    )
    print(f"{'n':>6} {'baseline':>10} {'windows':>9} {'alarms':>7} {'per 1,000':>10} {'95% at most':>12}")
    for n in (200, 500, 1000):
        for source in ("training", "serving"):
            found = sum(_null_stream(n, source, windows // streams, seed) for seed in range(streams))
            rate, most = 1000 * found / windows, 1000 * poisson_upper(found) / windows
            print(f"{n:>6} {source:>10} {windows:>9,} {found:>7} {rate:>10.3f} {most:>12.3f}", flush=True)


def _null_stream(n: int, source: str, windows: int, seed: int) -> int:
    rng = np.random.default_rng([5000, n, seed])
    reference = world(rng)
    probabilities = reference.probabilities()
    scan = scan_of(reference) if source == "training" else _from_serving(rng, reference, n)
    return alarms(scan, (window(rng, probabilities, n) for _ in range(windows)))


def _from_serving(rng: np.random.Generator, reference: World, n: int, rows: int = 10_000) -> Scan:
    layout = Layout(reference.columns)
    learned = baselines.from_serving(layout, since=0.0)
    while not learned.complete:
        bucket = window(rng, reference.probabilities(), n)
        learned = baselines.learn(learned, layout, bucket.cells, n, of=rows)
    return scan_with(layout, baselines.normal(learned, layout))


CHANGES: tuple[tuple[str, Shift, int, str], ...] = (
    ("+0.1 sd, one of 20", lambda x: x - 0.1, 1, "7.5"),
    ("+0.2 sd, one of 20", lambda x: x - 0.2, 1, "1.5"),
    ("+0.3 sd, one of 20", lambda x: x - 0.3, 1, ""),
    ("+0.1 sd, all of 20", lambda x: x - 0.1, FEATURES, ""),
    ("sd x 1.2, one of 20", lambda x: x / 1.2, 1, ""),
    ("2% far out, one of 20", lambda x: norm.ppf(np.minimum(norm.cdf(x), 1 - 1e-12) * 0.98), 1, ""),
)


def delays(streams: int, n: int = 1000, most: int = 200) -> None:
    print(
        f"\nWindows of {n} rows until an alarm, median of {streams} streams"
        f" (in brackets: share not found in {most} windows)"
    )
    print(f"{'change':<24} {'scan':>12} {'scan, phi 1.4':>16} {'design notes':>13} {'KS of one window':>18}")
    for name, shift, shifted, noted in CHANGES:
        found: dict[str, list[float]] = {"plain": [], "phi": [], "ks": []}
        for seed in range(streams):
            rng = np.random.default_rng([6000, seed])
            reference = world(rng)
            probabilities = reference.probabilities(shift, shifted)
            windows = [window(rng, probabilities, n) for _ in range(most)]
            found["plain"].append(first_alarm(scan_of(reference), iter(windows)) or np.inf)
            found["phi"].append(first_alarm(scan_of(reference, 1.4), iter(windows)) or np.inf)
            found["ks"].append(_first_ks(reference, windows) or np.inf)
        plain, phi, ks = (_summary(found[key]) for key in ("plain", "phi", "ks"))
        print(f"{name:<24} {plain:>12} {phi:>16} {noted:>13} {ks:>18}", flush=True)


def _summary(found: list[float]) -> str:
    missed = float(np.mean(np.isinf(found)))
    return f"{np.median(found):g}" + (f" ({missed:.0%})" if missed else "")


def _first_ks(reference: World, windows: list[Bucket]) -> int | None:
    """Each window alone, its Kolmogorov-Smirnov distance from the counts, at a level of one false alarm in LOOKS
    windows."""
    layout = Layout(reference.columns)
    before = reference_cells(reference.columns)
    n = windows[0].rows
    level = 1 / (LOOKS * FEATURES)
    effective = n * REFERENCE_ROWS / (n + REFERENCE_ROWS)
    critical = np.sqrt(-np.log(level / 2) / (2 * effective))
    for count, bucket in enumerate(windows, start=1):
        now = np.asarray(bucket.cells)
        for column in range(FEATURES):
            cells = layout.slice(column)
            if np.abs(np.cumsum(now[cells] / n - before[cells] / REFERENCE_ROWS)).max() > critical:
                return count
    return None


def customary(windows: int, n: int) -> None:
    """What rules in common use do on raw rows with nothing changed."""
    rng = np.random.default_rng(1)
    reference = rng.normal(size=(REFERENCE_ROWS, FEATURES))
    found = {"KS, p <= 0.05": 0, "KS with Bonferroni": 0, "largest cdf difference > 0.1": 0, "PSI of 10 bins > 0.1": 0}
    edges = np.quantile(reference, np.linspace(0, 1, 11)[1:-1], axis=0)
    for _ in range(windows):
        rows = rng.normal(size=(n, FEATURES))
        tests = [ks_2samp(reference[:, j], rows[:, j], method="asymp") for j in range(FEATURES)]
        found["KS, p <= 0.05"] += min(test.pvalue for test in tests) <= 0.05
        found["KS with Bonferroni"] += min(test.pvalue for test in tests) <= 0.05 / FEATURES
        found["largest cdf difference > 0.1"] += max(test.statistic for test in tests) > 0.1
        found["PSI of 10 bins > 0.1"] += max(_psi(rows[:, j], edges[:, j]) for j in range(FEATURES)) > 0.1
    print(f"\nCustomary rules, any of {FEATURES} features, false alarms per 1,000 windows with nothing changed, n={n}")
    for rule, count in found.items():
        print(f"  {rule:<30} {1000 * count / windows:>6.0f}")


def _psi(values: Floats, edges: Floats) -> float:
    now = np.maximum(np.bincount(np.searchsorted(edges, values), minlength=10) / len(values), 1e-4)
    return float(((now - 0.1) * np.log(now / 0.1)).sum())


def cost(repeats: int = 500) -> None:
    rng = np.random.default_rng(2)
    reference = world(rng, features=FEATURES + 1)
    probabilities = reference.probabilities()
    scan = scan_of(reference)
    history: History = ()
    for _ in range(60):
        history = push(history, window(rng, probabilities, 500))
    summed = stretches(history)
    started = time.process_time()
    for _ in range(repeats):
        scan.excess(scan.statistics(summed))
    scanning = (time.process_time() - started) / repeats
    started = time.process_time()
    for _ in range(repeats):
        scan.excess(scan.statistics(stretches(push(history, window_of(history)))))
    whole = (time.process_time() - started) / repeats
    print(
        f"\nScan of {FEATURES} features and the score, {len(history)} stretches,"
        f" {len(scan.layout.cuts)} cuts (target 0.25 ms)"
    )
    print(f"  statistics {1e3 * scanning:.3f} ms a window; with the history's merging {1e3 * whole:.3f} ms")


def look_cost(monitors: int = 1000, pods: int = 5, looks: int = 200) -> None:
    """A look as the operator does it: decode checkpoint and answers, fold, judge, encode; without HTTP and the API
    server."""
    rng = np.random.default_rng(3)
    made = world(rng, features=FEATURES + 1)
    loss = Loss([0.0, 1.0], [9000, 1000], 0.1, 0.106, 0.95)
    features, score = made.columns[:-1], made.columns[-1]
    reference = Reference("a" * 64, "classification", REFERENCE_ROWS, features, score, loss)
    spec = DriftMonitorSpec.model_validate({"deployment": "x", "baseline": {"from": "Training"}})
    stored = encode(judge.begin(Checkpoint(), Judged("a" * 64), reference))
    probabilities = made.probabilities()
    spent, largest = 0.0, 0
    for minute in range(1, looks + 1):
        answers = {}
        for pod in range(pods):
            counts = ModelCounts(100, window(rng, probabilities, 100).cells, Labels(loss=[90, 10]))
            epoch = Epoch(minute, 60.0 * minute, 60.0 * (minute + 1), {"a" * 64: counts})
            answers[str(pod)] = msgspec.json.encode(Epochs(str(pod), "a" * 64, [epoch]))
        started = time.process_time()
        checkpoint = decode({"metadata": {"name": "x"}, "binaryData": stored})
        taken = {pod: msgspec.json.decode(answer, type=Epochs) for pod, answer in answers.items()}
        stored = encode(judge.advance(checkpoint, spec, taken, now=60.0 * minute))
        spent += time.process_time() - started
        largest = max(largest, len(stored["checkpoint"]))
    each = spent / looks
    share = monitors * each / 60
    print(f"\nA look at {pods} pods of {FEATURES} features: {1e3 * each:.2f} ms; checkpoint {largest / 1e3:.0f} KB")
    print(f"  {monitors:,} monitors, a look a minute each: {share:.1%} of a core (target: 25% with all else)")


def window_of(history: History) -> Bucket:
    return history[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--windows", type=int, default=90_000, help="windows per row of the table of false alarms")
    parser.add_argument("--streams", type=int, default=30, help="references, each with its own stream")
    parser.add_argument("--quick", action="store_true", help="a tenth of it all")
    arguments = parser.parse_args()
    share = 10 if arguments.quick else 1
    cost()
    look_cost()
    delays(streams=arguments.streams if not arguments.quick else 10)
    customary(windows=200 // share, n=500)
    false_alarms(arguments.windows // share, arguments.streams // share or 1)


if __name__ == "__main__":
    main()
