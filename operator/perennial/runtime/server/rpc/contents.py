"""Tensors of a gRPC request: raw, or in the typed fields that small requests use."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from perennial.runtime.server.raw import RawTensor, finite, text_of
from perennial.runtime.server.refusal import invalid
from perennial.runtime.server.request import Question
from perennial.runtime.server.tensors import DATATYPES, Given

_FIELDS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
_NARROW = {
    "INT8": (-(2**7), 2**7 - 1),
    "INT16": (-(2**15), 2**15 - 1),
    "UINT8": (0, 2**8 - 1),
    "UINT16": (0, 2**16 - 1),
}
"""Least and greatest of datatypes whose field could hold more than they may."""


class TypedTensor(msgspec.Struct):
    """An input whose values came in `InferTensorContents`."""

    name: str
    datatype: str
    shape: list[int]
    contents: Any

    @property
    def numeric(self) -> bool:
        return self.datatype != "BYTES"

    def numbers(self, where: str) -> NDArray[np.float64]:
        """See `tensors.Given`."""
        values, field = self._values(where)
        numbers = finite(np.array(values, np.float64), f"{where}.contents.{field}")
        if self.datatype in _NARROW:
            least, greatest = _NARROW[self.datatype]
            beyond = (numbers < least) | (numbers > greatest)
            if beyond.any():
                raise invalid(
                    f"{where}.contents.{field}[{int(beyond.argmax())}]", f"is out of the range of {self.datatype}"
                )
        return numbers.reshape(self.shape)

    def texts(self, where: str) -> NDArray[np.object_]:
        """See `tensors.Given`."""
        values, field = self._values(where)
        texts = np.empty(len(values), object)
        texts[:] = [text_of(value, f"{where}.contents.{field}[{i}]") for i, value in enumerate(values)]
        return texts.reshape(self.shape)

    def values(self, where: str) -> list[Any]:
        """See `tensors.Given`."""
        return list(self._values(where)[0]) if self.numeric else list(self.texts(where).ravel())

    def _values(self, where: str) -> tuple[Any, str]:
        if self.datatype not in _FIELDS:
            raise invalid(f"{where}.contents", f"{self.datatype} has none: send it in raw_input_contents")
        field = _FIELDS[self.datatype]
        values, needed = getattr(self.contents, field), math.prod(self.shape)
        if len(values) != needed:
            raise invalid(
                f"{where}.contents.{field}", f"has {len(values)} values, but shape {self.shape} needs {needed}"
            )
        return values, field


def question_of(request: Any) -> Question:
    """What a ModelInferRequest asks. Raises Refusal 400 that names the field."""
    outputs = [output.name for output in request.outputs]
    wanted = (_flag(request, "receipt"), _flag(request, "attributions"))
    return Question(_inputs(request), None, outputs, *wanted, request.id or None)


def _flag(request: Any, name: str) -> bool:
    if name not in request.parameters:
        return False
    parameter = request.parameters[name]
    if parameter.WhichOneof("parameter_choice") != "bool_param":
        raise invalid(f"parameters.{name}", "send it as bool_param")
    return bool(parameter.bool_param)


def _inputs(request: Any) -> list[Given]:
    if not request.inputs:
        raise invalid("inputs", "there are none")
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise invalid("raw_input_contents", f"has {len(raw)} tensors, but there are {len(request.inputs)} inputs")
    inputs: list[Given] = []
    for position, tensor in enumerate(request.inputs):
        where, shape = f"inputs[{position}]", list(tensor.shape)
        if tensor.datatype not in DATATYPES:
            raise invalid(f"{where}.datatype", f"Invalid value {tensor.datatype!r}; known are {', '.join(DATATYPES)}")
        if any(size < 0 for size in shape):
            raise invalid(f"{where}.shape", f"is {shape}: no size is negative")
        if raw and tensor.HasField("contents"):
            raise invalid(f"{where}.contents", "is there beside raw_input_contents: send one of the two")
        inputs.append(
            RawTensor(tensor.name, tensor.datatype, shape, raw[position])
            if raw
            else TypedTensor(tensor.name, tensor.datatype, shape, tensor.contents)
        )
    return inputs
