"""AdaBoost: decision trees of which each has a vote, and not a share, for a class."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import heads
from .columns import Inputs, Matrix
from .trees import Ensemble, Floats, float32, from_sklearn


def adaboost(inputs: Inputs, matrix: Matrix, estimator: Any) -> Ensemble:
    """An AdaBoostClassifier of decision trees."""
    graph, classes = inputs.graph, estimator.classes_
    scores, ensemble = adaboost_scores(inputs, matrix, estimator)
    if len(classes) == 2:
        heads.label_where_positive(graph, scores, classes)
        half = graph.add("Mul", scores, graph.constant(0.5))
        both = graph.add("Concat", graph.add("Neg", half), half, axis=1)
    else:
        heads.label_of_largest(graph, scores, classes)
        both = graph.add("Div", scores, graph.constant(float(len(classes) - 1)))
    heads.give_probabilities(graph, graph.add("Softmax", both, axis=1), classes)
    return ensemble


def adaboost_scores(inputs: Inputs, matrix: Matrix, estimator: Any) -> tuple[str, Ensemble]:
    """The decision function: [rows, 1] of two classes, else [rows, classes]."""
    graph, ensemble, count = inputs.graph, Ensemble(), len(estimator.classes_)
    targets = range(1, 2) if count == 2 else range(count)
    for tree, weight in zip(estimator.estimators_, estimator.estimator_weights_, strict=False):
        shape = from_sklearn(tree)
        for place, target in enumerate(targets):
            ensemble.add(shape, place, vote(estimator, tree, weight, target))
    votes = ensemble.node(graph, float32(graph, matrix.value), len(targets))
    votes = graph.add("Div", votes, graph.constant(float(estimator.estimator_weights_.sum())))
    # Of two classes scikit-learn takes one's votes from the other's, which are the same with the other sign.
    return graph.add("Add", votes, votes) if count == 2 else votes, ensemble


def vote(estimator: Any, tree: Any, weight: float, target: int) -> Floats:
    """[nodes]: what the leaves of one of its trees say to a class."""
    chosen = tree.classes_.take(tree.tree_.value[:, 0, :].argmax(axis=1))
    agrees = chosen == estimator.classes_[target]
    return np.where(agrees, weight, -1 / (len(estimator.classes_) - 1) * weight)
