"""A fitted pipeline to the form that its attributions are computed from. Only the trainer needs this."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perennial.runtime.onnx.columns import codes_of, infrequent
from perennial.runtime.onnx.trees import Tree, from_histogram, from_sklearn
from perennial.wire.manifest import Quantity
from perennial.wire.schema import Schema

from .form import Block, Codes, Form, Indicators, Linear, Number, Trees

Floats = NDArray[np.float64]
Means = Callable[[Sequence[Block]], Floats]

MAX_NODES, MAX_NODES_A_TREE = 1_000_000, 100_000
"""Beyond, a row takes a good part of a second, and the process that explains gigabytes."""


class NotAttributableError(Exception):
    """There is no exact form for this model here. The message says why."""


def form_of(pipeline: Any, schema: Schema, means: Means) -> tuple[Form, Quantity]:
    """The form, and what attributions are of. `means` gives the means [columns] of the rows that were learned from.

    Raises NotAttributableError.
    """
    steps = [step for _, step in pipeline.steps] if hasattr(pipeline, "steps") else [pipeline]
    *before, estimator = steps
    if len(before) > 1 or (before and type(before[0]).__name__ != "ColumnTransformer"):
        raise NotAttributableError(f"there are no attributions through {type(before[-1]).__name__}")
    kind = type(estimator).__name__
    if not type(estimator).__module__.startswith("sklearn.") or kind not in _MAKERS:
        raise NotAttributableError(f"there are no exact attributions for {kind}")
    blocks = _blocks(schema, before[0] if before else None)
    return _MAKERS[kind](_Known(schema, blocks, means), estimator)


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of the columns before the estimator is looked at."""

    schema: Schema
    blocks: list[Block]
    means: Means

    def form(self, targets: int, **model: Any) -> Form:
        return Form(len(self.schema.features), targets, self.blocks, **model)


_Maker = Callable[[_Known, Any], tuple[Form, Quantity]]


def _blocks(schema: Schema, columns: Any) -> list[Block]:
    """What a fitted ColumnTransformer gives, or for None the features as they are."""
    places = {feature.name: place for place, feature in enumerate(schema.features)}
    if columns is None:
        if schema.texts:
            raise NotAttributableError("there are no attributions of texts without an encoder")
        return [Number(places[name]) for name in schema.numbers]
    return [
        block
        for _, transformer, names in columns.transformers_
        if len(names)
        for block in _of_transformer(transformer, [places[name] for name in names])
    ]


def _of_transformer(transformer: Any, features: list[int]) -> list[Block]:
    kind = "passthrough" if isinstance(transformer, str) else type(transformer).__name__
    if transformer == "passthrough" or (kind == "FunctionTransformer" and transformer.func is None):
        return [Number(feature) for feature in features]
    if kind in ("SimpleImputer", "StandardScaler"):
        return _prepared([transformer], features)
    if kind == "Pipeline":
        return _prepared([step for _, step in transformer.steps], features)
    if kind == "OrdinalEncoder":
        return [
            Codes(feature, codes_of(transformer, column), float(transformer.unknown_value))
            for column, feature in enumerate(features)
        ]
    if kind == "OneHotEncoder" and transformer.drop is None:
        return [_indicators(transformer, column, feature) for column, feature in enumerate(features)]
    raise NotAttributableError(f"there are no attributions through {kind}")


def _prepared(steps: list[Any], features: list[int]) -> list[Block]:
    blocks = [Number(feature) for feature in features]
    for position, step in enumerate(steps):
        kind = type(step).__name__
        if kind not in ("SimpleImputer", "StandardScaler") or (kind == "SimpleImputer" and position):
            raise NotAttributableError(f"there are no attributions through {kind} as step {position + 1}")
        for column, block in enumerate(blocks):
            if kind == "SimpleImputer":
                block.fill = float(step.statistics_[column])
            else:
                block.shift = 0.0 if step.mean_ is None else float(step.mean_[column])
                block.scale = 1.0 if step.scale_ is None else float(step.scale_[column])
    return list(blocks)


def _indicators(encoder: Any, column: int, feature: int) -> Indicators:
    places = {text: int(code) for text, code in codes_of(encoder, column).items()}
    width = max(places.values()) + 1
    return Indicators(feature, places, width - 1 if infrequent(encoder, column) is not None else width, width)


def _forest(known: _Known, estimator: Any) -> tuple[Form, Quantity]:
    fitted: list[Any] | None = getattr(estimator, "estimators_", None)
    trees = [estimator] if fitted is None else fitted
    classes: Any = getattr(estimator, "classes_", None)
    if getattr(estimator, "n_outputs_", 1) != 1:
        raise NotAttributableError("there are no attributions of several targets")
    grown = _Grown()
    for tree in trees:
        values = np.asarray(tree.tree_.value[:, 0, :], np.float64) / len(trees)
        two = classes is not None and len(classes) == 2
        grown.add(from_sklearn(tree), tree.tree_.weighted_n_node_samples, values[:, 1:] if two else values)
    targets = 1 if classes is None or len(classes) == 2 else len(classes)
    form = known.form(targets, trees=grown.trees(np.zeros(targets), single=True))
    return form, "prediction" if classes is None else "probability"


