"""A row's answer to its score, and a label that came back to its loss: shared by trainer and server, numpy only."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from perennial.wire.schema import Class, Score

Floats = NDArray[np.float64]


def numeric_scores(score: Score, answers: ArrayLike) -> Floats:
    """The score of each row for every kind but `label`.

    `answers` are probabilities [rows, classes], or for `value` predictions [rows].
    """
    array = np.asarray(answers, np.float64)
    if score == "positive":
        return array[:, 1]
    if score == "confidence":
        return np.asarray(array.max(axis=1))
    return array


def regression_loss(scale: float, labels: ArrayLike, predictions: ArrayLike) -> Floats:
    """Absolute errors in units of `scale`, bounded to [0, 1]."""
    errors = np.abs(np.asarray(labels, np.float64) - np.asarray(predictions, np.float64))
    return np.minimum(1.0, errors / scale)


def label_text(label: Class) -> str:
    """The text of a class as it stands in a reference: true or false for a bool, else the number or the text itself."""
    if isinstance(label, (bool, np.bool_)):
        return "true" if label else "false"
    return str(label)


def same_label(given: Class | float, known: Class) -> bool:
    """Whether a label that came back names the class `known`: by value, or by its text. A bool is never a number."""
    label = int(given) if isinstance(given, float) and given.is_integer() else given
    return not isinstance(label, float) and label_text(label) == label_text(known)
