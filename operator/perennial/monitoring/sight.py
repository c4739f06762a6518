"""How small a change would be seen: silence says something only where there are rows enough to be heard."""

from __future__ import annotations

import math

import numpy as np

from perennial.wire.layout import CutKind, Floats

from .history import Hours
from .scan import Scan


def sight(scan: Scan, rows: float, hours: Hours | None = None, crowd: Floats | None = None) -> float:
    """The difference in cumulative probability, about the middle of a column, that alarms every other time in so many
    rows, which came in these `hours`, with so many in a row's own window [1].

    The standard error of a difference of two shares about one half, times the bound; of `inf` rows it is what the
    baseline's own size leaves.
    """
    split = (scan.layout.kind == CutKind.VALUE) | (scan.layout.kind == CutKind.CATEGORY)
    if not split.any() or rows <= 0:
        return 1.0
    asked = scan.asked if hours is None else scan.asked_of(hours)
    size = max(float(np.median(asked[split])), 1.0)
    # The mean of ever more rows varies ever less, however they waver.
    baseline_crowd = None if scan.normal.crowd is None else np.array([scan.normal.crowd])
    variances = [
        float(np.median(scan.normal.dispersion.of(np.array([n]), crowded)[0, split])) / n
        for n, crowded in ((rows, crowd), (size, baseline_crowd))
        if math.isfinite(n)
    ]
    error = math.sqrt(0.25 * sum(variances))
    return min(scan.drift_bound * error, 1.0)
