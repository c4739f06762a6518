"""Calibration: a classifier whose probabilities are as often right as they say, learned from rows it was not fitted on.

The classifier itself is fitted on all rows and answers alone, so that a calibrated model costs a server nothing. What
the calibrator learns from are the scores of classifiers fitted on the other folds, split as the held-out rows are.
"""

from __future__ import annotations

from typing import Any

from perennial.runtime.failures import InputError
from perennial.wire.run import Sklearn, Test

from .rows import Rows
from .split import folds
from .target import Task

FOLDS = 5
_METHODS = {"Sigmoid": "sigmoid", "Isotonic": "isotonic"}
_FIELD = "spec.sklearn.calibration"


def check_calibration(sklearn: Sklearn, task: Task, estimator: Any) -> None:
    """Raises InputError where there is nothing to calibrate."""
    if sklearn.calibration is None:
        return
    if task != "classification":
        raise InputError("InvalidParameters", f"{_FIELD}: probabilities are calibrated, and a regressor has none")
    if not hasattr(estimator, "decision_function") and not hasattr(estimator, "predict_proba"):
        raise InputError("InvalidParameters", f"{_FIELD}: {sklearn.estimator} has no scores to calibrate")


def calibrated(sklearn: Sklearn, estimator: Any, test: Test, seed: int, rows: Rows) -> Any:
    """The unfitted estimator with its calibration around it, where one is asked for. Raises InputError."""
    if sklearn.calibration is None:
        return estimator
    from sklearn.calibration import CalibratedClassifierCV

    parts = folds(test, FOLDS, seed, rows.keys, forward=False)
    return CalibratedClassifierCV(
        estimator,
        method=_METHODS[sklearn.calibration],
        cv=[(part.train, part.test) for part in parts],
        ensemble=False,
    )


def settled(fitted: Any) -> list[Any]:
    """The fitted estimators whose settings a model file would keep, with the rows of the folds forgotten."""
    if not hasattr(fitted, "calibrated_classifiers_"):
        return [fitted]
    if not isinstance(fitted.cv, int):
        fitted.set_params(cv=None)
    return [fitted, *(each.estimator for each in fitted.calibrated_classifiers_)]
