"""Windows as counts, in which nothing or one column's mean has changed, and when the scan alarms at them.

False alarms are rare, so many windows are needed, and counts are drawn instead of rows: a window of n rows of a
continuous column falls into the bins of a reference as a multinomial, whose probabilities are the true distribution's
between the edges; the edges are quantiles of a sample of 10,000, so that the reference's own error is in the result.
As this holds for any continuous column, joint ones included, features with 32 bins, the twelve joint columns with 16
and the score are drawn alike, between the edges that a scan cuts at: it would add up again what lies between them.

What is learned, compared and concluded is the monitor's own code. Only what it would do over and over is done once
here: windows are cut one by one and stretches are differences of cumulative counts, and what windows differ by is
learned on every few windows. The plain scan (`plain_scan.py`) learns from the same baseline and sees the same windows,
and either scan is also asked what it would say if it were told that rows are independent.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr
from threadpoolctl import threadpool_limits

from perennial.monitoring import baseline as baselines
from perennial.monitoring import judge
from perennial.monitoring.baseline import Baseline
from perennial.monitoring.dispersion import Dispersion
from perennial.monitoring.history import Bucket, History, Pair, pushed, stretches
from perennial.monitoring.scan import Normal, Scan
from perennial.runtime.trainer.joint import BINS as JOINT_BINS
from perennial.wire.layout import CutKind, Layout
from perennial.wire.reference import MAX_BINS, Numeric
from tests.benchmarks.plain_scan import LENGTHS, PlainScan

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
SCANS = ("ours", "ours, iid assumed", "plain scan", "plain scan, iid assumed")
"""That are asked of the same windows. Where iid is assumed a scan is told that windows differ by chance alone."""
SCAN_SHARE = judge.DRIFT_SHARE + judge.FAULT_SHARE
"""Of the allowance, to all that the scan looks at; the rest is for the bets on harm."""
AT_ONCE = 16
KEPT = 80
"""Windows: more than the longest stretch has."""
IN_CACHE = 16_384
"""Statistics at a time, so that what they are made of stays in the processor's cache."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Counted = TypeVar("Counted", Ints, Floats)


class Counts:
    """Columns of a standard normal distribution, binned by a sample of it; windows as counts."""

    def __init__(self, rng: np.random.Generator, features: int, kind: str) -> None:
        self.rng = rng
        self.kind = kind
        columns = [_column(rng, bins) for bins in [*[MAX_BINS] * features, *[JOINT_BINS] * JOINT_COLUMNS, MAX_BINS]]
        self.layout = Layout(columns)
        self._edges = np.array([column.edges for column in columns])
        self._means = rng.normal(size=len(columns)) * SPREAD
        self.shift = 0.0
        """Standard deviations by which the first column's mean is off."""

    def windows(self, n: int, count: int) -> Ints:
        """The cells of so many windows of n rows."""
        means = self._means_of(count)
        means[:, 0] += self.shift
        below = ndtr(self._edges - means[:, :, None])
        shares = np.diff(below, axis=2, prepend=0.0, append=1.0)
        counts = self.rng.multinomial(n, shares)
        missing = np.zeros((*counts.shape[:2], 1), np.int64)
        return np.concatenate([counts, missing], axis=2).reshape(count, -1)

    def _means_of(self, windows: int) -> Floats:
        fresh = self.rng.normal(size=(windows, len(self._edges))) * SPREAD
        persistence = KINDS[self.kind]
        if persistence is None:
            return fresh * 0.0
        for means in fresh:
            means *= np.sqrt(1 - persistence**2)
            means += persistence * self._means
            self._means = means.copy()
        return fresh


