"""Every metric in every resample at once, from sums and counts by unit.

Metrics that depend on the order of scores or errors are counted into at most some hundred bins. Of more distinct values
the bins give the resamples' spread and not their centre: an interval is moved to the exact metric.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from .metrics import Judged
from .resampling import CONFIDENCE, Floats, Resampling
from .target import Task

Interval = tuple[float, float]
Replicates = Callable[[Judged, Resampling], Floats | None]

BINS = 512
MANY_CLASSES = 30
"""More classes than that make a metric that is averaged over them too dear to be resampled."""
LEAST_DEFINED = 0.9
"""The share of resamples in which a metric must be defined: one without a positive row has no recall."""


def replicates(name: str, judged: Judged, drawn: Resampling, task: Task) -> Floats | None:
    """The metric `name` in each resample, the rows as they are first; NaN where it is not defined.

    None where the bootstrap says nothing of it: of the largest error, which hangs on one row.
    """
    function = (_CLASSIFICATION if task == "classification" else _REGRESSION).get(name)
    if function is None or (name in _OVER_CLASSES and len(judged.classes) > MANY_CLASSES):
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        return function(judged, drawn)


def interval(values: Floats | None, exact: float, confidence: float = CONFIDENCE) -> Interval | None:
    """The percentile interval around `exact` from what `replicates` gave, to six digits.

    None where too few resamples have the metric, or all have the same: then they say nothing of its noise.
    """
    if values is None:
        return None
    told = values[1:][np.isfinite(values[1:])]
    if len(told) < LEAST_DEFINED * (len(values) - 1) or not np.isfinite(values[0]) or np.ptp(told) == 0.0:
        return None
    low, high = np.quantile(told, [(1 - confidence) / 2, (1 + confidence) / 2]) + (exact - values[0])
    return rounded(float(low)), rounded(float(high))


def intervals(metrics: dict[str, float], judged: Judged, drawn: Resampling, task: Task) -> dict[str, Interval]:
    """By metric, of those that have one."""
    found = {name: interval(replicates(name, judged, drawn, task), value) for name, value in metrics.items()}
    return {name: pair for name, pair in found.items() if pair is not None}


def rounded(value: float) -> float:
    return float(f"{value:.6g}")


def _mean(values: NDArray[np.generic], drawn: Resampling) -> Floats:
    return drawn.sums(values.astype(np.float64)) / drawn.counts()


def _error(judged: Judged, drawn: Resampling) -> Floats:
    return _mean(judged.truth != judged.predictions, drawn)


def _accuracy(judged: Judged, drawn: Resampling) -> Floats:
    return 1.0 - _error(judged, drawn)


def _balanced_accuracy(judged: Judged, drawn: Resampling) -> Floats:
    """The mean of the true classes' recalls, of those that are in the resample."""
    right = judged.truth == judged.predictions
    recalls = []
    for label in set(judged.truth.tolist()):
        is_true = judged.truth == label
        recalls.append(drawn.sums((right & is_true).astype(float)) / drawn.sums(is_true.astype(float)))
    return np.asarray(np.nanmean(recalls, axis=0))


def _by_label(of: Callable[[Floats, Floats, Floats], Floats]) -> Replicates:
    """`of` takes true positives, all that are said positive, and all that are positive."""

    def function(judged: Judged, drawn: Resampling) -> Floats:
        labels = judged.classes[1:] if judged.binary else judged.classes
        return np.asarray(np.mean([_of_label(label, judged, drawn) for label in labels], axis=0))

    def _of_label(label: object, judged: Judged, drawn: Resampling) -> Floats:
        is_true, is_said = judged.truth == label, judged.predictions == label
        counts = (drawn.sums(which.astype(float)) for which in (is_true & is_said, is_said, is_true))
        return np.nan_to_num(of(*counts), nan=0.0)

    return function


def _known(judged: Judged, drawn: Resampling) -> tuple[NDArray[np.intp], Floats, Resampling] | None:
    """Codes and probabilities of the rows whose class the model has learned, and their draws."""
    chosen, known = judged.is_known(), judged.known()
    if known is None or not chosen.any():
        return None
    return known[0], known[1], drawn.take(chosen)


def _log_loss(judged: Judged, drawn: Resampling) -> Floats | None:
    if (known := _known(judged, drawn)) is None:
        return None
    codes, probabilities, drawn = known
    return _mean(-np.log(np.clip(probabilities[np.arange(len(codes)), codes], np.finfo(float).eps, 1.0)), drawn)


def _brier(judged: Judged, drawn: Resampling) -> Floats | None:
    if (known := _known(judged, drawn)) is None:
        return None
    codes, probabilities, drawn = known
    if judged.binary:
        return _mean((probabilities[:, 1] - codes) ** 2, drawn)
    one_hot = codes[:, None] == np.arange(len(judged.classes))
    return _mean(np.sum((probabilities - one_hot) ** 2, axis=1), drawn)


