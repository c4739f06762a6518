"""From tensors to rows: a model's inputs as the two matrices that every engine takes (see `runtime/model_format.md`).

A request brings one tensor a feature, by name, or one matrix with the features as columns. Tensors of names that the
model does not know are ignored, so that clients may send a new version's features before it is rolled out.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from perennial.runtime.server.refusal import Refusal, invalid
from perennial.runtime.server.tensors import Given
from perennial.wire.schema import Example, Feature, Schema

MAX_ROWS = 100_000
"""Of one request. Rows of one byte a value become many times as much in the answer."""


class Rows(msgspec.Struct, eq=False):
    """`numbers` is float64 [n, numeric and boolean features], `texts` str [n, categorical features] or None without
    any. `keys` [n] are what rows are found by again, as they came (`runtime/keys.py`); None where nobody asked.
    """

    count: int
    numbers: NDArray[np.float64]
    texts: NDArray[np.object_] | None = None
    keys: list[Any] | None = None

    def take(self, indices: NDArray[np.intp] | slice) -> Rows:
        numbers = self.numbers[indices]
        return Rows(len(numbers), numbers, None if self.texts is None else self.texts[indices])


def joined(parts: list[Rows]) -> Rows:
    """The rows of at least one part, one after another."""
    if len(parts) == 1:
        return parts[0]
    numbers = np.concatenate([part.numbers for part in parts])
    texts = [part.texts for part in parts if part.texts is not None]
    return Rows(len(numbers), numbers, np.concatenate(texts) if texts else None, _joined_keys(parts))


def _joined_keys(parts: list[Rows]) -> list[Any] | None:
    keys = [part.keys for part in parts]
    if None not in keys:
        return list(chain.from_iterable(cast("list[list[Any]]", keys)))
    if not any(keys):
        return None
    return [key for part in parts for key in part.keys or [None] * part.count]


class Gatherer:
    """Makes Rows for one model's schema."""

    def __init__(self, schema: Schema) -> None:
        self._features = schema.features
        self._numbers = len(schema.numbers)
        self._texts = len(schema.texts)
        self._by_name = {feature.name: feature for feature in schema.features}
        self._first = schema.features[0].name if len(schema.features) == 1 else None

    def __call__(self, inputs: Sequence[Given]) -> Rows:
        """Raises Refusal 400 that names the tensor or the value which does not fit the model."""
        matrix = self._matrix_among(inputs)
        rows = self._columns(inputs) if matrix is None else self._matrix(inputs[matrix], matrix)
        if not rows.count:
            raise invalid("inputs[0].shape", "there are no rows")
        return rows

    def _matrix_among(self, inputs: Sequence[Given]) -> int | None:
        """Where the one matrix is: alone, or beside tensors of names that the model does not know."""
        if len(inputs) == 1:
            return 0 if self._is_matrix(inputs[0]) else None
        if any(tensor.name in self._by_name for tensor in inputs):
            return None
        fits = [at for at, tensor in enumerate(inputs) if tensor.shape[1:] == [len(self._features)]]
        return fits[0] if len(fits) == 1 else None

    def _is_matrix(self, tensor: Given) -> bool:
        return tensor.name not in self._by_name or (len(tensor.shape) == 2 and tensor.shape[1] != 1)

    def _matrix(self, tensor: Given, position: int) -> Rows:
        features = len(self._features)
        if self._numbers and self._texts:
            raise invalid(
                "inputs", "this model has numeric and categorical features: send one tensor a feature, by name"
            )
        if len(tensor.shape) != 2 or tensor.shape[1] != features:
            raise invalid(
                f"inputs[{position}].shape", f"is {tensor.shape}, but the model takes [rows, {features}]{self._names()}"
            )
        _check_count(tensor, position)
        count = tensor.shape[0]
        if self._texts:
            return Rows(count, np.empty((count, 0)), self._text(tensor, position, self._features[0]))
        return Rows(count, self._number(tensor, position, self._features[0]))

    def _columns(self, inputs: Sequence[Given]) -> Rows:
        found = self._by_feature(inputs)
        missing = [feature.name for feature in self._features if feature.name not in found]
        if missing:
            raise invalid(
                "inputs", f"there is no tensor for {'feature' if len(missing) == 1 else 'features'} {quoted(missing)}"
            )
        first = next(iter(found.values()))
        count = inputs[first].shape[0]
        _check_count(inputs[first], first)
        numbers, texts = np.empty((count, self._numbers)), np.empty((count, self._texts), object)
        number = text = 0
        for feature in self._features:
            position = found[feature.name]
            tensor = inputs[position]
            if tensor.shape[0] != count:
                raise invalid(
                    f"inputs[{position}].shape", f"has {tensor.shape[0]} rows, but other tensors have {count}"
                )
            if feature.kind == "categorical":
                texts[:, text] = self._text(tensor, position, feature).reshape(count)
                text += 1
            else:
                numbers[:, number] = self._number(tensor, position, feature).reshape(count)
                number += 1
        return Rows(count, numbers, texts if self._texts else None)

    def _by_feature(self, inputs: Sequence[Given]) -> dict[str, int]:
        found: dict[str, int] = {}
        for position, tensor in enumerate(inputs):
            if tensor.name not in self._by_name:
                continue
            if tensor.name in found:
                raise invalid(f"inputs[{position}].name", f"feature {tensor.name!r} is there twice")
            if not tensor.shape or len(tensor.shape) > 2 or (len(tensor.shape) == 2 and tensor.shape[1] != 1):
                raise invalid(f"inputs[{position}].shape", f"is {tensor.shape}, but a feature's is [rows] or [rows, 1]")
            found[tensor.name] = position
        return found

    def _number(self, tensor: Given, position: int, feature: Feature) -> NDArray[np.float64]:
        where = f"inputs[{position}]"
        if not tensor.numeric:
            raise invalid(f"{where}.datatype", f"feature {feature.name!r} is {feature.kind}: BYTES is not, send FP64")
        return tensor.numbers(where)

    def _text(self, tensor: Given, position: int, feature: Feature) -> NDArray[np.object_]:
        where = f"inputs[{position}]"
        if tensor.numeric:
            raise invalid(f"{where}.datatype", f"feature {feature.name!r} is categorical: send BYTES")
        return tensor.texts(where)

    def _names(self) -> str:
        names = [feature.name for feature in self._features]
        return f", columns {quoted(names)}" if len(names) <= 10 else ""


