"""An ONNX graph in the making: nodes and constants by generated names, in the order in which they were asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

OPSET, ML_OPSET, IR_VERSION = 21, 5, 10
ML = "ai.onnx.ml"

_TYPES = {"f": TensorProto.DOUBLE, "i": TensorProto.INT64, "b": TensorProto.BOOL, "O": TensorProto.STRING}
DOUBLE, FLOAT, INT64 = TensorProto.DOUBLE, TensorProto.FLOAT, TensorProto.INT64


class NotConvertibleError(Exception):
    """This model has no exact ONNX form here. The message says why."""


class Graph:
    """Collects what becomes a model. Methods answer with the name of the value that they add."""

    def __init__(self) -> None:
        self._nodes: list[NodeProto] = []
        self._constants: list[TensorProto] = []
        self._inputs: list[ValueInfoProto] = []
        self._outputs: list[ValueInfoProto] = []
        self._count = 0

    def input(self, name: str, columns: int, text: bool = False) -> str:
        """A graph input [rows, columns] of doubles or strings."""
        kind = TensorProto.STRING if text else TensorProto.DOUBLE
        self._inputs.append(helper.make_tensor_value_info(name, kind, [None, columns]))
        return name

    def output(self, value: str, name: str, kind: str, columns: int | None = None) -> None:
        """Make `value` the graph output `name`. `kind` is numpy's: f, i, b or O."""
        self._nodes.append(helper.make_node("Identity", [value], [name]))
        shape = [None] if columns is None else [None, columns]
        self._outputs.append(helper.make_tensor_value_info(name, _TYPES[kind], shape))

    def constant(self, value: NDArray[Any] | float | int) -> str:
        """A constant, doubles and int64 as they are; `object` arrays are strings."""
        name = self._name()
        array = np.asarray(value)
        if array.dtype == object:
            self._constants.append(strings(array.tolist(), name))
        else:
            self._constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """A node of one output."""
        name = self._name()
        self._nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def model(self) -> ModelProto:
        """The finished, checked model."""
        graph = helper.make_graph(self._nodes, "model", self._inputs, self._outputs, self._constants)
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(ML, ML_OPSET)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="perennial")

    def _name(self) -> str:
        self._count += 1
        return f"v{self._count}"


def doubles(values: NDArray[Any] | Sequence[float], name: str) -> TensorProto:
    """A tensor of doubles for an attribute."""
    return numpy_helper.from_array(np.asarray(values, np.float64), name)


def singles(values: NDArray[Any] | Sequence[float], name: str) -> TensorProto:
    """A tensor of single-precision numbers for an attribute."""
    return numpy_helper.from_array(np.asarray(values, np.float32), name)


def strings(values: Sequence[str], name: str) -> TensorProto:
    """A tensor of strings for an attribute."""
    tensor = TensorProto(name=name, data_type=TensorProto.STRING, dims=[len(values)])
    tensor.string_data.extend(value.encode() for value in values)
    return tensor
