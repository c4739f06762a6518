"""Attributions by trees: path-dependent TreeSHAP, exact, for all nodes of many trees at a time.

A feature's Shapley value is its mean contribution over all orders in which features become known; while one is not
known, a row goes to both children in the shares in which the training rows did (Lundberg et al., "From local
explanations to global understanding with explainable AI for trees", 2020, algorithm 1). For one leaf of value v, with
z_k the share of the training rows that feature k's questions let through and o_k 1 where they let this row through,
else 0, the value of feature j is

    v * (o_j - z_j) * integral over u from 0 to 1 of the product over k != j of (z_k * (1 - u) + o_k * u),

since u^s * (1-u)^(d-1-s) integrates to s! (d-1-s)! / d!, the weight of a set of s features among d. The integrand is a
polynomial of degree d - 1, which Gauss-Legendre quadrature integrates without error from d / 2 points. The products
are shared by all leaves below a node, so that they are carried down the levels and sums of leaves up again: the work
for a row is the number of nodes times the number of points. Where a path asks a feature again, the later question
takes the place of the earlier (cf. Yu et al., "Linear TreeShap", 2022).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .form import Trees

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Bools = NDArray[np.bool_]

_NODES_AT_A_TIME = 8192
"""Their products at all points fit into a processor's cache."""
_LEAST_SHARE = 1e-12
"""In place of 0, the share of a child that no training row came to."""


class Forest:
    """Explains rows by all trees of a form."""

    def __init__(self, trees: Trees, targets: int, columns: int) -> None:
        nodes = _Nodes.of(trees)
        self._single = trees.single
        self._targets, self._columns = targets, columns
        self._parts = [
            (slice(first, first + nodes.values.shape[1]), _Part(nodes, roots, columns))
            for first, roots in _portions(trees, len(nodes.left))
        ]
        self.base = np.array(trees.offsets)
        """[targets]: what the model says of a row of which nothing is known."""
        for its, part in self._parts:
            self.base[its] += part.base

    def __call__(self, matrix: Floats) -> Floats:
        """[rows, targets, columns] of `matrix` [rows, columns]."""
        if self._single:
            matrix = matrix.astype(np.float32).astype(np.float64)
        found = np.zeros((len(matrix), self._targets, self._columns))
        for row, values in enumerate(matrix):
            for its, part in self._parts:
                found[row, its] += part(values)
        return found


def _portions(trees: Trees, nodes: int) -> Iterator[tuple[int, Ints]]:
    """Trees with the same targets, as many as are worked on at a time: the first target and the roots."""
    sizes = np.diff([*trees.roots, nodes])
    chosen: list[int] = []
    total = 0
    order = sorted(range(len(sizes)), key=lambda tree: trees.first_targets[tree])
    for tree, after in zip(order, [*order[1:], None], strict=True):
        chosen.append(trees.roots[tree])
        total += int(sizes[tree])
        first = trees.first_targets[tree]
        if after is None or trees.first_targets[after] != first or total + int(sizes[after]) > _NODES_AT_A_TIME:
            yield first, np.array(chosen, np.intp)
            chosen, total = [], 0


@dataclass(frozen=True, slots=True)
class _Nodes:
    """The arrays of a form."""

    left: Ints
    right: Ints
    column: Ints
    threshold: Floats
    missing_left: Bools
    cover: Floats
    values: Floats
    members: dict[int, list[int]]

    @staticmethod
    def of(trees: Trees) -> _Nodes:
        left = np.frombuffer(trees.left, "<i4").astype(np.intp)
        return _Nodes(
            left,
            np.frombuffer(trees.right, "<i4").astype(np.intp),
            np.frombuffer(trees.column, "<i4").astype(np.intp),
            np.frombuffer(trees.threshold, "<f8"),
            np.frombuffer(trees.missing_left, "u1").astype(bool),
            np.frombuffer(trees.cover, "<f8"),
            np.frombuffer(trees.values, "<f8").reshape(len(left), -1),
            trees.members,
        )


