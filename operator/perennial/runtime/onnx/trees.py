"""Decision trees as arrays, and any number of them as one `ai.onnx.ml` TreeEnsemble.

The order of trees is the order in which ONNX Runtime adds their leaves up on one thread, which is scikit-learn's order
too: sums come out equal to the last bit.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import helper

from .graph import DOUBLE, FLOAT, ML, Graph, NotConvertibleError, doubles, singles

LESS_OR_EQUAL, MEMBER = 0, 6
MAX_NODES = 4_000_000
"""Beyond, the model would take minutes to load and gigabytes to hold."""

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Tree:
    """One tree; node 0 is the root. `left` is -1 at leaves. `members[node]` are the categories that go left."""

    left: Ints
    right: Ints
    feature: Ints
    threshold: Floats
    missing_left: Ints
    members: dict[int, list[int]] = field(default_factory=dict)

    @property
    def is_leaf(self) -> NDArray[np.bool_]:
        return np.asarray(self.left < 0)


_NONE = np.full(1, -1, np.int64)
STUMP = Tree(_NONE, _NONE, _NONE, np.zeros(1), np.zeros(1, np.int64))
"""A tree that is a leaf: it adds a constant at its place in the sum."""


def float32(graph: Graph, value: str) -> str:
    """scikit-learn's trees compare float32 values with double thresholds."""
    return graph.add("Cast", graph.add("Cast", value, to=FLOAT), to=DOUBLE)


def from_sklearn(fitted: Any) -> Tree:
    """A fitted DecisionTree* or ExtraTree*. Raises NotConvertibleError for any other estimator of an ensemble."""
    if not hasattr(fitted, "tree_"):
        raise NotConvertibleError(f"no exact form of an ensemble of {type(fitted).__name__}")
    tree = fitted.tree_
    return Tree(
        left=np.asarray(tree.children_left, np.int64),
        right=np.asarray(tree.children_right, np.int64),
        feature=np.asarray(tree.feature, np.int64),
        threshold=np.asarray(tree.threshold, np.float64),
        missing_left=np.asarray(tree.missing_go_to_left, np.int64),
    )


def shapes_of(estimator: Any, trees: list[Any]) -> list[Tree]:
    """The trees over the columns of the matrix: bagging shows each tree columns of its own choice."""
    shapes = [from_sklearn(tree) for tree in trees]
    columns = getattr(estimator, "estimators_features_", None)
    if columns is None:
        return shapes
    return [
        replace(shape, feature=np.where(shape.is_leaf, shape.feature, np.asarray(chosen)[shape.feature]))
        for shape, chosen in zip(shapes, columns, strict=True)
    ]


