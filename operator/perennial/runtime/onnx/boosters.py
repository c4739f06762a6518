"""LightGBM's and XGBoost's models as graphs, read from the text formats that both have themselves.

LightGBM compares and adds in double precision, XGBoost in single. Each sum begins with the constant that theirs begins
with and takes the trees in their order, so that it comes out equal to the last bit.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import heads
from .columns import Inputs, Matrix
from .graph import DOUBLE, FLOAT, Graph, NotConvertibleError
from .trees import STUMP, Ensemble, Floats, Ints, Tree

Singles = NDArray[np.float32]

_LOG_LINKS = ("poisson", "gamma", "tweedie", "count:poisson", "reg:gamma", "reg:tweedie")
_IDENTITY = (
    *("regression", "regression_l1", "huber", "fair", "quantile", "mape"),
    *("reg:squarederror", "reg:absoluteerror", "reg:pseudohubererror", "reg:quantileerror"),
)
_NAN_MISSING, _ZERO_MISSING = 2, 1


def lightgbm(inputs: Inputs, matrix: Matrix, estimator: Any) -> Ensemble:
    """An LGBMClassifier or LGBMRegressor."""
    graph, model = inputs.graph, _lightgbm_model(estimator)
    raw, ensemble = _lightgbm_sum(graph, matrix, model)
    if not hasattr(estimator, "classes_"):
        _regression(graph, raw, model.objective)
        return ensemble
    scaled = graph.add("Mul", raw, graph.constant(model.steepness))
    probabilities = _probabilities(graph, scaled, model.objective)
    heads.label_of_largest(graph, probabilities, estimator.classes_)
    heads.give_probabilities(graph, probabilities, estimator.classes_)
    return ensemble


def lightgbm_scores(inputs: Inputs, matrix: Matrix, estimator: Any) -> tuple[str, Ensemble]:
    """What scikit-learn calibrates: LightGBM has a decision function, the sum itself."""
    return _lightgbm_sum(inputs.graph, matrix, _lightgbm_model(estimator))


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
    if objective not in _IDENTITY + _LOG_LINKS:
        raise NotConvertibleError(f"no exact form of a regression with the objective {objective!r}")
    heads.regression(graph, raw, "log" if objective in _LOG_LINKS else "identity")


def _probabilities(graph: Graph, raw: str, objective: str) -> str:
    linked = _link(graph, raw, objective)
    return heads.binary_probabilities(graph, linked) if objective in _TWO_CLASSES else linked


_TWO_CLASSES = ("binary", "binary:logistic")
_MANY_CLASSES = ("multiclass", "multi:softprob", "multi:softmax")


def _link(graph: Graph, raw: str, objective: str) -> str:
    if objective in _TWO_CLASSES:
        return graph.add("Sigmoid", raw)
    if objective in _MANY_CLASSES:
        return graph.add("Softmax", raw, axis=1)
    raise NotConvertibleError(f"no exact form of a classification with the objective {objective!r}")


class _LightGbm(NamedTuple):
    """A model's text, taken apart."""

    targets: int
    trees: list[dict[str, str]]
    is_mean: bool
    objective: str
    steepness: float


def _lightgbm_model(estimator: Any) -> _LightGbm:
    text = estimator.booster_.model_to_string()
    head, *trees = text.partition("\nend of trees")[0].split("\nTree=")
    settings = _pairs(head)
    objective, *options = settings.get("objective", "of its own").split()
    if "sqrt" in options:
        raise NotConvertibleError("no exact form of reg_sqrt")
    return _LightGbm(
        targets=int(settings["num_tree_per_iteration"]),
        trees=[_pairs(tree) for tree in trees],
        is_mean="average_output" in head.splitlines(),
        objective=objective,
        steepness=float(dict(option.split(":") for option in options).get("sigmoid", 1.0)),
    )


