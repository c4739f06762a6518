"""Metrics of the held-out rows by scikit-learn's names and short ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perennial.runtime.failures import InputError, hint
from perennial.wire.run import Run

from .target import Task


@dataclass(frozen=True, slots=True)
class Judged:
    """The held-out rows' true values beside the model's. `classes` and `probabilities` are a classifier's."""

    truth: NDArray[Any]
    predictions: NDArray[Any]
    classes: Sequence[Any] = ()
    probabilities: NDArray[np.float64] | None = None

    @property
    def binary(self) -> bool:
        return len(self.classes) == 2

    def known(self) -> tuple[NDArray[np.intp], NDArray[np.float64]] | None:
        """Positions of the true classes and the probabilities, of rows whose class the model has learned."""
        if self.probabilities is None:
            return None
        codes = self._codes()
        return codes[codes >= 0], self.probabilities[codes >= 0]

    def is_known(self) -> NDArray[np.bool_]:
        """Which rows' class the model has learned."""
        return self._codes() >= 0

    def take(self, chosen: NDArray[np.bool_]) -> Judged:
        """Some of the rows."""
        chances = None if self.probabilities is None else self.probabilities[chosen]
        return Judged(self.truth[chosen], self.predictions[chosen], self.classes, chances)

    def _codes(self) -> NDArray[np.intp]:
        position = {label: i for i, label in enumerate(self.classes)}
        return np.array([position.get(label, -1) for label in self.truth.tolist()], np.intp)


Metric = Callable[[Judged], float | None]


def _error(judged: Judged) -> float:
    return float(np.mean(judged.truth != judged.predictions))


def _roc_auc(judged: Judged) -> float | None:
    from sklearn.metrics import roc_auc_score

    known = judged.known()
    if known is None or len(np.unique(known[0])) != len(judged.classes):
        return None
    codes, probabilities = known
    if judged.binary:
        return float(roc_auc_score(codes, probabilities[:, 1]))
    return float(roc_auc_score(codes, probabilities, multi_class="ovr"))


def _average_precision(judged: Judged) -> float | None:
    from sklearn.metrics import average_precision_score

    known = judged.known()
    if known is None or len(np.unique(known[0])) != len(judged.classes):
        return None
    codes, probabilities = known
    if judged.binary:
        return float(average_precision_score(codes, probabilities[:, 1]))
    one_hot = codes[:, None] == np.arange(len(judged.classes))
    return float(average_precision_score(one_hot, probabilities))


def _log_loss(judged: Judged) -> float | None:
    known = judged.known()
    if known is None or not len(known[0]):
        return None
    codes, probabilities = known
    chosen = np.clip(probabilities[np.arange(len(codes)), codes], np.finfo(float).eps, 1.0)
    return float(-np.log(chosen).mean())


def _brier(judged: Judged) -> float | None:
    """Of two classes the square of the second's error, of more the sum over all."""
    known = judged.known()
    if known is None or not len(known[0]):
        return None
    codes, probabilities = known
    if judged.binary:
        return float(np.mean((probabilities[:, 1] - codes) ** 2))
    one_hot = codes[:, None] == np.arange(len(judged.classes))
    return float(np.mean(np.sum((probabilities - one_hot) ** 2, axis=1)))


def _of_labels(name: str) -> Metric:
    """Of two classes the second is the positive one; of more, each counts alike.

    A class that the model never saw is then a miss like any other, and not an error.
    """

    def metric(judged: Judged) -> float:
        from sklearn import metrics

        function = getattr(metrics, name)
        if judged.binary:
            positive = judged.classes[1]
            return float(function(judged.truth == positive, judged.predictions == positive, zero_division=0.0))
        labels = list(judged.classes)
        return float(function(judged.truth, judged.predictions, labels=labels, average="macro", zero_division=0.0))

    return metric


