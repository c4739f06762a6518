"""The body of an inference request over HTTP, and the question in it: what every way of asking has in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from perennial.runtime.server.raw import RawTensor, sliced
from perennial.runtime.server.refusal import Refusal, invalid, malformed
from perennial.runtime.server.tensors import DATATYPES, AnyTensor, Given

HEADER = "Inference-Header-Content-Length"
"""The request's and the answer's header that says how much of the body is JSON; bytes of tensors follow."""


class Parameters(msgspec.Struct):
    """Request parameters that we know; others are ignored, as clients send some of their own."""

    receipt: bool = False
    attributions: bool = False
    binary_data_output: bool = False


class OutputParameters(msgspec.Struct):
    """`binary_data` None: as the request's `binary_data_output` says."""

    binary_data: bool | None = None


class RequestedOutput(msgspec.Struct):
    name: str
    parameters: OutputParameters | None = None


class InferenceRequest(msgspec.Struct):
    """The body, or what of it is JSON. Rows come as tensors in `inputs`, or as records in `rows`."""

    inputs: Annotated[list[AnyTensor], Meta(min_length=1)] | UnsetType = UNSET
    rows: msgspec.Raw = msgspec.Raw()
    id: str | None = None
    parameters: Parameters | None = None
    outputs: list[RequestedOutput] | None = None


class Question(msgspec.Struct):
    """What is asked: rows as tensors or, still in JSON, as records; which outputs (none named: the usual ones); whether
    receipts and attributions are wanted.
    """

    inputs: Sequence[Given]
    records: msgspec.Raw | None = None
    outputs: Sequence[str] = ()
    receipt: bool = False
    attributions: bool = False
    id: str | None = None


_decode = msgspec.json.Decoder(InferenceRequest).decode


def decode(body: bytes, header: bytes | None) -> tuple[InferenceRequest, Question]:
    """The request in `body`; `header` is HEADER's value, None without. Raises Refusal 400 that names the field."""
    length = len(body) if header is None else _json_length(header, len(body))
    try:
        request = _decode(body if length == len(body) else memoryview(body)[:length])
    except (ValueError, RecursionError) as error:
        raise _named(error, body) from error
    parameters = request.parameters
    outputs = [output.name for output in request.outputs] if request.outputs else ()
    receipt = attributions = False
    if parameters is not None:
        receipt, attributions = parameters.receipt, parameters.attributions
    if request.inputs is UNSET:
        return request, Question((), _records(request), outputs, receipt, attributions, request.id)
    if request.rows:
        raise Refusal(400, "there are both `inputs` and `rows`: send tensors, or records")
    inputs: Sequence[Given] = request.inputs
    if header is not None:
        inputs = _with_bytes(request.inputs, memoryview(body)[length:])
    return request, Question(inputs, None, outputs, receipt, attributions, request.id)


def _records(request: InferenceRequest) -> msgspec.Raw:
    if not request.rows:
        raise Refusal(400, "there are no rows: send them as tensors in `inputs`, or as records in `rows`")
    return request.rows


def _json_length(header: bytes, size: int) -> int:
    if not header.isdigit() or len(header) > 15:
        raise invalid(HEADER, f"{header.decode('latin-1')!r} is not a number of bytes")
    if int(header) > size:
        raise invalid(HEADER, f"is {int(header)}, but the body has {size} bytes")
    return int(header)


def _with_bytes(inputs: list[AnyTensor], tail: memoryview) -> list[Given]:
    """The inputs, those that say how many bytes they take with their part of the tail."""
    sizes = []
    for position, tensor in enumerate(inputs):
        if tensor.parameters is None or tensor.parameters.binary_data_size is None:
            continue
        where = f"inputs[{position}].parameters.binary_data_size"
        if tensor.data is not UNSET:
            raise invalid(where, "is there beside `data`: send one of the two")
        sizes.append((where, tensor.parameters.binary_data_size))
    parts = iter(sliced(tail, sizes))
    return [tensor if _has_data(tensor) else _raw(tensor, next(parts)) for tensor in inputs]


def _has_data(tensor: AnyTensor) -> bool:
    return tensor.parameters is None or tensor.parameters.binary_data_size is None


def _raw(tensor: AnyTensor, part: memoryview) -> RawTensor:
    return RawTensor(tensor.name, str(tensor.__struct_config__.tag), tensor.shape, part)


def _named(error: ValueError | RecursionError, body: bytes) -> Refusal:
    refusal = malformed(error)
    if "invalid character" in refusal.message and b"NaN" in body:
        # What many JSON encoders write for a missing number, unasked.
        return Refusal(400, f"{refusal.message}; NaN is no JSON: send null for a value that is missing")
    if refusal.message.endswith(".datatype: " + str(error).partition(" - at")[0]):
        refusal = Refusal(400, f"{refusal.message}; known are {', '.join(DATATYPES)}")
    return refusal
