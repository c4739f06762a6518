"""LightGBM's and XGBoost's models as graphs.

LightGBM compares and adds in double precision, XGBoost in single. Each sum begins with the constant that theirs begins
with and takes the trees in their order, so that it comes out equal to the last bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from . import heads
from .booster_models import LOG_LINKS, TWO_CLASSES, Boosted, BoosterModel, lightgbm_model, xgboost_model
from .columns import Inputs, Matrix
from .graph import DOUBLE, FLOAT, Graph, NotConvertibleError
from .trees import STUMP, Ensemble, Tree

_IDENTITY = (
    *("regression", "regression_l1", "huber", "fair", "quantile", "mape"),
    *("reg:squarederror", "reg:absoluteerror", "reg:pseudohubererror", "reg:quantileerror"),
)


def lightgbm(inputs: Inputs, matrix: Matrix, estimator: Any) -> Ensemble:
    """An LGBMClassifier or LGBMRegressor."""
    graph, model = inputs.graph, lightgbm_model(estimator)
    raw, ensemble = _lightgbm_sum(graph, matrix, model)
    if model.divisor != 1.0:
        raw = graph.add("Div", raw, graph.constant(model.divisor))
    if not hasattr(estimator, "classes_"):
        _regression(graph, raw, model.objective)
        return ensemble
    scaled = graph.add("Mul", raw, graph.constant(model.steepness))
    probabilities = _probabilities(graph, scaled, model.objective)
    heads.label_of_largest(graph, probabilities, estimator.classes_)
    heads.give_probabilities(graph, probabilities, estimator.classes_)
    return ensemble


def lightgbm_scores(inputs: Inputs, matrix: Matrix, estimator: Any) -> tuple[str, Ensemble]:
    """What scikit-learn calibrates: LightGBM has a decision function, the sum itself, which its forests
    do not divide either."""
    return _lightgbm_sum(inputs.graph, matrix, lightgbm_model(estimator))


def xgboost(inputs: Inputs, matrix: Matrix, estimator: Any) -> Ensemble:
    """An XGBRegressor or XGBRFRegressor."""
    raw, ensemble, objective = _xgboost_sum(inputs, matrix, estimator)
    _regression(inputs.graph, raw, objective)
    return ensemble


def xgboost_classes(inputs: Inputs, matrix: Matrix, coded: Any) -> Ensemble:
    """An XGBClassifier or XGBRFClassifier with its classes by name."""
    graph = inputs.graph
    raw, ensemble, objective = _xgboost_sum(inputs, matrix, coded.estimator_)
    probabilities = _probabilities(graph, raw, objective)
    # It decides by probabilities in single precision, in which nearly equal ones are equal: then the first class wins.
    heads.label_of_largest(graph, graph.add("Cast", probabilities, to=FLOAT), coded.classes_)
    heads.give_probabilities(graph, probabilities, coded.classes_)
    return ensemble


def xgboost_scores(inputs: Inputs, matrix: Matrix, coded: Any) -> tuple[str, Ensemble]:
    """What scikit-learn calibrates: the second of two probabilities [rows, 1], or all."""
    raw, ensemble, objective = _xgboost_sum(inputs, matrix, coded.estimator_)
    return _link(inputs.graph, raw, objective), ensemble


def _regression(graph: Graph, raw: str, objective: str) -> None:
    if objective not in _IDENTITY + LOG_LINKS:
        raise NotConvertibleError(f"no exact form of a regression with the objective {objective!r}")
    heads.regression(graph, raw, "log" if objective in LOG_LINKS else "identity")


def _probabilities(graph: Graph, raw: str, objective: str) -> str:
    linked = _link(graph, raw, objective)
    return heads.binary_probabilities(graph, linked) if objective in TWO_CLASSES else linked


_MANY_CLASSES = ("multiclass", "multi:softprob", "multi:softmax")


def _link(graph: Graph, raw: str, objective: str) -> str:
    if objective in TWO_CLASSES:
        return graph.add("Sigmoid", raw)
    if objective in _MANY_CLASSES:
        return graph.add("Softmax", raw, axis=1)
    raise NotConvertibleError(f"no exact form of a classification with the objective {objective!r}")


def _refuse_uncoded(tree: Tree, matrix: Matrix) -> None:
    """Both libraries cut a number off to take it for a category, and no graph here does."""
    if any(int(tree.feature[node]) not in matrix.codes for node in tree.members):
        raise NotConvertibleError("no exact form of categorical splits of a column of numbers")


def _lightgbm_sum(graph: Graph, matrix: Matrix, model: BoosterModel) -> tuple[str, Ensemble]:
    """The raw scores [rows, targets]."""
    ensemble = Ensemble()
    _add(ensemble, model.trees, matrix)
    # It takes no notice of values so small.
    tiny = graph.add("LessOrEqual", graph.add("Abs", matrix.value), graph.constant(float(np.float32(1e-35))))
    rows = graph.add("Where", tiny, graph.constant(0.0), matrix.value)
    return ensemble.node(graph, rows, len(model.start)), ensemble


def _xgboost_sum(inputs: Inputs, matrix: Matrix, estimator: Any) -> tuple[str, Ensemble, str]:
    """The raw scores [rows, targets] in double precision, added up in single."""
    graph, ensemble, model = inputs.graph, Ensemble(), xgboost_model(estimator)
    for target, value in enumerate(model.start):
        ensemble.add(STUMP, target, np.array([value]))
    _add(ensemble, model.trees, matrix)
    rows = graph.add("Cast", matrix.value, to=FLOAT)
    total = ensemble.node(graph, rows, len(model.start), single=True)
    return graph.add("Cast", total, to=DOUBLE), ensemble, model.objective


def _add(ensemble: Ensemble, trees: Sequence[Boosted], matrix: Matrix) -> None:
    for tree in trees:
        _refuse_uncoded(tree.shape, matrix)
        ensemble.add(tree.shape, tree.target, tree.values)