def keys_of(key: str, inputs: Sequence[Given], count: int) -> list[Any] | None:
    """Values of the tensor of this name, one a row; None where there is no such tensor, or none that could be it."""
    for tensor in inputs:
        if tensor.name != key:
            continue
        try:
            values = tensor.values("")
        except Refusal:
            return None
        return values if len(values) == count else None
    return None


def _check_count(tensor: Given, position: int) -> None:
    if tensor.shape[0] > MAX_ROWS:
        raise invalid(f"inputs[{position}].shape", f"has {tensor.shape[0]} rows; send at most {MAX_ROWS} in a request")


def rows_of(schema: Schema, examples: list[Example]) -> Rows:
    """Rows of a schema's examples, in which None is missing."""
    numbers, texts = (
        np.empty((len(examples), len(schema.numbers))),
        np.empty((len(examples), len(schema.texts)), object),
    )
    for row, example in enumerate(examples):
        number = text = 0
        for feature, value in zip(schema.features, example.values, strict=True):
            if feature.kind == "categorical":
                texts[row, text] = "" if value is None else str(value)
                text += 1
            else:
                numbers[row, number] = np.nan if value is None else value
                number += 1
    return Rows(len(examples), numbers, texts if schema.texts else None)


def quoted(names: list[str]) -> str:
    """Names for a message, the first ten of them."""
    shown = ", ".join(repr(name) for name in names[:10])
    return shown if len(names) <= 10 else f"{shown} and {len(names) - 10} more"