def _of_values(name: str) -> Metric:
    def metric(judged: Judged) -> float:
        from sklearn import metrics

        return float(getattr(metrics, name)(judged.truth, judged.predictions))

    return metric


CLASSIFICATION: dict[str, Metric] = {
    "accuracy": lambda judged: 1.0 - _error(judged),
    "error": _error,
    "balanced_accuracy": _of_values("balanced_accuracy_score"),
    "roc_auc": _roc_auc,
    "average_precision": _average_precision,
    "f1": _of_labels("f1_score"),
    "precision": _of_labels("precision_score"),
    "recall": _of_labels("recall_score"),
    "log_loss": _log_loss,
    "brier": _brier,
}
REGRESSION: dict[str, Metric] = {
    "r2": _of_values("r2_score"),
    "mae": _of_values("mean_absolute_error"),
    "mse": _of_values("mean_squared_error"),
    "rmse": _of_values("root_mean_squared_error"),
    "mape": _of_values("mean_absolute_percentage_error"),
    "median_absolute_error": _of_values("median_absolute_error"),
    "max_error": _of_values("max_error"),
    "explained_variance": _of_values("explained_variance_score"),
}
_ALSO = {
    "accuracy_score": "accuracy",
    "roc_auc_score": "roc_auc",
    "f1_score": "f1",
    "precision_score": "precision",
    "recall_score": "recall",
    "brier_score": "brier",
    "brier_score_loss": "brier",
    "r2_score": "r2",
    "mean_absolute_error": "mae",
    "mean_squared_error": "mse",
    "root_mean_squared_error": "rmse",
    "mean_absolute_percentage_error": "mape",
}


LESSER_IS_BETTER = frozenset(
    ["error", "log_loss", "brier", "mae", "mse", "rmse", "mape", "median_absolute_error", "max_error"]
)
_WITHOUT_NOISE = "max_error"
"""Hangs on one row, so that nothing tells a difference of it from noise."""


def check_metrics(run: Run, task: Task) -> None:
    """Raises InputError for a metric that there is not, before anything is trained."""
    for position, bound in enumerate(run.metrics):
        check_metric(f"spec.acceptance.metrics[{position}].name", bound.name, task)
    if run.champion:
        _check_compared("spec.acceptance.champion.metric", run.champion.metric, task)
    for position, rule in enumerate(run.slices):
        _check_compared(f"spec.acceptance.slices[{position}].metric", rule.metric, task)


def _check_compared(field: str, name: str, task: Task) -> None:
    check_metric(field, name, task)
    if name == _WITHOUT_NOISE:
        raise InputError("UnknownMetric", f"{field}: {name} hangs on a single row: choose a metric of all, such as mae")


def check_metric(field: str, given: str, task: Task) -> None:
    """Raises InputError where there is no such metric of a model of this task."""
    metrics, others = _metrics(task), _metrics("regression" if task == "classification" else "classification")
    name = known_as(given)
    if name in metrics:
        return
    if name in others:
        raise InputError("UnknownMetric", f"{field}: {given} does not judge a model of {task}{hint('', metrics)}")
    raise InputError("UnknownMetric", f"{field}: unknown metric {given}{hint(given, [*metrics, *_ALSO])}")


def compute(judged: Judged, task: Task) -> dict[str, float]:
    """Every metric of the task that can be computed on these rows and is finite."""
    values = {name: value_of(name, judged, task) for name in _metrics(task)}
    return {name: value for name, value in values.items() if value is not None}


def value_of(name: str, judged: Judged, task: Task) -> float | None:
    """The metric of that name, None where it can not be computed on these rows or is not finite."""
    value = _metrics(task)[name](judged)
    return value if value is not None and np.isfinite(value) else None


def known_as(name: str) -> str:
    """The name under which a metric is reported, of that by which it was asked for."""
    return _ALSO.get(name, name)


def _metrics(task: Task) -> dict[str, Metric]:
    return CLASSIFICATION if task == "classification" else REGRESSION
