"""What watching costs: the scan of a window, a whole look at the pods of a deployment, and a million rows from the
server's counting to a verdict, beside what others take for them.

python -m tests.benchmarks.bench_drift [--rows 1000000] [--alone]

A reference of 10,000 rows fixes 32 equal-mass bins of 20 features and the score, and 16 of twelve joint columns, as a
training run does. How often and how soon drift
is found is `bench_detection.py`'s.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TypeVar

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import ks_2samp, norm

from perennial.api.driftmonitor import DriftMonitorSpec
from perennial.monitoring import judge
from perennial.monitoring.checkpoint import Checkpoint, Judged, decode, encode
from perennial.monitoring.dispersion import Block, Contrast, Dispersion
from perennial.monitoring.history import LONGEST, Bucket, History, push, stretches
from perennial.monitoring.scan import Normal, Scan
from perennial.runtime.server.counts import slot as slots
from perennial.runtime.server.counts.epochs import Book
from perennial.runtime.server.counts.mapped import Layout as Mapped
from perennial.runtime.server.counts.mapped import open_counts
from perennial.runtime.server.counts.tally import Tally
from perennial.runtime.trainer import reference as trainer
from perennial.runtime.trainer.metrics import Judged as Answers
from perennial.wire.counts import Epoch, Epochs, Labels, ModelCounts, Take
from perennial.wire.differences import between, of_blocks
from perennial.wire.layout import Layout, reference_cells
from perennial.wire.reference import Column, Loss, Numeric, Reference
from perennial.wire.schema import Feature, Schema
from tests.benchmarks import peers_drift
from tests.benchmarks.null_streams import settle

FEATURES = 20
REFERENCE_ROWS = 10_000
BINS = [*[32] * FEATURES, *[16] * 12, 32]
"""Of the features, the joint columns and the score."""
LOOKS = 90 * 24 * 12
"""falseAlarmEvery: 90d with windows of 5 minutes."""
AT_ONCE = 256
"""Rows that a server answers at once."""
PERIOD = 300.0
CHANGED = 7
"""The feature whose mean shifts in what is served."""

Floats = NDArray[np.float64]
T = TypeVar("T")


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


def rows_to_verdict(rows: int, *, alone: bool) -> None:
    """So many rows, in one feature of which the mean is 0.2 sd higher than in as many that the reference is made of:
    counted as a server does, joint columns and the mapped file included, handed over and judged as the operator does.
    `alone` asks nobody else. Processor seconds of one thread."""
    rng = np.random.default_rng(5)
    before, served = (rng.normal(size=(rows, FEATURES)) for _ in range(2))
    served[:, CHANGED] += 0.2
    schema = Schema("regression", "y", [Feature(f"x{place}", "numeric") for place in range(FEATURES)], "value")
    spent, reference = _timed(lambda: _reference(schema, before))
    print(f"\n{rows:,} rows of {FEATURES} features to a verdict, the mean of x{CHANGED} 0.2 sd higher (target 1 CPU s)")
    with tempfile.TemporaryDirectory() as folder:
        counting, told = _timed(lambda: _counted(reference, schema, served, Path(folder)))
    stored = encode(judge.begin(Checkpoint(), Judged(reference.model), reference))
    judging, found = _timed(lambda: _verdict(stored, told))
    print(f"  ours: {counting + judging:.2f} CPU s, of which {1e3 * judging:.0f} ms to judge; {found}")
    print(f"  the reference, made once in training of {rows:,} rows, joint columns included: {spent:.1f} CPU s")
    if alone:
        return
    spent, different = _timed(lambda: _different(before, served))
    print(f"  scipy's ks_2samp of each feature: {spent:.1f} CPU s, {different} different by Bonferroni's bound")
    seconds, memory, drifted = peers_drift.evidently_cost(before, served)
    print(f"  {peers_drift.EVIDENTLY.replace('==', ' ')}: {seconds:.1f} CPU s, {memory:,} MiB; {drifted:g} drifted")


def _reference(schema: Schema, rows: Floats) -> Reference:
    table = pd.DataFrame(rows, columns=[feature.name for feature in schema.features])
    answers = rows[:, 0] + rows[:, CHANGED]
    truth = answers + np.random.default_rng(6).normal(size=len(rows))
    held = trainer.HeldOut(table, table, Answers(truth, answers), timed=True)
    return trainer.build(schema, held, "a" * 64)


def _counted(reference: Reference, schema: Schema, rows: Floats, folder: Path) -> bytes:
    """The answer of a pod that has counted these rows, as its control port gives it."""
    tally = Tally(reference, schema)
    mapped = open_counts(folder, Mapped(FEATURES, 0, tally.cells), reference.model)
    slot = slots.claim(mapped, tally)

    def read() -> NDArray[np.int64]:
        slot.flush()
        return slots.snapshot_all(mapped)

    clock = count(1_000_000.0, PERIOD)
    book = Book(mapped, read, clock.__next__)
    for at in range(0, len(rows), AT_ONCE):
        block = rows[at : at + AT_ONCE]
        slot.add(block, None, block[:, 0] + block[:, CHANGED])
    return msgspec.json.encode(book.take(Take()))


def _verdict(stored: dict[str, str], told: bytes) -> str:
    """What the operator says of a pod's answer, with what it has to write about it."""
    spec = DriftMonitorSpec.model_validate({"deployment": "x", "baseline": {"from": "Training"}})
    checkpoint = decode({"metadata": {"name": "x"}, "binaryData": stored})
    answer = msgspec.json.decode(told, type=Epochs)
    judged = judge.advance(checkpoint, spec, {"pod": answer}, now=answer.epochs[-1].closed)
    encode(judged)
    return "; ".join(f"{each.state} of {each.features[0].name}" for each in judged.triage.verdicts) or "nothing found"


def _different(before: Floats, now: Floats) -> int:
    """In how many features Kolmogorov and Smirnov's test finds a difference."""
    columns = zip(before.T, now.T, strict=True)
    return sum(bool(ks_2samp(*each).pvalue < 0.05 / FEATURES) for each in columns)


def _timed(work: Callable[[], T]) -> tuple[float, T]:
    started = time.process_time()
    done = work()
    return time.process_time() - started, done


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=1_000_000, help="of which a verdict is reached")
    parser.add_argument("--alone", action="store_true", help="do not ask others about these rows")
    arguments = parser.parse_args()
    settle()
    cost()
    look_cost()
    rows_to_verdict(arguments.rows, alone=arguments.alone)


if __name__ == "__main__":
    main()
