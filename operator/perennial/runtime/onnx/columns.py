"""A pipeline's preprocessing as double operations: from the two inputs to one matrix for the estimator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perennial.wire.schema import NUMBERS, TEXTS, Schema

from .graph import DOUBLE, ML, Graph, NotConvertibleError, doubles, strings


@dataclass
class Matrix:
    """Columns [rows, n] that an estimator sees. `raw` says which are a feature's values as they came, by name."""

    value: str
    columns: int
    raw: dict[int, str] = field(default_factory=dict)
    codes: dict[int, Coded] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Coded:
    """A column of category codes: the text input it comes from and the code of each known text."""

    position: int
    codes: dict[str, float]
    unseen: float


class Inputs:
    """The graph's inputs, declared when they are first asked for, in the order of the format."""

    def __init__(self, graph: Graph, schema: Schema) -> None:
        self.graph = graph
        self.numbers, self.texts = schema.numbers, schema.texts
        if self.numbers:
            graph.input(NUMBERS, len(self.numbers))
        if self.texts:
            graph.input(TEXTS, len(self.texts), text=True)

    def take_numbers(self, names: Sequence[str]) -> str:
        """The columns `names` of the numbers [rows, names]."""
        positions = [self.numbers.index(name) for name in names]
        if positions == list(range(len(self.numbers))):
            return NUMBERS
        return self.graph.add("Gather", NUMBERS, self.graph.constant(np.array(positions, np.int64)), axis=1)

    def coded(self, coded: Coded) -> str:
        """One column [rows, 1] of the codes of a text column."""
        graph = self.graph
        column = graph.add("Gather", TEXTS, graph.constant(np.array([coded.position], np.int64)), axis=1)
        return graph.add(
            "LabelEncoder",
            column,
            domain=ML,
            keys_tensor=strings(list(coded.codes), "keys"),
            values_tensor=doubles(list(coded.codes.values()), "values"),
            default_tensor=doubles([coded.unseen], "default"),
        )


def matrix(inputs: Inputs, columns: Any) -> Matrix:
    """What a fitted ColumnTransformer gives, or for None the features as they are."""
    if columns is None:
        if inputs.texts:
            raise NotConvertibleError("texts without an encoder")
        return _passed(inputs, inputs.numbers)
    blocks = [_block(inputs, transformer, list(names)) for _, transformer, names in columns.transformers_ if len(names)]
    return _beside(inputs.graph, blocks)


def _block(inputs: Inputs, transformer: Any, names: list[str]) -> Matrix:
    kind = "passthrough" if isinstance(transformer, str) else type(transformer).__name__
    if transformer == "passthrough" or (kind == "FunctionTransformer" and transformer.func is None):
        return _passed(inputs, names)
    if kind == "SimpleImputer":
        return _imputed(inputs, transformer, _passed(inputs, names))
    if kind == "Pipeline":
        return _chained(inputs, transformer, names)
    if kind == "OrdinalEncoder":
        return _ordinal(inputs, transformer, names)
    if kind == "OneHotEncoder":
        return _one_hot(inputs, transformer, names)
    raise NotConvertibleError(f"no exact form of {kind}")


def _passed(inputs: Inputs, names: Sequence[str]) -> Matrix:
    return Matrix(inputs.take_numbers(names), len(names), dict(enumerate(names)))


def _chained(inputs: Inputs, pipeline: Any, names: list[str]) -> Matrix:
    block = _passed(inputs, names)
    for _, step in pipeline.steps:
        kind = type(step).__name__
        if kind == "SimpleImputer":
            block = _imputed(inputs, step, block)
        elif kind == "StandardScaler":
            block = _scaled(inputs, step, block)
        else:
            raise NotConvertibleError(f"no exact form of {kind}")
    return block


def _imputed(inputs: Inputs, imputer: Any, block: Matrix) -> Matrix:
    graph = inputs.graph
    fill = graph.constant(np.asarray(imputer.statistics_, np.float64).reshape(1, -1))
    value = graph.add("Where", graph.add("IsNaN", block.value), fill, block.value)
    return Matrix(value, block.columns, block.raw)


def _scaled(inputs: Inputs, scaler: Any, block: Matrix) -> Matrix:
    graph, value = inputs.graph, block.value
    if scaler.mean_ is not None:
        value = graph.add("Sub", value, graph.constant(scaler.mean_.reshape(1, -1)))
    if scaler.scale_ is not None:
        value = graph.add("Div", value, graph.constant(scaler.scale_.reshape(1, -1)))
    return Matrix(value, block.columns)


def _ordinal(inputs: Inputs, encoder: Any, names: list[str]) -> Matrix:
    coded = {
        column: Coded(inputs.texts.index(name), codes_of(encoder, column), float(encoder.unknown_value))
        for column, name in enumerate(names)
    }
    value = _joined(inputs.graph, [inputs.coded(each) for each in coded.values()])
    return Matrix(value, len(names), codes=coded)


def codes_of(encoder: Any, column: int) -> dict[str, float]:
    """The code of each text that the encoder knows; the infrequent ones of a column share one."""
    texts = encoder.categories_[column].tolist()
    mapping = infrequent(encoder, column)
    codes = range(len(texts)) if mapping is None else mapping.tolist()
    return dict(zip(texts, map(float, codes), strict=True))


def infrequent(encoder: Any, column: int) -> NDArray[np.int64] | None:
    """scikit-learn's own map from a category to its code, None where no category is infrequent."""
    mappings = getattr(encoder, "_default_to_infrequent_mappings", None)
    return None if mappings is None else mappings[column]


def _one_hot(inputs: Inputs, encoder: Any, names: list[str]) -> Matrix:
    if encoder.drop is not None:
        raise NotConvertibleError("OneHotEncoder with drop")
    graph, blocks, total = inputs.graph, [], 0
    for column, name in enumerate(names):
        codes = codes_of(encoder, column)
        width = int(max(codes.values())) + 1
        # A code outside of the columns is a row of zeros.
        unseen = width - 1 if infrequent(encoder, column) is not None else width
        value = inputs.coded(Coded(inputs.texts.index(name), codes, float(unseen)))
        places = graph.constant(np.arange(width, dtype=np.float64).reshape(1, -1))
        blocks.append(graph.add("Cast", graph.add("Equal", value, places), to=DOUBLE))
        total += width
    return Matrix(_joined(graph, blocks), total)


def _beside(graph: Graph, blocks: list[Matrix]) -> Matrix:
    raw: dict[int, str] = {}
    codes: dict[int, Coded] = {}
    first = 0
    for block in blocks:
        raw |= {first + column: name for column, name in block.raw.items()}
        codes |= {first + column: coded for column, coded in block.codes.items()}
        first += block.columns
    return Matrix(_joined(graph, [block.value for block in blocks]), first, raw, codes)


def _joined(graph: Graph, values: list[str]) -> str:
    return values[0] if len(values) == 1 else graph.add("Concat", *values, axis=1)
