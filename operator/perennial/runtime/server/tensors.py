"""Open Inference Protocol tensors in JSON, typed by their `datatype` while they are decoded.

msgspec checks every value against the tensor's own datatype in C and names the one that is wrong, so that nothing
after this module meets a value of another type. Nor an infinite one: JSON has none, and msgspec refuses a number
beyond a double's range.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from perennial.runtime.server.refusal import Refusal, invalid, malformed

Size = Annotated[int, Meta(ge=0, le=2**53)]

Floats = list[float | list[float | None] | None]
_I8 = Annotated[int, Meta(ge=-(2**7), le=2**7 - 1)]
_I16 = Annotated[int, Meta(ge=-(2**15), le=2**15 - 1)]
_I32 = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]
_I64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
_U8 = Annotated[int, Meta(ge=0, le=2**8 - 1)]
_U16 = Annotated[int, Meta(ge=0, le=2**16 - 1)]
_U32 = Annotated[int, Meta(ge=0, le=2**32 - 1)]
_U64 = Annotated[int, Meta(ge=0)]


class Tensor(msgspec.Struct, tag_field="datatype"):
    """An input: `data` is flat in row-major order, or nested once as `shape` says. null is a missing value."""

    name: str
    shape: list[Size]

    numeric: ClassVar[bool] = True


class FP16(Tensor, tag="FP16"):
    data: Floats


class FP32(Tensor, tag="FP32"):
    data: Floats


class FP64(Tensor, tag="FP64"):
    data: Floats


class INT8(Tensor, tag="INT8"):
    data: list[_I8 | list[_I8 | None] | None]


class INT16(Tensor, tag="INT16"):
    data: list[_I16 | list[_I16 | None] | None]


class INT32(Tensor, tag="INT32"):
    data: list[_I32 | list[_I32 | None] | None]


class INT64(Tensor, tag="INT64"):
    data: list[_I64 | list[_I64 | None] | None]


class UINT8(Tensor, tag="UINT8"):
    data: list[_U8 | list[_U8 | None] | None]


class UINT16(Tensor, tag="UINT16"):
    data: list[_U16 | list[_U16 | None] | None]


class UINT32(Tensor, tag="UINT32"):
    data: list[_U32 | list[_U32 | None] | None]


class UINT64(Tensor, tag="UINT64"):
    data: list[_U64 | list[_U64 | None] | None]


class BOOL(Tensor, tag="BOOL"):
    data: list[bool | list[bool | None] | None]


class BYTES(Tensor, tag="BYTES"):
    data: list[str | list[str | None] | None]

    numeric: ClassVar[bool] = False


AnyTensor = FP64 | FP32 | FP16 | INT64 | INT32 | INT16 | INT8 | UINT64 | UINT32 | UINT16 | UINT8 | BOOL | BYTES
DATATYPES = tuple(str(kind.__struct_config__.tag) for kind in AnyTensor.__args__)


class Parameters(msgspec.Struct):
    """Request parameters that we know; others are ignored, as clients send some of their own."""

    receipt: bool = False


class RequestedOutput(msgspec.Struct):
    name: str


class InferenceRequest(msgspec.Struct):
    """The body of an inference request."""

    inputs: Annotated[list[AnyTensor], Meta(min_length=1)]
    id: str | None = None
    parameters: Parameters | None = None
    outputs: list[RequestedOutput] | None = None


_decode = msgspec.json.Decoder(InferenceRequest).decode


def decode(body: bytes) -> InferenceRequest:
    """The request in `body`. Raises Refusal 400 that names the field."""
    try:
        return _decode(body)
    except (ValueError, RecursionError) as error:
        raise _named(error) from error


def numbers_of(tensor: AnyTensor, where: str) -> NDArray[np.float64]:
    """A numeric tensor as float64 in its `shape`; missing values are NaN. Raises Refusal 400."""
    if isinstance(tensor, UINT64):
        # The one range that msgspec cannot check.
        array = np.array(_flat(tensor, where), np.float64)
        return shaped(array, tensor.shape, where)
    try:
        array = np.array(tensor.data, np.float64)
    except (ValueError, TypeError, OverflowError):
        array = np.array(_flat(tensor, where), np.float64)
    return shaped(array, tensor.shape, where)


def texts_of(tensor: AnyTensor, where: str) -> NDArray[np.object_]:
    """A BYTES tensor as an object array of str in its `shape`; missing values are the empty string."""
    texts = [text or "" for text in _flat(tensor, where)]
    array = np.empty(len(texts), object)
    array[:] = texts
    return shaped(array, tensor.shape, where)


def shaped(array: NDArray[Any], shape: list[int], where: str) -> NDArray[Any]:
    """`array`, flat or already nested, in `shape`. Raises Refusal 400 where the two do not fit."""
    if array.size != math.prod(shape):
        raise invalid(f"{where}.data", f"has {array.size} values, but shape {shape} needs {math.prod(shape)}")
    if array.ndim != 1 and list(array.shape) != shape:
        raise invalid(f"{where}.data", f"is nested as {list(array.shape)}, but shape is {shape}")
    return array.reshape(shape)


def _flat(tensor: AnyTensor, where: str) -> list[float | str | None]:
    values: list[float | str | None] = []
    nested = {isinstance(item, list) for item in tensor.data}
    if len(nested) > 1:
        odd = next(
            i for i, item in enumerate(tensor.data) if isinstance(item, list) != isinstance(tensor.data[0], list)
        )
        raise invalid(f"{where}.data[{odd}]", "nested and flat values are mixed")
    for position, item in enumerate(tensor.data):
        if not isinstance(item, list):
            values.append(item)
            continue
        if len(tensor.shape) != 2 or len(item) != tensor.shape[1]:
            raise invalid(
                f"{where}.data[{position}]", f"has {len(item)} values, which shape {tensor.shape} does not allow"
            )
        values += item
    for position, value in enumerate(values):
        if isinstance(value, int) and value >= 2**64:
            raise invalid(f"{where}.data[{position}]", "is out of the range of its datatype")
    return values


def _named(error: ValueError | RecursionError) -> Refusal:
    refusal = malformed(error)
    if refusal.message.endswith(".datatype: " + str(error).partition(" - at")[0]):
        refusal = Refusal(400, f"{refusal.message}; known are {', '.join(DATATYPES)}")
    return refusal