def from_histogram(predictor: Any, known: dict[int, int]) -> Tree:
    """A TreePredictor of histogram gradient boosting. `known` is the number of categories by categorical column."""
    nodes = predictor.nodes
    leaf = nodes["is_leaf"].astype(bool)
    feature = nodes["feature_idx"].astype(np.int64)
    left, right = nodes["left"].astype(np.int64), nodes["right"].astype(np.int64)
    missing = nodes["missing_go_to_left"].astype(np.int64)
    members: dict[int, list[int]] = {}
    for node in np.flatnonzero(~leaf & nodes["is_categorical"].astype(bool)).tolist():
        bits = predictor.raw_left_cat_bitsets[nodes["bitset_idx"][node]]
        every = range(known[int(feature[node])])
        goes_left = [code for code in every if int(bits[code // 32]) >> (code % 32) & 1]
        if 2 * len(goes_left) > len(every):
            # The runtime tests members one by one: the smaller side is the cheaper question.
            goes_left = [code for code in every if code not in set(goes_left)]
            left[node], right[node], missing[node] = right[node], left[node], 1 - missing[node]
        # An empty list of members crashes the runtime; -1 is no category.
        members[node] = goes_left or [-1]
    left[leaf] = -1
    return Tree(left, right, feature, nodes["num_threshold"].astype(np.float64), missing, members)


class Ensemble:
    """Trees with the value that each of their leaves adds to one target."""

    def __init__(self) -> None:
        self._trees: list[tuple[Tree, int, Floats]] = []
        self._nodes = 0

    def add(self, tree: Tree, target: int, values: Floats) -> None:
        """`values` [nodes of the tree]: what each leaf adds to `target`."""
        self._nodes += len(tree.left)
        if self._nodes > MAX_NODES:
            raise NotConvertibleError(f"the trees have more than {MAX_NODES:,} nodes")
        self._trees.append((tree, target, values))

    def node(self, graph: Graph, rows: str, targets: int, *, single: bool = False) -> str:
        """The sums [rows, targets] of this ensemble over `rows` [rows, columns], both in single precision or both in
        double."""
        parts = [_Part(tree, target, values) for tree, target, values in self._trees]
        nodes = np.cumsum([0, *(part.inner for part in parts)])
        leaves = np.cumsum([0, *(part.outer for part in parts)])
        laid = [part.laid(node, leaf) for part, node, leaf in zip(parts, nodes, leaves, strict=False)]

        def join(key: str, kind: type) -> NDArray[Any]:
            return np.concatenate([part[key] for part in laid]).astype(kind)

        numbers = singles if single else doubles
        members = [[*codes, np.nan] for part in parts for codes in part.members]
        sets = {"membership_values": numbers(np.concatenate(members), "members")} if members else {}
        return graph.add(
            "TreeEnsemble",
            rows,
            domain=ML,
            aggregate_function=1,
            post_transform=0,
            n_targets=targets,
            tree_roots=nodes[:-1].tolist(),
            nodes_featureids=join("feature", np.int64).tolist(),
            nodes_splits=numbers(join("split", np.float64), "splits"),
            nodes_modes=helper.make_tensor("modes", 2, [int(nodes[-1])], join("mode", np.uint8).tobytes(), raw=True),
            nodes_truenodeids=join("true", np.int64).tolist(),
            nodes_falsenodeids=join("false", np.int64).tolist(),
            nodes_trueleafs=join("true_leaf", np.int64).tolist(),
            nodes_falseleafs=join("false_leaf", np.int64).tolist(),
            nodes_missing_value_tracks_true=join("missing", np.int64).tolist(),
            leaf_targetids=join("target", np.int64).tolist(),
            leaf_weights=numbers(join("weight", np.float64), "weights"),
            **sets,
        )

    def thresholds(self) -> dict[int, Floats]:
        """By column, the values at which numeric questions change their answer."""
        found: dict[int, list[Floats]] = {}
        for tree, _, _ in self._trees:
            asks = ~tree.is_leaf
            asks[list(tree.members)] = False
            # An infinite threshold only asks whether a value is missing.
            asks &= np.isfinite(tree.threshold)
            for column in np.unique(tree.feature[asks]).tolist():
                found.setdefault(column, []).append(tree.threshold[asks & (tree.feature == column)])
        return {column: np.unique(np.concatenate(values)) for column, values in found.items()}


class _Part:
    """One tree's share of the ensemble's arrays: inner nodes and leaves are numbered apart."""

    def __init__(self, tree: Tree, target: int, values: Floats) -> None:
        leaf = tree.is_leaf
        self._tree, self._target, self._leaf = tree, target, leaf
        self._weights = values[leaf]
        self._ids = np.where(leaf, np.cumsum(leaf) - 1, np.cumsum(~leaf) - 1)
        self.outer = int(leaf.sum())
        # A tree that is a leaf still needs a node: one whose both branches end there.
        self.inner = max(1, int((~leaf).sum()))
        self.members = [tree.members[node] for node in sorted(tree.members)]

    def laid(self, first_node: int, first_leaf: int) -> dict[str, Any]:
        out = {"weight": self._weights, "target": np.full(self.outer, self._target)}
        if self._leaf[0]:
            zero, one, at = np.zeros(1), np.ones(1), np.full(1, first_leaf)
            alone = {"feature": zero, "split": zero, "mode": zero, "true": at, "false": at, "missing": zero}
            return out | alone | {"true_leaf": one, "false_leaf": one}
        tree, inner = self._tree, ~self._leaf
        left, right = tree.left[inner], tree.right[inner]
        starts = np.where(self._leaf, first_leaf, first_node)
        mode = np.zeros(len(tree.left), np.uint8)
        mode[list(tree.members)] = MEMBER
        return out | {
            "feature": tree.feature[inner],
            "split": np.where(mode == MEMBER, 0.0, tree.threshold)[inner],
            "mode": mode[inner],
            "true": (self._ids + starts)[left],
            "false": (self._ids + starts)[right],
            "true_leaf": self._leaf[left],
            "false_leaf": self._leaf[right],
            "missing": tree.missing_left[inner],
        }
