"""XGBoost's classifiers know no classes but 0, 1, 2: this is the one of them around one with classes by any name."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils import get_tags


class CodedClasses(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types: Any to mypy
    """`estimator` is an XGBClassifier or XGBRFClassifier. Probabilities are computed in double precision from its
    scores in single, labels are its own."""

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator

    def fit(self, rows: Any, target: Any, **more: Any) -> Self:
        self.classes_, codes = np.unique(target, return_inverse=True)
        self.estimator_ = clone(self.estimator).fit(rows, codes, **more)
        return self

    def predict(self, rows: Any) -> NDArray[Any]:
        answers: NDArray[Any] = self.classes_[np.asarray(self.estimator_.predict(rows), np.int64)]
        return answers

    def predict_proba(self, rows: Any) -> NDArray[np.float64]:
        from scipy.special import expit, softmax

        scores = self.margins(rows)
        if scores.ndim == 2:
            return np.asarray(softmax(scores, axis=1))
        second = expit(scores)
        return np.column_stack([1.0 - second, second])

    def margins(self, rows: Any) -> NDArray[np.float64]:
        """[rows] of two classes, else [rows, classes]. It is not called decision_function, which scikit-learn would
        calibrate."""
        return np.asarray(self.estimator_.predict(rows, output_margin=True), np.float64)

    def __sklearn_tags__(self) -> Any:
        return get_tags(self.estimator)
