"""Which features a model leans on: how much its loss on held-out rows grows when one column is shuffled."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .target import Task

if TYPE_CHECKING:
    import pandas as pd

_ROWS = 1000
_BUDGET_SECONDS = 5.0


def permutation_importance(
    model: Any, rows: pd.DataFrame, truth: NDArray[Any], task: Task, seed: int
) -> dict[str, float]:
    """Growth of the mean loss (0/1, or absolute error) by feature, largest first; empty where it would take long."""
    random = np.random.default_rng(seed)
    chosen = np.sort(random.permutation(len(rows))[:_ROWS])
    sample, labels = rows.iloc[chosen].reset_index(drop=True), truth[chosen]
    started = time.monotonic()
    base = _loss(model.predict(sample), labels, task)
    if (time.monotonic() - started) * len(rows.columns) > _BUDGET_SECONDS:
        return {}
    growth = {}
    for name in sample.columns:
        shuffled = sample.copy()
        shuffled[name] = sample[name].to_numpy()[random.permutation(len(sample))]
        growth[str(name)] = _loss(model.predict(shuffled), labels, task) - base
    return dict(sorted(growth.items(), key=lambda item: -item[1]))


def _loss(predictions: NDArray[Any], labels: NDArray[Any], task: Task) -> float:
    if task == "classification":
        return float(np.mean(predictions != labels))
    return float(np.mean(np.abs(np.ravel(predictions) - labels)))
