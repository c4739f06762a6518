"""How rows are put to a server of another's making, and how its answers are read.

The Open Inference Protocol leaves names and shapes of tensors to the model, so the server's own metadata decide where
they say something: one matrix or a tensor a feature, and of which datatypes. Answers are read by the names that this
project and scikit-learn's servers use, else by what there is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType
from numpy.typing import NDArray

from perennial.runtime.scoring import label_text
from perennial.runtime.server.answer import PREDICT, PREDICT_PROBA
from perennial.runtime.server.engine import Answers
from perennial.runtime.server.raw import TYPES, RawTensor, sliced
from perennial.runtime.server.refusal import Refusal
from perennial.runtime.server.rows import Rows
from perennial.runtime.server.sidecar.edits import LENGTH, Message
from perennial.wire.schema import LABEL, PREDICTION, PROBABILITIES, Class, Feature, Schema

_DATATYPES = {"numeric": "FP64", "boolean": "BOOL", "categorical": "BYTES"}
_PREDICTIONS = (LABEL, PREDICTION, PREDICT)
_PROBABILITIES = (PROBABILITIES, PREDICT_PROBA)


class Unreadable(ValueError):
    """An answer that rows cannot be counted by; the message says what is missing."""


class TensorMetadata(msgspec.Struct):
    name: str
    datatype: str = ""
    shape: list[int] = []


class ModelMetadata(msgspec.Struct):
    """The part of a model's metadata that says how it is asked."""

    inputs: list[TensorMetadata] | None = None


class _Parameters(msgspec.Struct):
    binary_data_size: int | None = None


class _Output(msgspec.Struct):
    name: str
    shape: list[int]
    datatype: str
    data: list[Any] | UnsetType = UNSET
    parameters: _Parameters | None = None

    @property
    def raw_size(self) -> int | None:
        return self.parameters.binary_data_size if self.parameters else None


class _Response(msgspec.Struct):
    outputs: list[_Output]


_decode = msgspec.json.Decoder(_Response).decode


class Form:
    """Questions and answers of one model, whose schema is known, to a server of which the metadata are."""

    def __init__(self, schema: Schema, metadata: ModelMetadata) -> None:
        self._schema = schema
        self._told = {tensor.name: tensor for tensor in metadata.inputs or ()}
        self._matrix = _matrix(schema, metadata)
        self._labels = _Labels(schema.classes)
        self._known: list[str] = []
        self._needs_probabilities = schema.task == "classification" and schema.score != "label"

    def request(self, rows: Rows) -> dict[str, Any]:
        """The body of an inference request, for JSON: null is a missing number, the empty string a missing text."""
        if self._matrix is not None:
            values = rows.numbers if rows.texts is None else rows.texts
            shape = [rows.count, len(self._schema.features)]
            return {"inputs": [_tensor(self._matrix.name, self._matrix.datatype or "FP64", shape, values.ravel())]}
        inputs = []
        number = text = 0
        for feature in self._schema.features:
            if feature.kind == "categorical":
                assert rows.texts is not None
                values, text = rows.texts[:, text], text + 1
            else:
                values, number = rows.numbers[:, number], number + 1
            inputs.append(self._column(feature, values))
        return {"inputs": inputs}

    def _column(self, feature: Feature, values: NDArray[Any]) -> dict[str, Any]:
        told = self._told.get(feature.name)
        datatype = (told.datatype if told else "") or _DATATYPES[feature.kind]
        shape = [len(values), 1] if told and len(told.shape) == 2 else [len(values)]
        return _tensor(feature.name, datatype, shape, values)

    def answers(self, message: Message, count: int) -> Answers:
        """What an answer says to `count` rows. Raises Unreadable."""
        outputs = _outputs(message.body, message.header(LENGTH))
        probabilities = self._probabilities(outputs, count)
        predictions = self._predictions(outputs, probabilities, count)
        self._known = self._known or [name for name in (*_PREDICTIONS, *_PROBABILITIES) if name in outputs]
        return Answers(predictions, probabilities)

    def lacks(self, asked: Sequence[str]) -> list[str]:
        """The outputs that `answers` needs besides those that are asked for, as far as the server was seen to give
        them."""
        if not asked:
            return []
        needed = (_PREDICTIONS, _PROBABILITIES) if self._needs_probabilities else (_PREDICTIONS,)
        found = (next((name for name in self._known if name in names), None) for names in needed)
        pairs = zip(found, needed, strict=True)
        return [name for name, names in pairs if name is not None and not set(asked) & set(names)]

    def _probabilities(self, outputs: dict[str, NDArray[Any]], count: int) -> NDArray[np.float64] | None:
        if not self._needs_probabilities:
            return None
        found = next((outputs[name] for name in _PROBABILITIES if name in outputs), None)
        shape = (count, len(self._schema.classes))
        if found is None:
            raise Unreadable(f"there is no output {' or '.join(_PROBABILITIES)}, only {_named(outputs)}")
        if found.shape != shape:
            raise Unreadable(f"the probabilities have shape {list(found.shape)}; rows and classes make {list(shape)}")
        return _floats(found)

    def _predictions(
        self, outputs: dict[str, NDArray[Any]], probabilities: NDArray[np.float64] | None, count: int
    ) -> NDArray[Any]:
        found = next((outputs[name] for name in _PREDICTIONS if name in outputs), None)
        if found is None:
            others = [values for name, values in outputs.items() if name not in _PROBABILITIES]
            found = others[0] if len(others) == 1 else None
        if found is None and probabilities is not None:
            return self._labels.of([self._schema.classes[place] for place in probabilities.argmax(axis=1).tolist()])
        if found is None:
            raise Unreadable(f"there is no output {', '.join(_PREDICTIONS)}, only {_named(outputs)}")
        if found.size != count:
            raise Unreadable(f"there are {found.size} predictions for {count} rows")
        flat = found.ravel()
        return _floats(flat) if self._schema.task == "regression" else self._labels.of(flat.tolist())


