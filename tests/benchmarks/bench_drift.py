"""What watching costs: the scan of a window, and a whole look at the pods of a deployment.

python -m tests.benchmarks.bench_drift

A reference of 10,000 rows fixes 32 equal-mass bins of 20 features and the score, and 16 of twelve joint columns, as a
training run does. How often and how soon drift
is found is `bench_detection.py`'s.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from perennial.api.driftmonitor import DriftMonitorSpec
from perennial.monitoring import judge
from perennial.monitoring.checkpoint import Checkpoint, Judged, decode, encode
from perennial.monitoring.dispersion import Block, Contrast, Dispersion
from perennial.monitoring.history import LONGEST, Bucket, History, push, stretches
from perennial.monitoring.scan import Normal, Scan
from perennial.wire.counts import Epoch, Epochs, Labels, ModelCounts
from perennial.wire.differences import between, of_blocks
from perennial.wire.layout import Layout, reference_cells
from perennial.wire.reference import Column, Loss, Numeric, Reference

FEATURES = 20
REFERENCE_ROWS = 10_000
BINS = [*[32] * FEATURES, *[16] * 12, 32]
"""Of the features, the joint columns and the score."""
LOOKS = 90 * 24 * 12
"""falseAlarmEvery: 90d with windows of 5 minutes."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class World:
    """A reference and the true probabilities of its cells: the edges are the quantiles of a sample, not of the
    truth."""

    columns: list[Column]
    edges: list[Floats]

    def probabilities(self) -> list[Floats]:
        return [np.append(np.diff(np.concatenate([[0.0], norm.cdf(edges), [1.0]])), 0.0) for edges in self.edges]


def world(rng: np.random.Generator) -> World:
    columns: list[Column] = []
    edges = []
    for place, bins in enumerate(BINS):
        values = np.sort(rng.normal(size=REFERENCE_ROWS))
        inner = np.quantile(values, np.linspace(0, 1, bins + 1)[1:-1])
        cuts = np.concatenate([values[:1], inner, [np.nextafter(values[-1], np.inf)]])
        counts = np.bincount(np.searchsorted(cuts, values, side="right"), minlength=len(cuts) + 2)
        columns.append(Numeric(f"column {place}", cuts.tolist(), counts.tolist()))
        edges.append(cuts)
    return World(columns, edges)


def window(rng: np.random.Generator, probabilities: list[Floats], n: int, at: int = 0) -> Bucket:
    cells = np.concatenate([rng.multinomial(n, p / p.sum()) for p in probabilities])
    return Bucket(windows=1, rows=n, opened=at, closed=at + 1, cells=cells.tolist())


def scan_of(reference: World) -> Scan:
    """Of a monitor that has seen 64 windows."""
    layout = Layout(reference.columns)
    rng = np.random.default_rng(4)
    blocks = np.array([window(rng, reference.probabilities(), 500).cells for _ in range(64)])
    return scan_with(layout, Dispersion(layout, of_blocks(layout, blocks)), reference)


def cost(repeats: int = 500) -> None:
    rng = np.random.default_rng(2)
    reference = world(rng)
    probabilities = reference.probabilities()
    scan = scan_of(reference)
    history: History = ()
    for _ in range(60):
        history = push(history, window(rng, probabilities, 500))
    summed = stretches(history)
    scanning = _median_of(repeats, lambda: scan.excess(scan.statistics(summed)))
    whole = _median_of(repeats, lambda: scan.excess(scan.statistics(stretches(push(history, window_of(history))))))
    layout = scan.layout
    blocks = np.array([window(rng, probabilities, 500).cells for _ in range(64)])
    served, known = of_blocks(layout, blocks), reference_cells(reference.columns)
    later = Block(rows=LONGEST * 500, windows=LONGEST)
    apart = between(layout, known[None], blocks[:LONGEST].sum(axis=0)[None], np.array([later.rows]))
    after = Contrast(Block(REFERENCE_ROWS, windows=None), later, apart)
    learning = _median_of(repeats, lambda: scan_with(layout, Dispersion(layout, served, after=after), reference))
    print(
        f"\nScan of {FEATURES} features, 12 joint columns and the score, {len(history)} stretches,"
        f" {len(scan.layout.cuts)} cuts (target 0.25 ms)"
    )
    print(f"  statistics {1e3 * scanning:.3f} ms a window; with the history's merging {1e3 * whole:.3f} ms")
    print(f"  what windows differ by, learned anew, and the bounds: {1e3 * learning:.3f} ms a window")


def _median_of(repeats: int, work: Callable[[], object]) -> float:
    """Seconds of the processor's time, which other load on the machine disturbs least."""
    spent = []
    for _ in range(repeats):
        started = time.process_time_ns()
        work()
        spent.append(time.process_time_ns() - started)
    return float(np.median(spent)) / 1e9


def scan_with(layout: Layout, dispersion: Dispersion, reference: World) -> Scan:
    """With the shares of the allowance that a monitor gives its scan."""
    normal = Normal(reference_cells(reference.columns), dispersion)
    return Scan(layout, normal, drift_looks=LOOKS / judge.DRIFT_SHARE, fault_looks=LOOKS / judge.FAULT_SHARE)


def look_cost(monitors: int = 1000, pods: int = 5, looks: int = 200) -> None:
    """A look as the operator does it: decode checkpoint and answers, fold, judge, encode; without HTTP and the API
    server."""
    rng = np.random.default_rng(3)
    made = world(rng)
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
            labels = Labels(loss={60 * minute: [90, 10]})
            counts = ModelCounts(100, window(rng, probabilities, 100).cells, labels)
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
    cost()
    look_cost()


if __name__ == "__main__":
    main()
