"""What is known of a pipeline before its estimator is looked at, and its trees as they are collected."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perennial.runtime.onnx.trees import Tree
from perennial.wire.schema import Schema

from .form import Block, Form, Trees

Floats = NDArray[np.float64]
Means = Callable[[Sequence[Block]], Floats]

MAX_NODES, MAX_NODES_A_TREE = 1_000_000, 100_000
"""Beyond, a row takes a good part of a second, and the process that explains gigabytes."""


class NotAttributableError(Exception):
    """There is no exact form for this model here. The message says why."""


@dataclass(frozen=True, slots=True)
class Known:
    """The features, the columns that the estimator sees, and the means [columns] of the rows that it learned from."""

    schema: Schema
    blocks: list[Block]
    means: Means

    def form(self, targets: int, **model: Any) -> Form:
        return Form(len(self.schema.features), targets, self.blocks, **model)


class Grown:
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