def _column(rng: np.random.Generator, bins: int) -> Numeric:
    """A column of a reference, with those of its edges that are cut at."""
    values = np.sort(rng.normal(size=REFERENCE_ROWS))
    ranks = np.append(np.arange(bins) * REFERENCE_ROWS // bins, REFERENCE_ROWS)
    edges = np.append(values[ranks[:-1]], np.nextafter(values[-1], np.inf))
    whole = Numeric("column", edges.tolist(), [0, *np.diff(ranks).tolist(), 0, 0])
    cut = [cut.last - 1 for cut in Layout([whole]).cuts if cut.kind is CutKind.VALUE]
    return Numeric("column", edges[cut].tolist(), [0, *np.diff(ranks[cut]).tolist(), 0, 0])


class Summed:
    """Windows as cumulative counts of their cells and cuts, by the window's number; old ones are forgotten."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._first = 0
        self._cells = np.zeros((1, layout.cells), dtype=np.int64)
        self._inside = np.zeros((1, len(layout.cuts)))
        self._n = np.zeros((1, len(layout.cuts)))

    def add(self, windows: Ints) -> None:
        inside, n = self._layout.cut_counts(windows)
        self._first += max(len(self._cells) - KEPT, 0)
        self._cells = _onward(self._cells, windows)
        self._inside = _onward(self._inside, inside)
        self._n = _onward(self._n, n)

    def cells(self, bucket: Bucket) -> Ints:
        cells: Ints = self._cells[int(bucket.closed) - self._first] - self._cells[int(bucket.opened) - self._first]
        return cells

    def cut_counts(self, begins: Ints, ends: Ints) -> tuple[Floats, Floats]:
        """Of stretches that begin and end with windows of these numbers."""
        begins, ends = begins - self._first, ends - self._first
        return self._inside[ends] - self._inside[begins], self._n[ends] - self._n[begins]


def _onward(summed: Counted, windows: Counted) -> Counted:
    return np.concatenate([summed[-KEPT:], summed[-1] + windows.cumsum(axis=0)])


@dataclass
class Alarms:
    """By each knob. An alarm is counted once: of the windows until then no later one is."""

    found: Ints
    since: Ints

    @classmethod
    def none(cls, knobs: Sequence[float]) -> Alarms:
        return cls(np.zeros(len(knobs), dtype=np.int64), np.zeros(len(knobs), dtype=np.int64))

    def add(self, beyond: Bools, begins: Ints, ends: Ints) -> None:
        """Of stretches in the order of their ends, which lie `beyond` their bounds or not [knobs, stretches]."""
        for knob, alarming in enumerate(beyond):
            for place in np.flatnonzero(alarming):
                if begins[place] >= self.since[knob]:
                    self.found[knob], self.since[knob] = self.found[knob] + 1, ends[place]


def alarms(drawn: Counts, n: int, count: int, knobs: Sequence[float], *, alone: bool = False) -> Ints:
    """How many alarms there are by each scan and knob, the windows that are allowed per false alarm, the greatest
    first: shape (scans, knobs). `alone` asks this project's scan only, the first.

    The baseline is from serving, as is the default. What windows differ by is learned on where the first knob does not
    alarm.
    """
    layout = drawn.layout
    baseline, learned = _learned(drawn, n)
    normal = baselines.normal(baseline, layout)
    bounds = np.array([_scan(layout, normal, knob).bounds for knob in knobs])
    told_iid = _scan(layout, Normal(normal.cells, Dispersion(layout)), knobs[0])
    plain = plain_scan(layout, learned)
    found = [Alarms.none(knobs) for _ in (SCANS[:1] if alone else SCANS)]
    history: History = ()
    summed = Summed(layout)
    for windows in _at_once(count):
        if windows.start % AT_ONCE == 0:
            summed.add(drawn.windows(n, min(AT_ONCE, count - windows.start)))
        steps = _walk(history, windows, n)
        history = steps[-1][0]
        begins, ends = _stretches(steps)
        beyond = _beyond(_scan(layout, normal, knobs[0]), summed, begins, ends, n, bounds)
        found[0].add(beyond, begins, ends)
        if not alone:
            found[1].add(_beyond(told_iid, summed, begins, ends, n, bounds), begins, ends)
            _ask_plain(plain, layout, summed, windows, knobs, found[2:])
        quiet = [pairs for newest, pairs in steps if int(newest[0].closed) not in ends[beyond[0]]]
        merged = [(_filled(older, summed), _filled(newer, summed)) for pairs in quiet for older, newer in pairs]
        baseline = baselines.compare(baseline, layout, merged, normal)
        if not beyond[0].any():
            baseline = baselines.look_back(baseline, layout, tuple(_filled(bucket, summed) for bucket in history))
        normal = baselines.normal(baseline, layout)
    return np.array([each.found for each in found])


def _at_once(count: int) -> Iterator[range]:
    """Windows after which is learned: sixteen at a time, of the first ones as many as there were before, since all of
    them are looked back on then."""
    at = 0
    while at < count:
        windows = range(at, min(at + min(max(at, 1), AT_ONCE), count))
        yield windows
        at = windows.stop


def plain_scan(layout: Layout, chunks: Ints) -> PlainScan:
    """Of a reference in chunks of shape (chunks, cells), at the cuts that it knows of: none in part."""
    inside, n = layout.cut_counts(chunks)
    plain = ~layout.is_whole
    return PlainScan(inside[:, plain], n[:, plain], layout.column[plain])


def _ask_plain(
    scan: PlainScan, layout: Layout, summed: Summed, windows: range, knobs: Sequence[float], found: Sequence[Alarms]
) -> None:
    """What the plain scan says at these windows, by what it knows of overdispersion and told that there is none."""
    stretches = [(end - length, end) for end in range(windows.start + 1, windows.stop + 1) for length in LENGTHS]
    begins, ends = np.array([each for each in stretches if each[0] >= 0]).T
    inside, n = summed.cut_counts(begins, ends)
    statistics = scan.statistics(inside[:, ~layout.is_whole], n[:, ~layout.is_whole])
    bounds = np.array([scan.bounds(knob / SCAN_SHARE) for knob in knobs])
    for alarms_of, each in zip(found, bounds.swapaxes(0, 1), strict=True):
        alarms_of.add((statistics > each[:, None]).any(axis=2), begins, ends)


def until_found(drawn: Counts, n: int, *, shift: float, before: int, most: int, knob: float) -> float:
    """How many windows it takes to find a shift that comes so many windows after a baseline from serving: infinite
    where it is not found in `most` windows, and NaN if something was said before."""
    baseline, _ = _learned(drawn, n)
    history: History = ()
    for window in range(before + most):
        drawn.shift = 0.0 if window < before else shift
        (cells,) = drawn.windows(n, 1)
        history, pairs = pushed(history, Bucket(1, n, float(window), float(window + 1), cells.tolist()))
        normal = baselines.normal(baseline, drawn.layout)
        scan = _scan(drawn.layout, normal, knob)
        if scan.excess(scan.statistics(stretches(history))) > 1.0:
            return window + 1 - before if window >= before else np.nan
        baseline = baselines.compare(baseline, drawn.layout, pairs, normal)
        baseline = baselines.look_back(baseline, drawn.layout, history)
    return np.inf


def _scan(layout: Layout, normal: Normal, knob: float) -> Scan:
    return Scan(layout, normal, drift_looks=knob / judge.DRIFT_SHARE, fault_looks=knob / judge.FAULT_SHARE)


def _walk(history: History, windows: range, n: int) -> list[tuple[History, list[Pair]]]:
    """The history after each window and the pairs that it merged. Buckets hold no cells, but begin and end with windows
    of these numbers."""
    steps = []
    for window in windows:
        history, pairs = pushed(history, Bucket(1, n, float(window), float(window + 1), []))
        steps.append((history, pairs))
    return steps


def _stretches(steps: list[tuple[History, list[Pair]]]) -> tuple[Ints, Ints]:
    """With which windows the stretches that are looked at begin, and end, step by step."""
    begins = [int(bucket.opened) for history, _ in steps for bucket in history]
    ends = [int(history[0].closed) for history, _ in steps for _ in history]
    return np.array(begins), np.array(ends)


def _beyond(scan: Scan, summed: Summed, begins: Ints, ends: Ints, n: int, bounds: Floats) -> Bools:
    """Whether anything in a stretch lies beyond its bound, by each knob: shape (knobs, stretches)."""
    lengths, place = np.unique(ends - begins, return_inverse=True)
    dispersions = scan.dispersions(lengths * n)
    beyond = np.zeros((len(bounds), len(begins)), dtype=bool)
    few = max(IN_CACHE // dispersions.shape[1], 1)
    for first in range(0, len(begins), few):
        some = slice(first, first + few)
        statistics = np.abs(scan.compared(*summed.cut_counts(begins[some], ends[some]), dispersions[place[some]]))
        for knob, bound in enumerate(bounds):
            beyond[knob, some] = (statistics > bound).any(axis=1)
    return beyond


def _filled(bucket: Bucket, summed: Summed) -> Bucket:
    return msgspec.structs.replace(bucket, cells=summed.cells(bucket))


def _learned(drawn: Counts, n: int) -> tuple[Baseline, Ints]:
    """A baseline from serving, and the windows that it has learned from [windows, cells]."""
    learned = baselines.from_serving(drawn.layout, since=0.0)
    seen = []
    while not learned.complete:
        (window,) = drawn.windows(n, 1)
        seen.append(window)
        learned = baselines.learn(learned, drawn.layout, Bucket(1, n, 0.0, 0.0, window.tolist()), of=BASELINE_ROWS)
    return learned, np.array(seen)


def settle() -> None:
    """Have this process keep what it frees: half of the time went to the kernel's clearing it again. And have it
    multiply on one thread, as the operator does."""
    threadpool_limits(1)
    trim, mapped, much = -1, -3, 1 << 28
    for option in (trim, mapped):
        ctypes.CDLL(None).mallopt(option, much)
