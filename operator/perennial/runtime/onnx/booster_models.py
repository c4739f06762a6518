"""LightGBM's and XGBoost's models, read from the text formats that both have themselves: their trees in order, what the
sums begin with, and what the sums are taken for.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .graph import NotConvertibleError
from .trees import STUMP, Floats, Ints, Tree

Singles = NDArray[np.float32]

LOG_LINKS = ("poisson", "gamma", "tweedie", "count:poisson", "reg:gamma", "reg:tweedie")
TWO_CLASSES = ("binary", "binary:logistic")
_NAN_MISSING, _ZERO_MISSING = 2, 1


class Boosted(NamedTuple):
    """One tree: what each of its nodes, if it is a leaf, adds to one target, and the weight of the training rows that
    came to each node, as the library's own attributions take it."""

    shape: Tree
    target: int
    values: Floats
    cover: Floats


class BoosterModel(NamedTuple):
    """A model. Its sums begin with `start` [targets], take the trees in their order. What is predicted comes of
    the sum divided by `divisor`, the decision function is the sum itself."""

    trees: list[Boosted]
    start: Floats
    objective: str
    divisor: float = 1.0
    steepness: float = 1.0
    """Of LightGBM's sigmoid."""


def lightgbm_model(estimator: Any) -> BoosterModel:
    """Of a fitted LGBMClassifier or LGBMRegressor. Raises NotConvertibleError."""
    text = estimator.booster_.model_to_string()
    head, *trees = text.partition("\nend of trees")[0].split("\nTree=")
    settings = _pairs(head)
    objective, *options = settings.get("objective", "of its own").split()
    if "sqrt" in options:
        raise NotConvertibleError("no exact form of reg_sqrt")
    targets = int(settings["num_tree_per_iteration"])
    return BoosterModel(
        [_lightgbm_tree(_pairs(tree), place % targets) for place, tree in enumerate(trees)],
        np.zeros(targets),
        objective,
        divisor=len(trees) / targets if "average_output" in head.splitlines() else 1.0,
        steepness=float(dict(option.split(":") for option in options).get("sigmoid", 1.0)),
    )


def xgboost_model(estimator: Any) -> BoosterModel:
    """Of a fitted XGBClassifier, XGBRegressor or one of their forests, all numbers in single precision. Raises
    NotConvertibleError."""
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
    start = _start(json.loads(settings["base_score"]), objective, max(1, int(settings["num_class"])))
    trees = []
    for place, (target, tree) in enumerate(zip(model["tree_info"], model["trees"], strict=True)):
        shape, values = _xgboost_tree(tree)
        if weights is not None:
            # As its sum does, with the start in each and out again.
            values = np.float32(weights[place]) * ((start[target] + values) - start[target])
        cover = np.asarray(tree["sum_hessian"], np.float64)
        trees.append(Boosted(shape, target, values.astype(np.float64), cover))
    return BoosterModel(trees, start.astype(np.float64), objective)


def _pairs(block: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in block.splitlines() if "=" in line)


def _lightgbm_tree(said: dict[str, str], target: int) -> Boosted:
    """Inner nodes as LightGBM numbers them, then the leaves, which it numbers apart as -1, -2 and so on."""
    leaves = np.array(said["leaf_value"].split(), np.float64)
    if said.get("is_linear", "0") != "0":
        raise NotConvertibleError("no exact form of linear_tree")
    if len(leaves) == 1:
        return Boosted(STUMP, target, leaves, np.ones(1))

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
    counts = np.concatenate([ints("internal_count"), ints("leaf_count")]).astype(np.float64)
    return Boosted(tree, target, np.concatenate([np.zeros(inner), leaves]), counts)


def _set_bits(said: dict[str, str], place: int) -> list[int]:
    """The categories that go left at the split of this number, from LightGBM's words of 32 bits."""
    first, last = (int(bound) for bound in said["cat_boundaries"].split()[place : place + 2])
    words = [int(word) for word in said["cat_threshold"].split()[first:last]]
    return [32 * at + bit for at, word in enumerate(words) for bit in range(32) if word >> bit & 1]


def _start(base: list[float] | float, objective: str, targets: int) -> Singles:
    """What the sums begin with [targets]: the model keeps it as a prediction, in single precision."""
    start = np.broadcast_to(np.atleast_1d(np.asarray(base, np.float32)), targets)
    if objective in TWO_CLASSES:
        return -_logarithm(np.float32(1) / start - np.float32(1))
    return _logarithm(start) if objective in LOG_LINKS else start


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
