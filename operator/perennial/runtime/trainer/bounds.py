"""Upper confidence bounds of a mean loss: what harm in production is measured against."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def upper_share(wrong: float, rows: float, confidence: float) -> float:
    """Of `wrong` among `rows` (Clopper and Pearson 1934, one-sided); both may be fractions of an effective size."""
    if wrong >= rows:
        return 1.0
    from scipy.stats import beta

    return float(beta.ppf(confidence, wrong + 1.0, rows - wrong))


def upper_mean(losses: NDArray[np.float64], rows: float, confidence: float) -> float:
    """Of losses within [0, 1] that tell as much as `rows` independent ones (Maurer and Pontil 2009, theorem 4)."""
    if rows <= 1.0 or len(losses) < 2:
        return 1.0
    rest = math.log(2.0 / (1.0 - confidence))
    spread = math.sqrt(2.0 * float(losses.var(ddof=1)) * rest / rows)
    return min(1.0, float(losses.mean()) + spread + 7.0 * rest / (3.0 * (rows - 1.0)))