def _gradient_boosting(known: _Known, estimator: Any) -> tuple[Form, Quantity]:
    if estimator.init_ != "zero" and not type(estimator.init_).__name__.startswith("Dummy"):
        raise NotAttributableError("there are no attributions for gradient boosting that starts from an estimator")
    start = estimator._raw_predict_init(np.zeros((1, estimator.n_features_in_), np.float32))[0]
    grown = _Grown()
    for stage in estimator.estimators_:
        for target, tree in enumerate(stage):
            values = estimator.learning_rate * tree.tree_.value[:, 0, :]
            grown.add(from_sklearn(tree), tree.tree_.weighted_n_node_samples, values, target)
    form = known.form(len(start), trees=grown.trees(start, single=True))
    return form, "decision_function" if hasattr(estimator, "classes_") else "prediction"


def _histogram_boosting(known: _Known, estimator: Any) -> tuple[Form, Quantity]:
    blocks, categories = _recoded(known.blocks, estimator)
    grown = _Grown()
    for iteration in estimator._predictors:
        for target, predictor in enumerate(iteration):
            values = predictor.nodes["value"].astype(np.float64).reshape(-1, 1)
            grown.add(from_histogram(predictor, categories), predictor.nodes["count"], values, target)
    start = np.ravel(estimator._baseline_prediction)
    form = _Known(known.schema, blocks, known.means).form(len(start), trees=grown.trees(start, single=False))
    if hasattr(estimator, "classes_"):
        return form, "decision_function"
    return form, _LINKS[type(estimator._loss.link).__name__]


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


def _linear(known: _Known, estimator: Any) -> tuple[Form, Quantity]:
    if not hasattr(estimator, "classes_") and np.ndim(estimator.intercept_) > 1:
        raise NotAttributableError("there are no attributions of several targets")
    weights = np.atleast_2d(np.asarray(estimator.coef_, np.float64))
    intercepts = np.broadcast_to(np.asarray(estimator.intercept_, np.float64).ravel(), len(weights))
    line = Linear(weights.tolist(), intercepts.tolist(), known.means(known.blocks).tolist())
    return known.form(len(weights), linear=line), _quantity(estimator)


def _quantity(estimator: Any) -> Quantity:
    kind = type(estimator).__name__
    if hasattr(estimator, "classes_"):
        return "decision_function"
    if kind == "TweedieRegressor":
        return _LINKS[type(estimator._base_loss.link).__name__]
    return "log_prediction" if kind in ("PoissonRegressor", "GammaRegressor") else "prediction"


class _Grown:
    """Collects fitted trees."""

    def __init__(self) -> None:
        self._trees: list[tuple[Tree, Floats, Floats]] = []
        self._roots: list[int] = []
        self._first_targets: list[int] = []
        self._nodes = 0

    def add(self, tree: Tree, cover: NDArray[Any], values: Floats, first_target: int = 0) -> None:
        """`cover` [nodes] and `values` [nodes, width] as in the form."""
        size = len(tree.left)
        if size > MAX_NODES_A_TREE or self._nodes + size > MAX_NODES:
            raise NotAttributableError(
                f"there are attributions for trees of up to {MAX_NODES_A_TREE:,} nodes each and {MAX_NODES:,} together"
            )
        self._trees.append((tree, np.asarray(cover, np.float64), values))
        self._roots.append(self._nodes)
        self._first_targets.append(first_target)
        self._nodes += size

    def trees(self, offsets: Floats, *, single: bool) -> Trees:
        trees = [tree for tree, _, _ in self._trees]

        def children(sides: list[NDArray[np.int64]]) -> bytes:
            moved = [np.where(side < 0, -1, side + root) for side, root in zip(sides, self._roots, strict=True)]
            return np.concatenate(moved).astype("<i4").tobytes()

        def join(parts: Sequence[NDArray[Any]], kind: str) -> bytes:
            return np.concatenate(parts).astype(kind).tobytes()

        return Trees(
            self._roots,
            self._first_targets,
            children([tree.left for tree in trees]),
            children([tree.right for tree in trees]),
            join([tree.feature for tree in trees], "<i4"),
            join([tree.threshold for tree in trees], "<f8"),
            join([tree.missing_left for tree in trees], "u1"),
            join([cover for _, cover, _ in self._trees], "<f8"),
            join([values for _, _, values in self._trees], "<f8"),
            offsets.tolist(),
            single,
            {
                root + node: codes
                for tree, root in zip(trees, self._roots, strict=True)
                for node, codes in tree.members.items()
            },
        )


_LINKS: dict[str, Quantity] = {"IdentityLink": "prediction", "LogLink": "log_prediction"}
_FORESTS = (
    "DecisionTreeClassifier DecisionTreeRegressor ExtraTreeClassifier ExtraTreeRegressor RandomForestClassifier "
    "RandomForestRegressor ExtraTreesClassifier ExtraTreesRegressor"
)
_LINEAR = (
    "ARDRegression BayesianRidge ElasticNet ElasticNetCV GammaRegressor HuberRegressor Lars LarsCV Lasso LassoCV "
    "LassoLars LassoLarsCV LassoLarsIC LinearDiscriminantAnalysis LinearRegression LinearSVC LinearSVR "
    "LogisticRegression LogisticRegressionCV OrthogonalMatchingPursuit OrthogonalMatchingPursuitCV Perceptron "
    "PoissonRegressor QuantileRegressor Ridge RidgeCV RidgeClassifier RidgeClassifierCV SGDClassifier SGDRegressor "
    "TheilSenRegressor TweedieRegressor"
)
_MAKERS: dict[str, _Maker] = {
    **dict.fromkeys(_FORESTS.split(), _forest),
    **dict.fromkeys(("GradientBoostingClassifier", "GradientBoostingRegressor"), _gradient_boosting),
    **dict.fromkeys(("HistGradientBoostingClassifier", "HistGradientBoostingRegressor"), _histogram_boosting),
    **dict.fromkeys(_LINEAR.split(), _linear),
}
