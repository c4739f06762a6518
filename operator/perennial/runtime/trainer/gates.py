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
