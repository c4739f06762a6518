"""Calibrated probabilities as a graph: scikit-learn's sigmoid and isotonic calibrators over a classifier's scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from . import heads
from .graph import DOUBLE, INT64, Graph, NotConvertibleError


def probabilities(graph: Graph, scores: str, calibrators: Sequence[Any]) -> str:
    """[rows, classes] from `scores`: [rows, 1] of two classes, which have one calibrator, else [rows, classes]."""
    if len(calibrators) == 1:
        return heads.binary_probabilities(graph, _calibrated(graph, scores, calibrators[0]))
    columns = [
        _calibrated(graph, graph.add("Gather", scores, graph.constant(np.array([place])), axis=1), calibrator)
        for place, calibrator in enumerate(calibrators)
    ]
    each = graph.add("Concat", *columns, axis=1)
    total = graph.add("ReduceSum", each, graph.constant(np.array([1])), keepdims=1)
    # Where every class has 0 scikit-learn answers that all are alike.
    nothing = graph.add("Equal", total, graph.constant(0.0))
    shares = graph.add("Div", each, graph.add("Where", nothing, graph.constant(1.0), total))
    return graph.add("Where", nothing, graph.constant(np.full((1, len(columns)), 1.0 / len(columns))), shares)


def _calibrated(graph: Graph, scores: str, calibrator: Any) -> str:
    """[rows, 1] from [rows, 1]."""
    kind = type(calibrator).__name__
    if kind == "_SigmoidCalibration":
        scaled = graph.add("Mul", graph.constant(float(calibrator.a_)), scores)
        return graph.add("Sigmoid", graph.add("Neg", graph.add("Add", scaled, graph.constant(float(calibrator.b_)))))
    if kind == "IsotonicRegression":
        return _interpolated(graph, scores, calibrator)
    raise NotConvertibleError(f"no exact form of the calibrator {kind}")


def _interpolated(graph: Graph, scores: str, calibrator: Any) -> str:
    """Linear between the thresholds and constant beyond them, by the formula and in the order of SciPy's interp1d."""
    x = np.asarray(calibrator.X_thresholds_, np.float64)
    y = np.asarray(calibrator.y_thresholds_, np.float64)
    if len(x) == 1:
        zero = graph.add("Mul", scores, graph.constant(0.0))
        return graph.add("Add", zero, graph.constant(float(y[0])))
    # Operators on doubles that ONNX Runtime has: Clip, Max and Min are among them, searching is not.
    within = graph.add("Min", graph.add("Max", scores, graph.constant(x[0])), graph.constant(x[-1]))
    above = graph.add("Cast", graph.add("Greater", within, graph.constant(x[1:-1].reshape(1, -1))), to=DOUBLE)
    place = graph.add("ReduceSum", above, graph.constant(np.array([1])), keepdims=0)
    index = graph.add("Cast", place, to=INT64)
    slopes = np.diff(y) / np.diff(x)

    def at(values: Any) -> str:
        column = np.asarray(values, np.float64).reshape(-1, 1)
        return graph.add("Gather", graph.constant(column), index, axis=0)

    rise = graph.add("Mul", at(slopes), graph.add("Sub", within, at(x[:-1])))
    return graph.add("Add", rise, at(y[:-1]))
