"""Fitted ensembles of trees to the form of their attributions: all of them are sums of what their leaves say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from perennial.runtime.onnx.booster_models import LOG_LINKS, BoosterModel, lightgbm_model, xgboost_model
from perennial.runtime.onnx.committees import vote
from perennial.runtime.onnx.trees import from_histogram, from_sklearn, shapes_of
from perennial.wire.manifest import Quantity

from .form import Block, Codes, Form
from .known import Grown, Known, NotAttributableError

Maker = Callable[[Known, Any], tuple[Form, Quantity]]
LINKS: dict[str, Quantity] = {"IdentityLink": "prediction", "LogLink": "log_prediction"}


def forest(known: Known, estimator: Any) -> tuple[Form, Quantity]:
    """A tree, or the mean of many."""
    fitted: list[Any] | None = getattr(estimator, "estimators_", None)
    trees = [estimator] if fitted is None else fitted
    classes: Any = getattr(estimator, "classes_", None)
    if getattr(estimator, "n_outputs_", 1) != 1:
        raise NotAttributableError("there are no attributions of several targets")
    grown = Grown()
    for shape, tree in zip(shapes_of(estimator, trees), trees, strict=True):
        values = np.asarray(tree.tree_.value[:, 0, :], np.float64) / len(trees)
        two = classes is not None and len(classes) == 2
        grown.add(shape, tree.tree_.weighted_n_node_samples, values[:, 1:] if two else values)
    targets = 1 if classes is None or len(classes) == 2 else len(classes)
    form = known.form(targets, trees=grown.trees(np.zeros(targets), single=True))
    return form, "prediction" if classes is None else "probability"


def adaboost(known: Known, estimator: Any) -> tuple[Form, Quantity]:
    """Of each tree the votes, of which the decision function is the weighted mean."""
    classes, weights = estimator.classes_, estimator.estimator_weights_
    targets = [1] if len(classes) == 2 else range(len(classes))
    # Of two classes scikit-learn takes one's votes from the other's, which are the same with the other sign.
    share = (2.0 if len(classes) == 2 else 1.0) / weights.sum()
    grown = Grown()
    for tree, weight in zip(estimator.estimators_, weights, strict=False):
        votes = [share * vote(estimator, tree, weight, target) for target in targets]
        grown.add(from_sklearn(tree), tree.tree_.weighted_n_node_samples, np.column_stack(votes))
    return known.form(len(targets), trees=grown.trees(np.zeros(len(targets)), single=True)), "decision_function"


def gradient_boosting(known: Known, estimator: Any) -> tuple[Form, Quantity]:
    if estimator.init_ != "zero" and not type(estimator.init_).__name__.startswith("Dummy"):
        raise NotAttributableError("there are no attributions for gradient boosting that starts from an estimator")
    start = estimator._raw_predict_init(np.zeros((1, estimator.n_features_in_), np.float32))[0]
    grown = Grown()
    for stage in estimator.estimators_:
        for target, tree in enumerate(stage):
            values = estimator.learning_rate * tree.tree_.value[:, 0, :]
            grown.add(from_sklearn(tree), tree.tree_.weighted_n_node_samples, values, target)
    form = known.form(len(start), trees=grown.trees(start, single=True))
    return form, "decision_function" if hasattr(estimator, "classes_") else "prediction"


def histogram_boosting(known: Known, estimator: Any) -> tuple[Form, Quantity]:
    blocks, categories = _recoded(known.blocks, estimator)
    grown = Grown()
    for iteration in estimator._predictors:
        for target, predictor in enumerate(iteration):
            values = predictor.nodes["value"].astype(np.float64).reshape(-1, 1)
            grown.add(from_histogram(predictor, categories), predictor.nodes["count"], values, target)
    start = np.ravel(estimator._baseline_prediction)
    form = Known(known.schema, blocks, known.means).form(len(start), trees=grown.trees(start, single=False))
    if hasattr(estimator, "classes_"):
        return form, "decision_function"
    return form, LINKS[type(estimator._loss.link).__name__]


def _recoded(blocks: list[Block], estimator: Any) -> tuple[list[Block], dict[int, int]]:
    """The columns as the trees see them, and how many categories the categorical ones have.

    Histogram gradient boosting has an encoder of its own inside, which numbers the categories that it saw and puts
    them first.
    """
    flags = estimator.is_categorical_
    if flags is None:
        return blocks, {}
    encoder = estimator._preprocessor.named_transformers_["encoder"]
    categorical = [block for block, flag in zip(blocks, flags, strict=True) if flag]
    numeric = [block for block, flag in zip(blocks, flags, strict=True) if not flag]
    recoded: list[Block] = []
    known: dict[int, int] = {}
    for place, block in enumerate(categorical):
        if not isinstance(block, Codes):
            raise NotAttributableError("there are no attributions of categories that are given by number")
        seen = [value for value in np.asarray(encoder.categories_[place], np.float64).tolist() if value == value]
        inner = {value: float(code) for code, value in enumerate(seen)}
        codes = {text: inner[code] for text, code in block.codes.items() if code in inner}
        recoded.append(Codes(block.feature, codes, inner.get(block.unseen, np.nan)))
        known[place] = len(seen)
    return [*recoded, *numeric], known


def lightgbm(known: Known, estimator: Any) -> tuple[Form, Quantity]:
    """An LGBMClassifier or LGBMRegressor: of its raw scores."""
    return _boosted(known, lightgbm_model(estimator), is_classifier=hasattr(estimator, "classes_"), single=False)


def xgboost(known: Known, estimator: Any) -> tuple[Form, Quantity]:
    """An XGBRegressor or XGBRFRegressor."""
    return _boosted(known, xgboost_model(estimator), is_classifier=False, single=True)


def xgboost_classes(known: Known, coded: Any) -> tuple[Form, Quantity]:
    """An XGBClassifier or XGBRFClassifier with its classes by name: of its margins."""
    return _boosted(known, xgboost_model(coded.estimator_), is_classifier=True, single=True)


def _boosted(known: Known, model: BoosterModel, *, is_classifier: bool, single: bool) -> tuple[Form, Quantity]:
    grown, divisor = Grown(), 1.0 if is_classifier else model.divisor
    for tree in model.trees:
        grown.add(tree.shape, tree.cover, tree.values.reshape(-1, 1) / divisor, tree.target)
    form = known.form(len(model.start), trees=grown.trees(model.start, single=single))
    if is_classifier:
        return form, "decision_function"
    return form, "log_prediction" if model.objective in LOG_LINKS else "prediction"
