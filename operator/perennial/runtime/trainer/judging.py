"""What a fitted model says of rows, in the form in which it is judged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from perennial.wire.schema import Class, Score

from .metrics import Judged
from .target import Task

if TYPE_CHECKING:
    import pandas as pd


def judge(model: Any, rows: pd.DataFrame, truth: NDArray[Any], task: Task) -> Judged:
    """The model's answers beside the truth."""
    if task == "regression":
        return Judged(truth, np.asarray(model.predict(rows), np.float64).ravel())
    probabilities = np.asarray(model.predict_proba(rows), np.float64) if has_probabilities(model) else None
    return Judged(truth, np.asarray(model.predict(rows)), classes_of(model), probabilities)


def has_probabilities(model: Any) -> bool:
    """Some estimators have them only with certain parameters: scikit-learn hides the method then."""
    return hasattr(model, "predict_proba")


def classes_of(model: Any) -> list[Class]:
    """The classes in the model's order, as plain Python values."""
    classes: list[Class] = np.asarray(model.classes_).tolist()
    return classes


def score_of(model: Any, task: Task) -> Score:
    """What the reference's score column counts for this model."""
    if task == "regression":
        return "value"
    if not has_probabilities(model):
        return "label"
    return "positive" if len(classes_of(model)) == 2 else "confidence"
