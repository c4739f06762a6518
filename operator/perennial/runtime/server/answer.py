"""What a model said to a request, and how it is written as the body of an HTTP answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType
from numpy.typing import NDArray

from perennial.runtime.scoring import label_text
from perennial.runtime.server.http import BINARY, Reply, encode
from perennial.runtime.server.raw import packed
from perennial.runtime.server.request import HEADER, InferenceRequest
from perennial.wire.schema import DECISIONS, PROBABILITIES, Schema

PREDICT, PREDICT_PROBA = "predict", "predict_proba"
"""scikit-learn's names for the outputs, which clients of other servers ask for."""
ATTRIBUTIONS, BASE_VALUES = "attributions", "base_values"
"""Outputs that come with the others where `parameters.attributions` asks for them."""


class Output(msgspec.Struct):
    """One output: `values` in their shape, and the protocol's datatype of them."""

    name: str
    datatype: str
    values: NDArray[Any]


class Answer(msgspec.Struct):
    """`receipts` are one a row, where they were asked for."""

    model: str
    version: str
    id: str | None
    outputs: list[Output]
    receipts: list[str] | None = None


Write = Callable[[Answer], Reply]
"""Makes what the client is sent back."""


class BinarySize(msgspec.Struct):
    binary_data_size: int


class OutputTensor(msgspec.Struct, omit_defaults=True):
    name: str
    shape: tuple[int, ...]
    datatype: str
    data: list[Any] | UnsetType = UNSET
    parameters: BinarySize | None = None


class AnswerParameters(msgspec.Struct):
    receipts: list[str]


class InferenceResponse(msgspec.Struct, omit_defaults=True):
    model_name: str
    model_version: str
    outputs: list[OutputTensor]
    id: str | None = None
    parameters: AnswerParameters | None = None


def writer_of(request: InferenceRequest, schema: Schema) -> Write:
    """How this request is to be answered: as records, in JSON, or with some outputs as bytes behind it."""
    if request.inputs is UNSET:
        return lambda answer: in_rows(answer, schema)
    default = request.parameters is not None and request.parameters.binary_data_output
    if not request.outputs:
        return _all_binary if default else in_json
    wanted = [
        default if output.parameters is None or output.parameters.binary_data is None else output.parameters.binary_data
        for output in request.outputs
    ]
    # What comes beside the outputs that are named is as all are.
    return lambda answer: _in_binary(answer, wanted + [default] * (len(answer.outputs) - len(wanted)))


def in_json(answer: Answer) -> Reply:
    return Reply(encode(_response(answer, [_tensor(output) for output in answer.outputs])))


def _all_binary(answer: Answer) -> Reply:
    return _in_binary(answer, [True] * len(answer.outputs))


def _in_binary(answer: Answer, wanted: list[bool]) -> Reply:
    if not any(wanted):
        return in_json(answer)
    tensors, parts = [], []
    for output, binary in zip(answer.outputs, wanted, strict=True):
        if not binary:
            tensors.append(_tensor(output))
            continue
        part = packed(output.values, output.datatype)
        parts.append(part)
        size = BinarySize(len(part))
        tensors.append(OutputTensor(output.name, output.values.shape, output.datatype, parameters=size))
    head = encode(_response(answer, tensors))
    header = f"{HEADER}: {len(head)}\r\n".encode()
    return Reply(b"".join([head, *parts]), content_type=BINARY, headers=header)


Number = float | None
"""What JSON has no number for, a model's NaN and infinities, is null."""


class Row(msgspec.Struct, omit_defaults=True):
    """The answer to one record; `probabilities` by the classes' texts, `attributions` by feature, of more than two
    classes by class and feature. What was not asked for is not there.
    """

    prediction: Any = UNSET
    probabilities: dict[str, Number] | UnsetType = UNSET
    decision_function: Number | list[Number] | UnsetType = UNSET
    attributions: dict[str, Number | dict[str, Number]] | UnsetType = UNSET
    base_value: Number | dict[str, Number] | UnsetType = UNSET
    receipt: str | UnsetType = UNSET


class RowsResponse(msgspec.Struct, omit_defaults=True):
    model_name: str
    model_version: str
    rows: list[Row]
    id: str | None = None


def in_rows(answer: Answer, schema: Schema) -> Reply:
    """The answer to records, as records."""
    names = [label_text(label) for label in schema.classes]
    features = [feature.name for feature in schema.features]
    rows = [Row() for _ in range(len(answer.outputs[0].values))]
    for output in answer.outputs:
        values = output.values.tolist()
        if output.name in (PROBABILITIES, PREDICT_PROBA):
            for row, value in zip(rows, values, strict=True):
                row.probabilities = dict(zip(names, value, strict=True))
        elif output.name == DECISIONS:
            for row, value in zip(rows, values, strict=True):
                row.decision_function = value
        elif output.name == ATTRIBUTIONS:
            for row, value in zip(rows, values, strict=True):
                row.attributions = _by_name(value, features, names)
        elif output.name == BASE_VALUES:
            for row, value in zip(rows, values, strict=True):
                row.base_value = dict(zip(names, value, strict=True)) if isinstance(value, list) else value
        else:
            for row, value in zip(rows, values, strict=True):
                row.prediction = value
    for row, receipt in zip(rows, answer.receipts or (), strict=False):
        row.receipt = receipt
    return Reply(encode(RowsResponse(answer.model, answer.version, rows, answer.id)))


def _by_name(values: list[Any], features: list[str], classes: list[str]) -> dict[str, Any]:
    """One row's attributions, [features] or [classes][features]."""
    if not isinstance(values[0], list):
        return dict(zip(features, values, strict=True))
    return {name: dict(zip(features, each, strict=True)) for name, each in zip(classes, values, strict=True)}


def _tensor(output: Output) -> OutputTensor:
    values = output.values
    flat = values if values.ndim == 1 else values.ravel()
    return OutputTensor(output.name, values.shape, output.datatype, flat.tolist())


def _response(answer: Answer, tensors: list[OutputTensor]) -> InferenceResponse:
    parameters = None if answer.receipts is None else AnswerParameters(answer.receipts)
    return InferenceResponse(answer.model, answer.version, tensors, answer.id, parameters)