def _by_ranking(of: Callable[[Floats, Floats], Floats]) -> Replicates:
    """`of` takes positives and negatives by score bin, lowest first: both [resamples, bins]."""

    def function(judged: Judged, drawn: Resampling) -> Floats | None:
        if (known := _known(judged, drawn)) is None:
            return None
        codes, probabilities, drawn = known
        classes = [1] if judged.binary else range(len(judged.classes))
        bins = BINS if judged.binary else BINS // 4
        return np.asarray(np.mean(list(_of_classes(classes, codes, probabilities, bins, drawn)), axis=0))

    def _of_classes(
        classes: Iterable[int], codes: NDArray[np.intp], probabilities: Floats, bins: int, drawn: Resampling
    ) -> Iterable[Floats]:
        for place in classes:
            cells, count, _ = _binned(probabilities[:, place], bins)
            positive = drawn.histograms(cells, count, codes == place)
            yield of(positive, drawn.histograms(cells, count) - positive)

    return function


def _area_under_curve(positive: Floats, negative: Floats) -> Floats:
    """The share of pairs in the right order, ties half."""
    below = np.cumsum(negative, axis=1) - negative / 2
    return np.asarray((positive * below).sum(axis=1) / (positive.sum(axis=1) * negative.sum(axis=1)))


def _average_precision(positive: Floats, negative: Floats) -> Floats:
    positive, negative = positive[:, ::-1], negative[:, ::-1]
    right, said = np.cumsum(positive, axis=1), np.cumsum(positive + negative, axis=1)
    precision = np.divide(right, said, out=np.zeros_like(right), where=said > 0)
    return np.asarray((positive * precision).sum(axis=1) / positive.sum(axis=1))


def _binned(values: Floats, bins: int) -> tuple[NDArray[np.intp], int, Floats]:
    """Cell of each value, number of cells, and each cell's mean; a cell a value where there are few values."""
    distinct, codes = np.unique(values, return_inverse=True)
    if len(distinct) <= bins:
        return codes, len(distinct), distinct
    edges = np.unique(np.quantile(values, np.linspace(0, 1, bins + 1)[1:-1]))
    cells = np.searchsorted(edges, values, side="right")
    count = len(edges) + 1
    with np.errstate(invalid="ignore"):
        means = np.bincount(cells, values, count) / np.bincount(cells, minlength=count)
    return cells, count, means


def _errors(judged: Judged) -> Floats:
    return np.asarray(judged.truth - judged.predictions, np.float64)


def _mean_squared(judged: Judged, drawn: Resampling) -> Floats:
    return _mean(_errors(judged) ** 2, drawn)


def _mean_absolute_percentage(judged: Judged, drawn: Resampling) -> Floats:
    return _mean(np.abs(_errors(judged)) / np.maximum(np.abs(judged.truth), np.finfo(np.float64).eps), drawn)


def _variance(values: Floats, drawn: Resampling) -> Floats:
    centred = values - values.mean()
    return _mean(centred**2, drawn) - _mean(centred, drawn) ** 2


def _median_absolute(judged: Judged, drawn: Resampling) -> Floats:
    cells, count, means = _binned(np.abs(_errors(judged)), BINS)
    below = np.cumsum(drawn.histograms(cells, count), axis=1)
    return np.asarray(means[np.argmax(below >= below[:, -1:] / 2, axis=1)])


_OVER_CLASSES = ("balanced_accuracy", "roc_auc", "average_precision", "f1", "precision", "recall")
_CLASSIFICATION: dict[str, Replicates] = {
    "accuracy": _accuracy,
    "error": _error,
    "balanced_accuracy": _balanced_accuracy,
    "roc_auc": _by_ranking(_area_under_curve),
    "average_precision": _by_ranking(_average_precision),
    "f1": _by_label(lambda right, said, true: 2 * right / (said + true)),
    "precision": _by_label(lambda right, said, true: right / said),
    "recall": _by_label(lambda right, said, true: right / true),
    "log_loss": _log_loss,
    "brier": _brier,
}
_REGRESSION: dict[str, Replicates] = {
    "r2": lambda judged, drawn: 1 - _mean_squared(judged, drawn) / _variance(judged.truth.astype(np.float64), drawn),
    "mae": lambda judged, drawn: _mean(np.abs(_errors(judged)), drawn),
    "mse": _mean_squared,
    "rmse": lambda judged, drawn: np.sqrt(_mean_squared(judged, drawn)),
    "mape": _mean_absolute_percentage,
    "median_absolute_error": _median_absolute,
    "explained_variance": lambda judged, drawn: (
        1 - _variance(_errors(judged), drawn) / _variance(judged.truth.astype(np.float64), drawn)
    ),
}