class _Part:
    """Some trees, their nodes laid out level by level, the two children of a node side by side.

    Roots come first; the children of the i-th node that has some are at `roots + 2i` and the place after it. What is
    said of a node is said of the edge that leads to it.
    """

    def __init__(self, nodes: _Nodes, roots: Ints, columns: int) -> None:
        ids, self._levels = _laid(nodes, roots)
        self._roots, self._columns = len(roots), columns
        self._inner = np.flatnonzero(nodes.left[ids] >= 0)
        self._leaves = np.flatnonzero(nodes.left[ids] < 0)
        splits = ids[self._inner]
        self._column = nodes.column[splits]
        self._threshold = nodes.threshold[splits]
        self._missing_left = nodes.missing_left[splits]
        self._choices = _Choices(nodes, splits)
        self._values = nodes.values[ids[self._leaves]].T
        parent = np.concatenate([np.arange(len(roots)), np.repeat(self._inner, 2)])
        self._parent = parent
        self._before = self._edges_before(parent)
        share = np.maximum(nodes.cover[ids] / nodes.cover[ids[parent]], _LEAST_SHARE)
        self._known = self._products(share, self._before)
        features = self._sums(self._before < len(roots), parent)
        points, weights = np.polynomial.legendre.leggauss(max(1, -(-int(features.max()) // 2)))
        self._points, self._weights = (points[:, None] + 1) / 2, weights[:, None] / 2
        self.base: Floats = self._values @ self._products(share, parent)[self._leaves]

    def _edges_before(self, parent: Ints) -> Ints:
        """The nearest edge above that asks the same column, else the root."""
        column = np.concatenate([np.full(self._roots, -1), np.repeat(self._column, 2)])
        before = parent.copy()
        todo = np.arange(self._roots, len(parent))
        while len(todo):
            above = before[todo]
            todo = todo[(above >= self._roots) & (column[above] != column[todo])]
            before[todo] = parent[before[todo]]
        return before

    def _products(self, factors: Floats, above: Ints) -> Floats:
        found = np.ones(len(factors))
        for level in self._levels:
            found[level] = found[above[level]] * factors[level]
        return found

    def _sums(self, new: Bools, parent: Ints) -> Ints:
        found = np.zeros(len(parent), np.intp)
        for level in self._levels:
            found[level] = found[parent[level]] + new[level]
        return found

    def __call__(self, row: Floats) -> Floats:
        """[width, columns] of one row [columns]."""
        passes = self._passes(row)
        factors = self._known * (1 - self._points) + passes * self._points
        gains = (passes - self._known) / factors
        below = factors / factors.take(self._before, axis=1)
        products = np.ones_like(factors)
        for level in self._levels:
            products[:, level] = products.take(self._parent[level], axis=1) * below[:, level]
        gains = (gains - gains.take(self._before, axis=1)) * self._weights
        return np.array([self._added(products, values, gains) for values in self._values])

    def _passes(self, row: Floats) -> Bools:
        """Whether the row answers as this edge asks, and all edges above it that ask the same column."""
        asked = row[self._column]
        left = asked <= self._threshold
        missing = np.isnan(asked)
        self._choices.answer(asked, missing, left)
        left[missing] = self._missing_left[missing]
        passes = np.ones(len(self._parent), bool)
        passes[self._roots :: 2] = left
        passes[self._roots + 1 :: 2] = ~left
        for level in self._levels:
            passes[level] &= passes[self._before[level]]
        return passes

    def _added(self, products: Floats, values: Floats, gains: Floats) -> Floats:
        """[columns]: what the edges of each column add to one target."""
        sums = np.zeros_like(products)
        sums[:, self._leaves] = products.take(self._leaves, axis=1) * values
        for level in reversed(self._levels):
            sums[:, self._parent[level][::2]] = sums[:, level][:, ::2] + sums[:, level][:, 1::2]
        each = np.einsum("pn,pn->n", sums[:, self._roots :], gains[:, self._roots :])
        return np.bincount(self._column, each[::2] + each[1::2], self._columns).astype(np.float64)


class _Choices:
    """The questions that ask whether a code is among some, as a table by code."""

    def __init__(self, nodes: _Nodes, splits: Ints) -> None:
        self._at = np.flatnonzero(np.isin(splits, list(nodes.members)))
        chosen = [nodes.members[node] for node in splits[self._at].tolist()]
        self._table = np.zeros((len(chosen), 1 + max((max(codes) for codes in chosen), default=0)), bool)
        for place, codes in enumerate(chosen):
            self._table[place, [code for code in codes if code >= 0]] = True

    def answer(self, asked: Floats, missing: Bools, left: Bools) -> None:
        """Set in `left` which of these go left; what they say of missing ones is of no meaning."""
        if not len(self._at):
            return
        codes = np.where(missing, 0, asked)[self._at].astype(np.intp)
        within = (codes >= 0) & (codes < self._table.shape[1])
        left[self._at] = within & self._table[np.arange(len(codes)), np.where(within, codes, 0)]


def _laid(nodes: _Nodes, roots: Ints) -> tuple[Ints, list[slice]]:
    """The nodes level by level, and the places of each level but the roots'."""
    levels: list[slice] = []
    found, start = [roots], len(roots)
    while True:
        last = found[-1]
        inner = last[nodes.left[last] >= 0]
        if not len(inner):
            return np.concatenate(found), levels
        found.append(np.column_stack([nodes.left[inner], nodes.right[inner]]).ravel())
        levels.append(slice(start, start + len(found[-1])))
        start += len(found[-1])
