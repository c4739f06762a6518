"""The form in which a version keeps what its attributions are computed from: `attributions.msgpack`.

It holds no more than that, so that whoever explains an answer needs no scikit-learn, which takes more memory by itself
than a whole server of an ONNX model. Arrays are little-endian bytes.
"""

from __future__ import annotations

import msgspec


class Number(msgspec.Struct, tag=True, omit_defaults=True):
    """One column: a numeric or boolean feature, filled where it is missing, then shifted and scaled."""

    feature: int
    fill: float | None = None
    shift: float = 0.0
    scale: float = 1.0


class Codes(msgspec.Struct, tag=True):
    """One column: a categorical feature's code."""

    feature: int
    codes: dict[str, float]
    unseen: float


class Indicators(msgspec.Struct, tag=True):
    """`width` columns: 1 in the place of a categorical feature's text, and 0; all are 0 for place `width`."""

    feature: int
    places: dict[str, int]
    unseen: int
    width: int


Block = Number | Codes | Indicators


class Linear(msgspec.Struct):
    """`weights` [targets][columns], `intercepts` [targets]; `means` [columns] of the rows that were learned from."""

    weights: list[list[float]]
    intercepts: list[float]
    means: list[float]


class Trees(msgspec.Struct):
    """All trees' nodes in one row. `left` and `right` are nodes, -1 at leaves.

    A tree adds the `values` [nodes, width] of the leaf that a row comes to, to `width` targets from its own first one
    on. `cover` is the weight of the training rows that came to a node. `members[node]` are the codes that go left.
    With `single` a column is rounded to float32 before it is compared, as scikit-learn does.
    """

    roots: list[int]
    first_targets: list[int]
    left: bytes
    right: bytes
    column: bytes
    threshold: bytes
    missing_left: bytes
    cover: bytes
    values: bytes
    offsets: list[float]
    single: bool
    members: dict[int, list[int]] = {}


class Form(msgspec.Struct, omit_defaults=True):
    """How the estimator's columns come from `features` features, and how `targets` sums come from the columns."""

    features: int
    targets: int
    blocks: list[Block]
    linear: Linear | None = None
    trees: Trees | None = None
