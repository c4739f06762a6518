"""How small a change would be seen: silence says something only where there are rows enough to be heard."""

from __future__ import annotations

import math

import numpy as np

from .layout import CutKind
from .scan import Scan


def sight(scan: Scan, rows: float) -> float:
    """The difference in cumulative probability, about the middle of a column, that alarms every other time in so many
    rows.

    The standard error of a difference of two shares about one half, times the bound; of `inf` rows it is what the
    baseline's own size leaves.
    """
    split = (scan.layout.kind == CutKind.VALUE) | (scan.layout.kind == CutKind.CATEGORY)
    if not split.any() or rows <= 0:
        return 1.0
    _, baseline = scan.layout.cut_counts(scan.normal.cells)
    dispersion = float(np.median(scan.normal.dispersion[split]))
    error = math.sqrt(0.25 * dispersion * (1 / rows + 1 / max(float(np.median(baseline[split])), 1.0)))
    return min(scan.drift_bound * error, 1.0)
