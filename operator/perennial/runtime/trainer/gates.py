"""The gates upon a version's metrics.

A bound is kept or not by the metric's value, as whoever wrote it reads it. Whether the rows can tell that value from
the bound is what the interval beside it says: where the bound lies within it they cannot, and more
rows would.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from perennial.wire.result import Gate
from perennial.wire.run import Bound

from .metrics import known_as
from .replicates import Interval


def bound_gates(bounds: Sequence[Bound], metrics: Mapping[str, float], intervals: Mapping[str, Interval]) -> list[Gate]:
    """Each bound as it was judged. A metric that could not be computed passes no gate."""
    judged = []
    for bound in bounds:
        name = known_as(bound.name)
        value, interval = metrics.get(name), intervals.get(name)
        if bound.min is not None:
            passed = value is not None and value >= bound.min
            judged.append(Gate(bound.name, "min", bound.min, value, passed, interval))
        if bound.max is not None:
            passed = value is not None and value <= bound.max
            judged.append(Gate(bound.name, "max", bound.max, value, passed, interval))
    return judged


def told(gate: Gate) -> str:
    """One line for the log."""
    words = f"gate: {gate.metric} {gate.rule} {gate.bound:g}: {'passed' if gate.passed else 'FAILED'}"
    if gate.value is None:
        return f"{words}, it could not be computed"
    return f"{words} with {gate.value:.4g}{_between(gate)}"


def _between(gate: Gate) -> str:
    if gate.interval is None:
        return ""
    low, high = gate.interval
    close = "; more rows would tell them apart" if low <= gate.bound <= high else ""
    return f" ({low:.4g} to {high:.4g}{close})"
