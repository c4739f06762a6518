"""Small networks: MLPClassifier and MLPRegressor."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import heads
from .columns import Inputs, Matrix
from .graph import Graph, NotConvertibleError


def network(inputs: Inputs, matrix: Matrix, estimator: Any) -> None:
    graph, value = inputs.graph, _last_layer(inputs.graph, matrix, estimator)
    if not hasattr(estimator, "classes_"):
        if estimator.n_outputs_ != 1:
            raise NotConvertibleError("several targets")
        heads.regression(graph, value)
        return
    classes = estimator.classes_
    if len(classes) == 2:
        second = graph.add("Sigmoid", value)
        probabilities = heads.binary_probabilities(graph, second)
        above = graph.add("Sub", second, graph.constant(0.5))
        heads.label_where_positive(graph, above, classes)
    else:
        probabilities = graph.add("Softmax", value, axis=1)
        heads.label_of_largest(graph, probabilities, classes)
    heads.give_probabilities(graph, probabilities, classes)


def _last_layer(graph: Graph, matrix: Matrix, estimator: Any) -> str:
    value, last = matrix.value, len(estimator.coefs_) - 1
    for layer, (weights, bias) in enumerate(zip(estimator.coefs_, estimator.intercepts_, strict=True)):
        product = graph.add("MatMul", value, graph.constant(np.asarray(weights, np.float64)))
        value = graph.add("Add", product, graph.constant(np.asarray(bias, np.float64).reshape(1, -1)))
        if layer < last:
            value = _activation(graph, estimator.activation, value)
    return value


def _activation(graph: Graph, name: str, value: str) -> str:
    operators = {"relu": "Relu", "tanh": "Tanh", "logistic": "Sigmoid"}
    return value if name == "identity" else graph.add(operators[name], value)


def network_scores(inputs: Inputs, matrix: Matrix, estimator: Any) -> tuple[str, None]:
    graph, value = inputs.graph, _last_layer(inputs.graph, matrix, estimator)
    if len(estimator.classes_) == 2:
        return graph.add("Sigmoid", value), None
    return graph.add("Softmax", value, axis=1), None
