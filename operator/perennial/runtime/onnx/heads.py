"""From raw sums to what a model answers: labels with scikit-learn's own tie-breaking, probabilities, values."""

from __future__ import annotations

from typing import Any

import numpy as np

from perennial.wire.schema import LABEL, PREDICTION, PROBABILITIES

from .graph import INT64, Graph


def regression(graph: Graph, raw: str, link: str = "identity") -> None:
    """The prediction [rows] from `raw` [rows, 1]; `link` is identity or log."""
    value = graph.add("Squeeze", raw, graph.constant(np.array([1])))
    graph.output(graph.add("Exp", value) if link == "log" else value, PREDICTION, "f")


def label_where_positive(graph: Graph, raw: str, classes: Any, or_zero: bool = False) -> None:
    """The second class where `raw` [rows, 1] is above zero (or zero), as scikit-learn does for two classes."""
    above = graph.add("GreaterOrEqual" if or_zero else "Greater", raw, graph.constant(0.0))
    index = graph.add("Cast", graph.add("Squeeze", above, graph.constant(np.array([1]))), to=INT64)
    _label(graph, index, classes)


def label_of_largest(graph: Graph, scores: str, classes: Any) -> None:
    """The class of the largest of `scores` [rows, classes], the first of equal ones."""
    _label(graph, graph.add("ArgMax", scores, axis=1, keepdims=0), classes)


def binary_probabilities(graph: Graph, second: str) -> str:
    """[rows, 2] from the second class's probability [rows, 1]."""
    return graph.add("Concat", graph.add("Sub", graph.constant(1.0), second), second, axis=1)


def give_probabilities(graph: Graph, probabilities: str, classes: Any) -> None:
    graph.output(probabilities, PROBABILITIES, "f", len(classes))


def _label(graph: Graph, index: str, classes: Any) -> None:
    array = np.asarray(classes)
    if array.dtype.kind in "iu":
        array = array.astype(np.int64)
    if array.dtype.kind in "US":
        array = array.astype(object)
    graph.output(graph.add("Gather", graph.constant(array), index, axis=0), LABEL, array.dtype.kind)