def _lightgbm_sum(graph: Graph, matrix: Matrix, model: _LightGbm) -> tuple[str, Ensemble]:
    """The raw scores [rows, targets]."""
    ensemble = Ensemble()
    for place, tree in enumerate(model.trees):
        shape, values = _lightgbm_tree(tree)
        _refuse_uncoded(shape, matrix)
        ensemble.add(shape, place % model.targets, values)
    # It takes no notice of values so small.
    tiny = graph.add("LessOrEqual", graph.add("Abs", matrix.value), graph.constant(float(np.float32(1e-35))))
    rows = graph.add("Where", tiny, graph.constant(0.0), matrix.value)
    raw = ensemble.node(graph, rows, model.targets)
    if model.is_mean:
        raw = graph.add("Div", raw, graph.constant(float(len(model.trees) // model.targets)))
    return raw, ensemble


def _pairs(block: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in block.splitlines() if "=" in line)


def _lightgbm_tree(said: dict[str, str]) -> tuple[Tree, Floats]:
    """Inner nodes as LightGBM numbers them, then the leaves, which it numbers apart as -1, -2 and so on."""
    leaves = np.array(said["leaf_value"].split(), np.float64)
    if said.get("is_linear", "0") != "0":
        raise NotConvertibleError("no exact form of linear_tree")
    if len(leaves) == 1:
        return STUMP, leaves

    def ints(name: str) -> Ints:
        return np.array(said[name].split(), np.int64)

    threshold = np.array(said["threshold"].split(), np.float64)
    kinds = ints("decision_type")
    missing = kinds >> 2 & 3
    if (missing == _ZERO_MISSING).any():
        raise NotConvertibleError("no exact form of zero_as_missing")
    # A missing value counts as 0 where training saw none, and as a category that is not asked for.
    missing_left = np.where(missing == _NAN_MISSING, kinds >> 1 & 1, threshold >= 0.0)
    categorical = (kinds & 1).astype(bool)
    missing_left[categorical] = 0
    inner = len(threshold)
    members = {node: _set_bits(said, int(threshold[node])) for node in np.flatnonzero(categorical).tolist()}

    def placed(children: Ints) -> Ints:
        return np.where(children < 0, inner + ~children, children)

    none, zero = np.full(len(leaves), -1, np.int64), np.zeros(len(leaves))
    tree = Tree(
        left=np.concatenate([placed(ints("left_child")), none]),
        right=np.concatenate([placed(ints("right_child")), none]),
        feature=np.concatenate([ints("split_feature"), none]),
        threshold=np.concatenate([threshold, zero]),
        missing_left=np.concatenate([missing_left, none]),
        members=members,
    )
    return tree, np.concatenate([np.zeros(inner), leaves])


def _set_bits(said: dict[str, str], place: int) -> list[int]:
    """The categories that go left at the split of this number, from LightGBM's words of 32 bits."""
    first, last = (int(bound) for bound in said["cat_boundaries"].split()[place : place + 2])
    words = [int(word) for word in said["cat_threshold"].split()[first:last]]
    return [32 * at + bit for at, word in enumerate(words) for bit in range(32) if word >> bit & 1]


def _refuse_uncoded(tree: Tree, matrix: Matrix) -> None:
    """Both libraries cut a number off to take it for a category, and no graph here does."""
    if any(int(tree.feature[node]) not in matrix.codes for node in tree.members):
        raise NotConvertibleError("no exact form of categorical splits of a column of numbers")


def _xgboost_sum(inputs: Inputs, matrix: Matrix, estimator: Any) -> tuple[str, Ensemble, str]:
    """The raw scores [rows, targets] in double precision, added up in single."""
    graph, ensemble = inputs.graph, Ensemble()
    learner = json.loads(bytes(estimator.get_booster().save_raw("json")))["learner"]
    if not np.isnan(estimator.missing):
        raise NotConvertibleError("no exact form of a value of one's own for what is missing")
    booster, objective = learner["gradient_booster"], learner["objective"]["name"]
    weights = booster.get("weight_drop")
    model = booster["gbtree"]["model"] if booster["name"] == "dart" else booster.get("model", {})
    if "trees" not in model:
        raise NotConvertibleError(f"no exact form of the booster {booster['name']}")
    settings = learner["learner_model_param"]
    if int(settings["num_target"]) > 1:
        raise NotConvertibleError("several targets")
    targets = max(1, int(settings["num_class"]))
    start = _start(json.loads(settings["base_score"]), objective, targets)
    for target, value in enumerate(start):
        ensemble.add(STUMP, target, np.array([value], np.float64))
    for place, (target, tree) in enumerate(zip(model["tree_info"], model["trees"], strict=True)):
        shape, values = _xgboost_tree(tree)
        _refuse_uncoded(shape, matrix)
        if weights is not None:
            # As its sum does, with the start in each and out again.
            values = np.float32(weights[place]) * ((start[target] + values) - start[target])
        ensemble.add(shape, target, values.astype(np.float64))
    rows = graph.add("Cast", matrix.value, to=FLOAT)
    total = ensemble.node(graph, rows, targets, single=True)
    return graph.add("Cast", total, to=DOUBLE), ensemble, objective


def _start(base: list[float] | float, objective: str, targets: int) -> Singles:
    """What the sums begin with [targets]: the model keeps it as a prediction, in single precision."""
    start = np.broadcast_to(np.atleast_1d(np.asarray(base, np.float32)), targets)
    if objective in _TWO_CLASSES:
        return -_logarithm(np.float32(1) / start - np.float32(1))
    return _logarithm(start) if objective in _LOG_LINKS else start


def _logarithm(values: Singles) -> Singles:
    """Rounded as the C library's logf is, which numpy's of single numbers is not."""
    return np.log(values.astype(np.float64)).astype(np.float32)


def _xgboost_tree(said: dict[str, Any]) -> tuple[Tree, Singles]:
    if int(said["tree_param"]["size_leaf_vector"]) > 1:
        raise NotConvertibleError("no exact form of multi_output_tree")
    left, right = (np.asarray(said[f"{side}_children"], np.int64) for side in ("left", "right"))
    missing_left = np.asarray(said["default_left"], np.int64)
    members = _categories(said)
    for node in members:
        # The categories that it lists are those that go right.
        left[node], right[node], missing_left[node] = right[node], left[node], 1 - missing_left[node]
    split = np.asarray(said["split_conditions"], np.float32)
    # It asks for less, where a node of ours asks for at most.
    threshold = np.nextafter(split, np.float32(-np.inf)).astype(np.float64)
    tree = Tree(
        left=left,
        right=right,
        feature=np.asarray(said["split_indices"], np.int64),
        threshold=np.where(left < 0, 0.0, threshold),
        missing_left=missing_left,
        members=members,
    )
    return tree, split


def _categories(said: dict[str, Any]) -> dict[int, list[int]]:
    """The categories that are listed at each categorical node."""
    starts = zip(said["categories_nodes"], said["categories_segments"], said["categories_sizes"], strict=True)
    return {node: said["categories"][first : first + size] for node, first, size in starts}
