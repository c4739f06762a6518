"""What a model said to a request, and how it is written as the body of an HTTP answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from numpy.typing import NDArray

from perennial.runtime.server.http import BINARY, Reply, encode
from perennial.runtime.server.raw import packed
from perennial.runtime.server.request import HEADER, InferenceRequest

T = TypeVar("T")


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


Write = Callable[[Answer], T]
"""Makes what a way of asking sends back."""


class BinarySize(msgspec.Struct):
    binary_data_size: int


class OutputTensor(msgspec.Struct, omit_defaults=True):
    name: str
    shape: list[int]
    datatype: str
    data: list[Any] | msgspec.UnsetType = msgspec.UNSET
    parameters: BinarySize | None = None


class AnswerParameters(msgspec.Struct):
    receipts: list[str]


class InferenceResponse(msgspec.Struct, omit_defaults=True):
    model_name: str
    model_version: str
    outputs: list[OutputTensor]
    id: str | None = None
    parameters: AnswerParameters | None = None


def writer_of(request: InferenceRequest) -> Write[Reply]:
    """How this request wants to be answered: in JSON, or with some outputs as bytes behind it."""
    default = request.parameters is not None and request.parameters.binary_data_output
    if not request.outputs:
        return _all_binary if default else in_json
    wanted = [
        default if output.parameters is None or output.parameters.binary_data is None else output.parameters.binary_data
        for output in request.outputs
    ]
    return (lambda answer: _in_binary(answer, wanted)) if any(wanted) else in_json


def in_json(answer: Answer) -> Reply:
    return Reply(encode(_response(answer, [_tensor(output) for output in answer.outputs])))


def _all_binary(answer: Answer) -> Reply:
    return _in_binary(answer, [True] * len(answer.outputs))


def _in_binary(answer: Answer, wanted: list[bool]) -> Reply:
    tensors, parts = [], []
    for output, binary in zip(answer.outputs, wanted, strict=True):
        if not binary:
            tensors.append(_tensor(output))
            continue
        part = packed(output.values, output.datatype)
        parts.append(part)
        size = BinarySize(len(part))
        tensors.append(OutputTensor(output.name, list(output.values.shape), output.datatype, parameters=size))
    head = encode(_response(answer, tensors))
    header = f"{HEADER}: {len(head)}\r\n".encode()
    return Reply(b"".join([head, *parts]), content_type=BINARY, headers=header)


def _tensor(output: Output) -> OutputTensor:
    return OutputTensor(output.name, list(output.values.shape), output.datatype, output.values.ravel().tolist())


def _response(answer: Answer, tensors: list[OutputTensor]) -> InferenceResponse:
    parameters = None if answer.receipts is None else AnswerParameters(answer.receipts)
    return InferenceResponse(answer.model, answer.version, tensors, answer.id, parameters)
