"""Tensors as bytes: the binary tensor extension of HTTP and `raw_input_contents` of gRPC, both ways.

Values are little-endian and in row-major order; a BOOL is a byte; each element of BYTES follows its length as four
bytes. NaN is a missing value. An infinite one is refused, as in JSON: no model was trained on any.
"""

from __future__ import annotations

import math
import struct
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from perennial.runtime.server.refusal import Refusal, invalid

TYPES: dict[str, np.dtype[Any]] = {
    name: np.dtype(code)
    for name, code in {
        "FP64": "<f8",
        "FP32": "<f4",
        "FP16": "<f2",
        "INT64": "<i8",
        "INT32": "<i4",
        "INT16": "<i2",
        "INT8": "i1",
        "UINT64": "<u8",
        "UINT32": "<u4",
        "UINT16": "<u2",
        "UINT8": "u1",
        "BOOL": "u1",
    }.items()
}
_LENGTH = struct.Struct("<I")


class RawTensor(msgspec.Struct):
    """An input whose values came as bytes."""

    name: str
    datatype: str
    shape: list[int]
    raw: bytes | memoryview

    @property
    def numeric(self) -> bool:
        return self.datatype != "BYTES"

    def numbers(self, where: str) -> NDArray[np.float64]:
        """See `tensors.Given`."""
        values = self._numbers(where)
        return finite(values != 0 if self.datatype == "BOOL" else values, where).reshape(self.shape)

    def values(self, where: str) -> list[Any]:
        """See `tensors.Given`."""
        flat: list[Any] = (self._numbers(where) if self.numeric else self.texts(where).ravel()).tolist()
        return flat

    def _numbers(self, where: str) -> NDArray[Any]:
        kind = TYPES[self.datatype]
        needed = math.prod(self.shape) * kind.itemsize
        if len(self.raw) != needed:
            raise invalid(where, f"has {len(self.raw)} bytes, but shape {self.shape} of {self.datatype} needs {needed}")
        return np.frombuffer(self.raw, kind)

    def texts(self, where: str) -> NDArray[np.object_]:
        """See `tensors.Given`."""
        count = math.prod(self.shape)
        if count * _LENGTH.size > len(self.raw):
            raise invalid(where, f"has {len(self.raw)} bytes, which {count} values of shape {self.shape} exceed")
        texts = np.empty(count, object)
        start = 0
        for position in range(count):
            end = start + _LENGTH.size
            if end > len(self.raw):
                raise invalid(f"{where}.data[{position}]", "the bytes end before the value does")
            start, end = end, end + _LENGTH.unpack_from(self.raw, start)[0]
            if end > len(self.raw):
                raise invalid(f"{where}.data[{position}]", "its length exceeds the bytes that there are")
            texts[position] = text_of(self.raw[start:end], f"{where}.data[{position}]")
            start = end
        if start != len(self.raw):
            raise invalid(where, f"has {len(self.raw) - start} bytes more than its {count} values take")
        return texts.reshape(self.shape)


def finite(values: NDArray[Any], where: str) -> NDArray[np.float64]:
    """Numbers [n] as float64. Raises Refusal 400 where one is infinite."""
    numbers = values.astype(np.float64)
    infinite = np.isinf(numbers)
    if infinite.any():
        raise invalid(f"{where}.data[{int(infinite.argmax())}]", "is infinite; a missing value is NaN")
    return numbers


def text_of(value: bytes | memoryview, where: str) -> str:
    """An element of BYTES. Raises Refusal 400 where it is not UTF-8."""
    try:
        return str(value, "utf-8")
    except UnicodeDecodeError as error:
        raise invalid(where, f"is not text in UTF-8: {error.reason} at byte {error.start}") from error


def sliced(tail: memoryview, sizes: list[tuple[str, int]]) -> list[memoryview]:
    """The bytes behind the JSON, cut into tensors. `sizes` are the places that name them and their lengths.

    Raises Refusal 400 where the two do not add up.
    """
    parts, start = [], 0
    for where, size in sizes:
        if start + size > len(tail):
            raise invalid(where, f"is {size}, but only {len(tail) - start} bytes are left of the body")
        parts.append(tail[start : start + size])
        start += size
    if start != len(tail):
        raise Refusal(400, f"{len(tail) - start} bytes at the end of the body belong to no tensor")
    return parts


def packed(values: NDArray[Any], datatype: str) -> bytes:
    """An output's values as bytes."""
    if datatype != "BYTES":
        return np.ascontiguousarray(values, TYPES[datatype]).tobytes()
    texts = [str(value).encode() for value in values.ravel().tolist()]
    return b"".join(part for text in texts for part in (_LENGTH.pack(len(text)), text))
