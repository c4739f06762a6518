"""Cross-validation within the rows that are learned from: how much each metric varies with the rows behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from perennial.wire.run import Test

from .judging import judge
from .metrics import compute
from .rows import Rows
from .split import folds


@dataclass(frozen=True, slots=True)
class Spread:
    """A metric over the folds: `std` is their standard deviation, None of a single one."""

    mean: float
    std: float | None
    folds: int

    def __str__(self) -> str:
        spread = "" if self.std is None else f" ± {self.std:.2g}"
        return f"{self.mean:.4g}{spread} ({self.folds} folds)"


def cross_validated(test: Test, seed: int, rows: Rows, fit: Callable[[Rows], Any]) -> dict[str, Spread]:
    """Every metric over `test.folds` folds of the same kind of split; `fit` makes a new model. Raises InputError."""
    each = []
    for part in folds(test, test.folds or 0, seed, rows.keys):
        held = rows.take(part.test)
        each.append(compute(judge(fit(rows.take(part.train)), held.frame, held.target, rows.task), rows.task))
    return spreads(each)


def spreads(each: Iterable[dict[str, float]]) -> dict[str, Spread]:
    """Of each metric over the folds where it could be computed."""
    values: dict[str, list[float]] = {}
    for metrics in each:
        for name, value in metrics.items():
            values.setdefault(name, []).append(value)
    return {
        name: Spread(float(np.mean(found)), float(np.std(found, ddof=1)) if len(found) > 1 else None, len(found))
        for name, found in values.items()
    }
