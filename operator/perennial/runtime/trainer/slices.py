"""The gates upon slices: how far a metric lies apart between the values of a column.

The largest of many differences is large by chance alone. So each pair's interval is as wide as it must be for all pairs
to hold at once (Bonferroni 1936, with the resamples' standard deviation), and a gate fails only where a whole one lies
above the largest gap that is allowed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perennial.wire.result import Gate
from perennial.wire.run import Slices

from .evidence import Evidence
from .metrics import known_as, value_of
from .replicates import LEAST_DEFINED, Interval, interval, replicates, rounded
from .resampling import CONFIDENCE, Floats

LEAST_ROWS = 30
"""A value with fewer held-out rows is reported without the metric."""
MAX_VALUES = 50
"""The values with the most rows; the others are one slice together."""
_OTHERS = "(others)"
_MISSING = "(missing)"
_FEW_NUMBERS = 20
"""A column of more different numbers is sliced by its quartiles."""


@dataclass(frozen=True, slots=True)
class Slice:
    """The rows with one value, in the form of metrics.json. `metric` is None for few rows, or where undefined."""

    value: str
    rows: int
    metric: float | None
    interval: Interval | None


@dataclass(frozen=True, slots=True)
class SlicesReport:
    """Every slice of a column, most rows first."""

    column: str
    metric: str
    slices: list[Slice]


@dataclass(frozen=True, slots=True)
class _Told:
    """A slice that has the metric, and what it is in each resample."""

    value: str
    metric: float
    draws: Floats


def judge_slices(rule: Slices, evidence: Evidence) -> tuple[SlicesReport, Gate]:
    """All slices of the column, and the gate upon the largest difference between two of them."""
    reported, told = [], []
    values = evidence.slices.get(rule.column)
    for value, chosen in () if values is None else parts(values):
        one, draws = _slice(value, chosen, rule, evidence)
        reported.append(one)
        if one.metric is not None and draws is not None:
            told.append(_Told(value, one.metric, draws))
    return SlicesReport(rule.column, rule.metric, reported), _gate(rule, told)


def parts(values: NDArray[Any]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Rows by value, most rows first. `values` [rows] are texts (empty: missing) or float64 (NaN: missing)."""
    texts = values if values.dtype == object else _worded(values)
    distinct, codes, counts = np.unique(texts.astype(str), return_inverse=True, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    for code in order[:MAX_VALUES]:
        yield str(distinct[code]) or _MISSING, codes == code
    if len(order) > MAX_VALUES:
        yield _OTHERS, np.isin(codes, order[MAX_VALUES:])


def _worded(numbers: Floats) -> NDArray[np.object_]:
    there = ~np.isnan(numbers)
    distinct = np.unique(numbers[there])
    texts = np.full(len(numbers), "", object)
    if len(distinct) <= _FEW_NUMBERS:
        texts[there] = [f"{number:g}" for number in numbers[there]]
        return texts
    edges = np.unique(np.quantile(numbers[there], (0.25, 0.5, 0.75)))
    names = [
        f"up to {edges[0]:g}",
        *(f"above {low:g}, up to {high:g}" for low, high in pairwise(edges)),
    ]
    texts[there] = np.array([*names, f"above {edges[-1]:g}"], object)[np.searchsorted(edges, numbers[there])]
    return texts


def _slice(value: str, chosen: NDArray[np.bool_], rule: Slices, evidence: Evidence) -> tuple[Slice, Floats | None]:
    rows, name, task = int(chosen.sum()), known_as(rule.metric), evidence.task
    if rows < LEAST_ROWS:
        return Slice(value, rows, None, None), None
    judged = evidence.judged.take(chosen)
    metric = value_of(name, judged, task)
    draws = None if metric is None else replicates(name, judged, evidence.drawn.take(chosen), task)
    if metric is None or draws is None or np.isfinite(draws).mean() < LEAST_DEFINED:
        return Slice(value, rows, metric, None), None
    return Slice(value, rows, rounded(metric), interval(draws, metric)), draws


def _gate(rule: Slices, told: list[_Told]) -> Gate:
    if len(told) < 2:
        note = f"NotComparable: fewer than two values of {rule.column} have {LEAST_ROWS} held-out rows and the metric"
        return Gate(rule.metric, "slice", rule.max_gap, None, passed=True, note=note)
    best, worst, gap, noise = _widest(rule, told)
    note = f"{rule.column} {best.value} ({best.metric:.4g}) and {worst.value} ({worst.metric:.4g})"
    between = (rounded(gap - noise), rounded(gap + noise)) if noise else None
    return Gate(rule.metric, "slice", rule.max_gap, rounded(gap), gap - noise <= rule.max_gap, between, note)


def _widest(rule: Slices, told: list[_Told]) -> tuple[_Told, _Told, float, float]:
    """The pair that lies furthest apart, with its gap and noise; one that fails surely before one that only may."""
    pairs = len(told) * (len(told) - 1) // 2
    width = NormalDist().inv_cdf(1 - (1 - CONFIDENCE) / (2 * pairs))
    found = []
    for place, one in enumerate(told):
        for other in told[place + 1 :]:
            best, worst = (one, other) if one.metric >= other.metric else (other, one)
            differences = (best.draws - worst.draws)[1:]
            noise = width * float(differences[np.isfinite(differences)].std())
            found.append((best, worst, best.metric - worst.metric, noise))
    return max(found, key=lambda pair: (max(pair[2] - pair[3], rule.max_gap), pair[2]))
