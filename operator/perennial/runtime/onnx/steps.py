"""Transformers between preprocessing and the estimator, as double operations over the whole matrix."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .columns import Matrix
from .graph import Graph, NotConvertibleError


def stepped(graph: Graph, matrix: Matrix, transformer: Any) -> Matrix:
    """What the fitted transformer makes of the matrix. Raises NotConvertibleError."""
    kind = type(transformer).__name__
    if not type(transformer).__module__.startswith("sklearn.") or kind not in _STEPS:
        raise NotConvertibleError(f"no exact form of {kind}")
    value = _STEPS[kind](graph, matrix.value, transformer)
    return Matrix(value, len(transformer.get_feature_names_out()))


def _scaled(graph: Graph, rows: str, scaler: Any) -> str:
    """StandardScaler, RobustScaler and MaxAbsScaler: less a centre, by a scale, where they have them."""
    for operator, name in (("Sub", "mean_"), ("Sub", "center_"), ("Div", "scale_")):
        if (found := getattr(scaler, name, None)) is not None:
            rows = graph.add(operator, rows, _row(graph, found))
    return rows


def _ranged(graph: Graph, rows: str, scaler: Any) -> str:
    if scaler.clip:
        raise NotConvertibleError("no exact form of MinMaxScaler with clip")
    return graph.add("Add", graph.add("Mul", rows, _row(graph, scaler.scale_)), _row(graph, scaler.min_))


def _imputed(graph: Graph, rows: str, imputer: Any) -> str:
    fill = np.asarray(imputer.statistics_, np.float64)
    if imputer.add_indicator or not np.isnan(imputer.missing_values) or np.isnan(fill).any():
        raise NotConvertibleError("no exact form of a SimpleImputer that adds or drops columns, or fills other values")
    return graph.add("Where", graph.add("IsNaN", rows), _row(graph, fill), rows)


def _projected(graph: Graph, rows: str, projection: Any) -> str:
    product = _multiplied(graph, rows, projection)
    product = graph.add("Sub", product, _row(graph, projection.mean_ @ projection.components_.T))
    if not projection.whiten:
        return product
    return graph.add("Div", product, _row(graph, np.sqrt(projection.explained_variance_)))


def _multiplied(graph: Graph, rows: str, projection: Any) -> str:
    turned = np.ascontiguousarray(np.asarray(projection.components_, np.float64).T)
    return graph.add("MatMul", rows, graph.constant(turned))


def _selected(graph: Graph, rows: str, selector: Any) -> str:
    return graph.add("Gather", rows, graph.constant(np.flatnonzero(selector.get_support())), axis=1)


def _powers(graph: Graph, rows: str, polynomial: Any) -> str:
    """Each column the product of as many columns as its degree: those of a lower degree take ones beside the matrix."""
    powers = polynomial.powers_
    degree = int(powers.sum(axis=1).max())
    ones = graph.add(
        "Add", graph.add("Mul", _selected_columns(graph, rows, [0]), graph.constant(0.0)), graph.constant(1.0)
    )
    beside = graph.add("Concat", rows, ones, axis=1)
    factors = [np.repeat(np.arange(powers.shape[1]), each) for each in powers]
    padded = [np.pad(each, (0, degree - len(each)), constant_values=powers.shape[1]) for each in factors]
    product, *others = (_selected_columns(graph, beside, [each[place] for each in padded]) for place in range(degree))
    for other in others:
        product = graph.add("Mul", product, other)
    return product


def _selected_columns(graph: Graph, rows: str, columns: list[Any]) -> str:
    return graph.add("Gather", rows, graph.constant(np.asarray(columns, np.int64)), axis=1)


def _row(graph: Graph, values: NDArray[Any]) -> str:
    return graph.constant(np.asarray(values, np.float64).reshape(1, -1))


_STEPS: dict[str, Callable[[Graph, str, Any], str]] = {
    **dict.fromkeys(("StandardScaler", "RobustScaler", "MaxAbsScaler"), _scaled),
    "MinMaxScaler": _ranged,
    "SimpleImputer": _imputed,
    "PCA": _projected,
    "TruncatedSVD": _multiplied,
    **dict.fromkeys(("SelectFdr", "SelectFpr", "SelectFwe", "SelectKBest", "SelectPercentile"), _selected),
    "VarianceThreshold": _selected,
    "PolynomialFeatures": _powers,
}
