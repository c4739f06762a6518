"""Classifiers by the likelihood of a row under each class: naive Bayes and quadratic discriminant analysis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import heads
from .columns import Inputs, Matrix
from .graph import DOUBLE, Graph
from .trees import Floats

Likelihood = Callable[[Graph, str, Any], str]
"""The logarithms [rows, classes] of the joint likelihoods, from the matrix by name and the fitted estimator."""


def classifier(likelihood: Likelihood) -> Callable[[Inputs, Matrix, Any], None]:
    """The converter of a classifier whose probabilities are its likelihoods, shared out."""

    def convert(inputs: Inputs, matrix: Matrix, estimator: Any) -> None:
        graph = inputs.graph
        logarithms = likelihood(graph, matrix.value, estimator)
        heads.label_of_largest(graph, logarithms, estimator.classes_)
        heads.give_probabilities(graph, graph.add("Softmax", logarithms, axis=1), estimator.classes_)

    return convert


def scores(likelihood: Likelihood) -> Callable[[Inputs, Matrix, Any], tuple[str, None]]:
    """What scikit-learn calibrates: the decision function where there is one, else the probabilities; of two classes
    the second's [rows, 1]."""

    def convert(inputs: Inputs, matrix: Matrix, estimator: Any) -> tuple[str, None]:
        graph = inputs.graph
        logarithms = likelihood(graph, matrix.value, estimator)
        decides = hasattr(estimator, "decision_function")
        each = logarithms if decides else graph.add("Softmax", logarithms, axis=1)
        if len(estimator.classes_) != 2:
            return each, None
        first, second = (graph.add("Gather", each, graph.constant(np.array([place])), axis=1) for place in (0, 1))
        return graph.add("Sub", second, first) if decides else second, None

    return convert


def gaussian(graph: Graph, rows: str, estimator: Any) -> str:
    """GaussianNB."""
    terms = []
    for prior, mean, variance in zip(estimator.class_prior_, estimator.theta_, estimator.var_, strict=True):
        away = graph.add("Sub", rows, graph.constant(mean.reshape(1, -1)))
        each = graph.add("Div", graph.add("Mul", away, away), graph.constant(variance.reshape(1, -1)))
        constant = np.log(prior) - 0.5 * np.sum(np.log(2.0 * np.pi * variance))
        terms.append(_less_half(graph, constant, each))
    return graph.add("Concat", *terms, axis=1)


def quadratic(graph: Graph, rows: str, estimator: Any) -> str:
    """QuadraticDiscriminantAnalysis."""
    terms = []
    fitted = zip(estimator.priors_, estimator.means_, estimator.rotations_, estimator.scalings_, strict=True)
    for prior, mean, rotation, scaling in fitted:
        away = graph.add("Sub", rows, graph.constant(np.asarray(mean, np.float64).reshape(1, -1)))
        turned = graph.add("MatMul", away, graph.constant(np.ascontiguousarray(rotation * scaling**-0.5)))
        constant = np.log(prior) - 0.5 * np.sum(np.log(scaling))
        terms.append(_less_half(graph, constant, graph.add("Mul", turned, turned)))
    return graph.add("Concat", *terms, axis=1)


def bernoulli(graph: Graph, rows: str, estimator: Any) -> str:
    """BernoulliNB."""
    if estimator.binarize is not None:
        above = graph.add("Greater", rows, graph.constant(float(estimator.binarize)))
        rows = graph.add("Cast", above, to=DOUBLE)
    absent = np.log(1 - np.exp(estimator.feature_log_prob_))
    constant = estimator.class_log_prior_ + absent.sum(axis=1)
    return _linear(graph, rows, estimator.feature_log_prob_ - absent, constant)


def multinomial(graph: Graph, rows: str, estimator: Any) -> str:
    """MultinomialNB."""
    return _linear(graph, rows, estimator.feature_log_prob_, estimator.class_log_prior_)


def complement(graph: Graph, rows: str, estimator: Any) -> str:
    """ComplementNB, which takes no notice of how frequent a class is."""
    return _linear(graph, rows, estimator.feature_log_prob_, np.zeros(len(estimator.classes_)))


def _less_half(graph: Graph, constant: float, squares: str) -> str:
    """`constant` less half of the sum over the columns: [rows, 1]."""
    total = graph.add("ReduceSum", squares, graph.constant(np.array([1])), keepdims=1)
    return graph.add("Sub", graph.constant(float(constant)), graph.add("Mul", graph.constant(0.5), total))


def _linear(graph: Graph, rows: str, weights: Floats, constant: Floats) -> str:
    product = graph.add("MatMul", rows, graph.constant(np.ascontiguousarray(weights.T)))
    return graph.add("Add", product, graph.constant(constant.reshape(1, -1)))