class _Labels:
    """Labels as the model's classes are: whole numbers and texts that a server writes otherwise are known again."""

    def __init__(self, classes: Sequence[Class]) -> None:
        self._classes: dict[str, Class] = {label_text(label): label for label in classes}
        first = classes[0] if classes else ""
        self._bools = isinstance(first, bool)
        self._dtype: Any = bool if self._bools else np.int64 if isinstance(first, int) else object

    def of(self, values: Sequence[Any]) -> NDArray[Any]:
        labels = np.empty(len(values), self._dtype)
        try:
            labels[:] = [self._label(value) for value in values]
        except (ValueError, TypeError, OverflowError) as error:
            raise Unreadable(f"a label is none of the model's: {error}") from error
        return labels

    def _label(self, value: Any) -> Class:
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if self._bools and value in (0, 1):
            value = bool(value)
        text = label_text(value)
        if text in self._classes:
            return self._classes[text]
        if self._dtype is object and isinstance(value, str):
            return value
        raise ValueError(f"{value!r}, of {', '.join(list(self._classes)[:10])}")


def _matrix(schema: Schema, metadata: ModelMetadata) -> TensorMetadata | None:
    """The input that takes all features as its columns, where the metadata tell of one."""
    inputs = metadata.inputs or []
    if len(inputs) != 1 or bool(schema.numbers) == bool(schema.texts):
        return None
    [only] = inputs
    features = len(schema.features)
    is_feature = features == 1 and only.name == schema.features[0].name
    fits = len(only.shape) == 2 and only.shape[1] in (-1, features)
    return only if fits and not is_feature else None


def _tensor(name: str, datatype: str, shape: list[int], values: NDArray[Any]) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape, "data": [_json(datatype, v) for v in values.tolist()]}


def _json(datatype: str, value: Any) -> Any:
    if isinstance(value, str):
        return value
    if math.isnan(value):
        return None
    if datatype == "BOOL":
        return bool(value)
    return value if datatype.startswith("FP") else int(value)


def _outputs(body: bytes, json_length: bytes | None) -> dict[str, NDArray[Any]]:
    """The outputs by name, those behind the JSON included."""
    try:
        length = len(body) if json_length is None else int(json_length)
        outputs = _decode(memoryview(body)[:length]).outputs
        sizes = [(output.name, output.raw_size) for output in outputs if output.raw_size is not None]
        parts = iter(sliced(memoryview(body)[length:], [(name, size) for name, size in sizes if size is not None]))
        return {output.name: _values(output, parts) for output in outputs}
    except (ValueError, TypeError, RecursionError) as error:
        raise Unreadable(f"it is no inference response: {error}") from error
    except Refusal as refusal:
        raise Unreadable(f"it is no inference response: {refusal.message}") from refusal


def _values(output: _Output, parts: Any) -> NDArray[Any]:
    if output.raw_size is not None:
        if output.datatype != "BYTES" and output.datatype not in TYPES:
            raise Unreadable(f"output {output.name!r} has the unknown datatype {output.datatype!r}")
        raw = RawTensor(output.name, output.datatype, output.shape, next(parts))
        return raw.numbers(output.name) if raw.numeric else raw.texts(output.name)
    if output.data is UNSET:
        raise Unreadable(f"output {output.name!r} has no data")
    return np.array(output.data, object if output.datatype == "BYTES" else None).reshape(output.shape)


def _floats(values: NDArray[Any]) -> NDArray[np.float64]:
    try:
        return values.astype(np.float64)
    except (ValueError, TypeError) as error:
        raise Unreadable(f"what should be numbers is not: {error}") from error


def _named(outputs: dict[str, NDArray[Any]]) -> str:
    return ", ".join(list(outputs)[:10]) or "none"
