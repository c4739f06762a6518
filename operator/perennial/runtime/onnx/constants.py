"""Estimators that answer every row alike: the baselines DummyClassifier and DummyRegressor."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import heads
from .columns import Inputs, Matrix
from .graph import Graph, NotConvertibleError
from .trees import Floats


def constant_regressor(inputs: Inputs, matrix: Matrix, estimator: Any) -> None:
    heads.regression(inputs.graph, _each_row(inputs.graph, matrix, np.asarray(estimator.constant_).reshape(1, 1)))


def constant_classifier(inputs: Inputs, matrix: Matrix, estimator: Any) -> None:
    graph, classes, strategy = inputs.graph, estimator.classes_, estimator.strategy
    if strategy not in ("prior", "most_frequent", "constant"):
        raise NotConvertibleError(f"answers that are drawn ({strategy})")
    shares = estimator.class_prior_
    chosen = classes == estimator.constant if strategy == "constant" else np.arange(len(classes)) == shares.argmax()
    labels = _each_row(graph, matrix, chosen.astype(np.float64).reshape(1, -1))
    heads.label_of_largest(graph, labels, classes)
    given = shares.reshape(1, -1) if strategy == "prior" else None
    heads.give_probabilities(graph, labels if given is None else _each_row(graph, matrix, given), classes)


def _each_row(graph: Graph, matrix: Matrix, values: Floats) -> str:
    """The same values [1, n] for each row."""
    rows = graph.add("Shape", matrix.value, start=0, end=1)
    shape = graph.add("Concat", rows, graph.constant(np.array([values.shape[1]])), axis=0)
    return graph.add("Expand", graph.constant(values), shape)
