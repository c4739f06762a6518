"""Open Inference Protocol tensors in JSON, typed by their `datatype` while they are decoded.

msgspec checks every value against the tensor's own datatype in C and names the one that is wrong, so that nothing
after this module meets a value of another type. Nor an infinite one: JSON has none, and msgspec refuses a number
beyond a double's range. A tensor without `data` has its values in bytes behind the JSON (see `raw`).
"""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Protocol

import msgspec
import numpy as np
from msgspec import UNSET, Meta, UnsetType
from numpy.typing import NDArray

from perennial.runtime.server.refusal import invalid

Size = Annotated[int, Meta(ge=0, le=2**53)]

Floats = list[float | list[float | None] | None] | UnsetType
_I8 = Annotated[int, Meta(ge=-(2**7), le=2**7 - 1)]
_I16 = Annotated[int, Meta(ge=-(2**15), le=2**15 - 1)]
_I32 = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]
_I64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
_U8 = Annotated[int, Meta(ge=0, le=2**8 - 1)]
_U16 = Annotated[int, Meta(ge=0, le=2**16 - 1)]
_U32 = Annotated[int, Meta(ge=0, le=2**32 - 1)]
_U64 = Annotated[int, Meta(ge=0)]


class Given(Protocol):
    """An input tensor, however it came. `where` is its name in a refusal: `inputs[0]`."""

    name: str
    shape: list[int]

    @property
    def numeric(self) -> bool: ...

    def numbers(self, where: str) -> NDArray[np.float64]:
        """A numeric tensor as float64 in its `shape`; a missing value is NaN, none is infinite. Raises Refusal 400."""

    def texts(self, where: str) -> NDArray[np.object_]:
        """A BYTES tensor as str in its `shape`; a missing value is the empty string. Raises Refusal 400."""

    def values(self, where: str) -> list[Any]:
        """The values as they came, flat: whole numbers whole. Raises Refusal 400."""


class TensorParameters(msgspec.Struct):
    """Parameters of an input that we know; others are ignored."""

    binary_data_size: Size | None = None


class Tensor(msgspec.Struct, tag_field="datatype"):
    """An input: `data` is flat in row-major order, or nested once as `shape` says. null is a missing value."""

    name: str
    shape: list[Size]
    data: Any = UNSET
    parameters: TensorParameters | None = None

    numeric: ClassVar[bool] = True

    def numbers(self, where: str) -> NDArray[np.float64]:
        try:
            array = np.array(self.data, np.float64)
        except (ValueError, TypeError, OverflowError):
            array = np.array(self._flat(where), np.float64)
        return shaped(array, self.shape, where)

    def texts(self, where: str) -> NDArray[np.object_]:
        texts = [text or "" for text in self._flat(where)]
        array = np.empty(len(texts), object)
        array[:] = texts
        return shaped(array, self.shape, where)

    def values(self, where: str) -> list[Any]:
        data: Any = self.data
        return data if len(self.shape) == 1 and data and type(data[0]) is not list else self._flat(where)

    def _flat(self, where: str) -> list[Any]:
        if self.data is UNSET:
            raise invalid(where, "Object missing required field `data`")
        values: list[Any] = []
        nested = {isinstance(item, list) for item in self.data}
        if len(nested) > 1:
            odd = next(
                i for i, item in enumerate(self.data) if isinstance(item, list) != isinstance(self.data[0], list)
            )
            raise invalid(f"{where}.data[{odd}]", "nested and flat values are mixed")
        for position, item in enumerate(self.data):
            if not isinstance(item, list):
                values.append(item)
                continue
            if len(self.shape) != 2 or len(item) != self.shape[1]:
                raise invalid(
                    f"{where}.data[{position}]", f"has {len(item)} values, which shape {self.shape} does not allow"
                )
            values += item
        return values


class FP16(Tensor, tag="FP16"):
    data: Floats = UNSET


class FP32(Tensor, tag="FP32"):
    data: Floats = UNSET


class FP64(Tensor, tag="FP64"):
    data: Floats = UNSET


class INT8(Tensor, tag="INT8"):
    data: list[_I8 | list[_I8 | None] | None] | UnsetType = UNSET


class INT16(Tensor, tag="INT16"):
    data: list[_I16 | list[_I16 | None] | None] | UnsetType = UNSET


class INT32(Tensor, tag="INT32"):
    data: list[_I32 | list[_I32 | None] | None] | UnsetType = UNSET


class INT64(Tensor, tag="INT64"):
    data: list[_I64 | list[_I64 | None] | None] | UnsetType = UNSET


class UINT8(Tensor, tag="UINT8"):
    data: list[_U8 | list[_U8 | None] | None] | UnsetType = UNSET


class UINT16(Tensor, tag="UINT16"):
    data: list[_U16 | list[_U16 | None] | None] | UnsetType = UNSET


class UINT32(Tensor, tag="UINT32"):
    data: list[_U32 | list[_U32 | None] | None] | UnsetType = UNSET


class UINT64(Tensor, tag="UINT64"):
    data: list[_U64 | list[_U64 | None] | None] | UnsetType = UNSET

    def numbers(self, where: str) -> NDArray[np.float64]:
        flat = self._flat(where)
        for position, value in enumerate(flat):
            # The one range that msgspec cannot check.
            if value is not None and value >= 2**64:
                raise invalid(f"{where}.data[{position}]", "is out of the range of its datatype")
        return shaped(np.array(flat, np.float64), self.shape, where)


class BOOL(Tensor, tag="BOOL"):
    data: list[bool | list[bool | None] | None] | UnsetType = UNSET


class BYTES(Tensor, tag="BYTES"):
    data: list[str | list[str | None] | None] | UnsetType = UNSET

    numeric: ClassVar[bool] = False


AnyTensor = FP64 | FP32 | FP16 | INT64 | INT32 | INT16 | INT8 | UINT64 | UINT32 | UINT16 | UINT8 | BOOL | BYTES
DATATYPES = tuple(str(kind.__struct_config__.tag) for kind in AnyTensor.__args__)


def shaped(array: NDArray[Any], shape: list[int], where: str) -> NDArray[Any]:
    """`array`, flat or already nested, in `shape`. Raises Refusal 400 where the two do not fit."""
    if array.size != math.prod(shape):
        raise invalid(f"{where}.data", f"has {array.size} values, but shape {shape} needs {math.prod(shape)}")
    if array.ndim != 1 and list(array.shape) != shape:
        raise invalid(f"{where}.data", f"is nested as {list(array.shape)}, but shape is {shape}")
    return array.reshape(shape)
