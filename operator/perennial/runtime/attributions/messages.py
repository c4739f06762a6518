"""What a server and the process that explains say to one another: msgpack behind its length, over two pipes."""

from __future__ import annotations

import struct
from typing import Any, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

MODEL_ENV = "PERENNIAL_ATTRIBUTED"
"""The served model, in JSON."""
LENGTH = struct.Struct("<Q")


class Asked(msgspec.Struct):
    """Rows as in `model_format.md`: `numbers` is float64 [count, ...], `texts` [count][...] or None."""

    count: int
    numbers: bytes
    texts: list[list[str]] | None = None

    def matrices(self) -> tuple[NDArray[np.float64], NDArray[np.object_] | None]:
        numbers = np.frombuffer(self.numbers).reshape(self.count, -1)
        return numbers, None if self.texts is None else np.array(self.texts, object).reshape(self.count, -1)


class Explained(msgspec.Struct):
    """`values` is float64 of this `shape`, [rows, targets, features], and took `seconds` of a processor."""

    shape: tuple[int, int, int]
    values: bytes
    seconds: float

    @classmethod
    def of(cls, values: NDArray[np.float64], seconds: float) -> Self:
        rows, targets, features = values.shape
        return cls((rows, targets, features), values.tobytes(), seconds)

    def array(self) -> NDArray[np.float64]:
        return np.frombuffer(self.values).reshape(self.shape)


class Loaded(msgspec.Struct):
    """The first thing that is said: the base values [targets], or why there are none."""

    base: list[float]
    failed: str | None = None


encode = msgspec.msgpack.Encoder().encode


def framed(message: Any) -> bytes:
    data = encode(message)
    return LENGTH.pack(len(data)) + data
