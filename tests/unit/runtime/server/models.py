"""Versions for the tests, published as a run does: small ONNX graphs whose answers can be computed by hand."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from perennial.runtime.attributions.form import Form, Indicators, Linear, Number
from perennial.wire.manifest import (
    ATTRIBUTIONS_FILE,
    FORMAT,
    MANIFEST_FILE,
    ONNX_FILE,
    REFERENCE_FILE,
    File,
    Manifest,
    ModelFile,
)
from perennial.wire.reference import Categorical, Loss, Numeric, Reference
from perennial.wire.result import Result
from perennial.wire.schema import SCHEMA_FILE, Example, Feature, Schema
from perennial.wire.serve import ServedModel


def publish(
    folder: Path,
    model: bytes,
    schema: Schema,
    reference: Reference | None,
    version: int = 1,
    file: str = ONNX_FILE,
    attributions: Form | None = None,
) -> ServedModel:
    """Write the version's folder and give what a server is told of it."""
    digest = hashlib.sha256(model).hexdigest()
    files = {file: model, SCHEMA_FILE: msgspec.json.encode(schema)}
    if reference is not None:
        files[REFERENCE_FILE] = msgspec.json.encode(msgspec.structs.replace(reference, model=digest))
    if attributions is not None:
        files[ATTRIBUTIONS_FILE] = msgspec.msgpack.encode(attributions)
    listed = {name: File(hashlib.sha256(data).hexdigest(), len(data)) for name, data in files.items()}
    manifest = msgspec.json.encode(
        Manifest(
            format=FORMAT,
            namespace="default",
            name="flights",
            uid="1",
            version=version,
            definition="v1:0",
            files=listed,
            model=ModelFile(
                file,
                digest,
                file,
                "onnx" if file == ONNX_FILE else "sklearn",
                attributed=None if attributions is None else "prediction",
            ),
            result=Result(version, "Accepted"),
        )
    )
    folder.mkdir(parents=True)
    for name, data in [*files.items(), (MANIFEST_FILE, manifest)]:
        (folder / name).write_bytes(data)
    return ServedModel(f"file://{folder}", digest, version, hashlib.sha256(manifest).hexdigest())


def _model(nodes: list[Any], inputs: list[Any], outputs: list[Any], constants: dict[str, Any]) -> bytes:
    initial = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "model", inputs, outputs, initial)
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("ai.onnx.ml", 5)]
    data: bytes = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()
    return data


def _value(name: str, kind: int, *shape: int | None) -> Any:
    return helper.make_tensor_value_info(name, kind, list(shape))


def binary(folder: Path, *, threshold: float = 0.5, version: int = 1, wrong_example: bool = False) -> ServedModel:
    """P(yes) is the first of two numbers, clipped to [0, 1] (missing: 0); the label is yes from `threshold` on."""
    nodes = [
        helper.make_node("Slice", ["numbers", "zero", "one", "axis"], ["first"]),
        helper.make_node("IsNaN", ["first"], ["missing"]),
        helper.make_node("Where", ["missing", "nothing", "first"], ["present"]),
        helper.make_node("Clip", ["present", "low", "high"], ["p1"]),
        helper.make_node("Sub", ["high", "p1"], ["p0"]),
        helper.make_node("Concat", ["p0", "p1"], ["probabilities"], axis=1),
        helper.make_node("GreaterOrEqual", ["p1", "threshold"], ["above"]),
        helper.make_node("Squeeze", ["above", "axis"], ["flat"]),
        helper.make_node("Where", ["flat", "yes", "no"], ["label"]),
    ]
    constants = {
        "zero": np.array([0]),
        "one": np.array([1]),
        "axis": np.array([1]),
        "nothing": np.float64(0),
        "low": np.float64(0),
        "high": np.float64(1),
        "threshold": np.float64(threshold),
        "yes": np.array(["yes"], object),
        "no": np.array(["no"], object),
    }
    outputs = [_value("label", TensorProto.STRING, None), _value("probabilities", TensorProto.DOUBLE, None, 2)]
    model = _model(nodes, [_value("numbers", TensorProto.DOUBLE, None, 2)], outputs, constants)
    yes = "no" if wrong_example else "yes"
    schema = Schema(
        task="classification",
        target="late",
        features=[Feature("a", "numeric"), Feature("b", "numeric")],
        score="positive",
        classes=["no", "yes"],
        examples=[
            Example([0.75, None], yes, [0.25, 0.75]),
            Example([None, 1.0], "no", [1.0, 0.0]),
        ],
    )
    reference = Reference(
        model="",
        task="classification",
        rows=10,
        features=[Numeric("a", [0.0, 0.5, 1.0], [0, 5, 5, 0, 0]), Numeric("b", [0.0, 1.0], [0, 10, 0, 0])],
        score=Numeric("score", [0.0, 0.25, 0.5, 0.75, 1.0], [0, 3, 3, 2, 2, 0]),
        loss=Loss([0.0, 1.0], [9, 1], 0.1, 0.2, 0.95),
        classes=["no", "yes"],
    )
    return publish(folder, model, schema, reference, version)


def mixed(folder: Path, *, attributed: bool = True) -> ServedModel:
    """A regression over a number, a boolean and a category: x + flag + 10 for the carrier UA. Its attributions are from
    a mean row of x = 1, half of them UA, a quarter with the flag: 6.25 in all."""
    nodes = [
        helper.make_node("ReduceSum", ["numbers", "axis"], ["sum"], keepdims=0),
        helper.make_node("Squeeze", ["texts", "axis"], ["carrier"]),
        helper.make_node("Equal", ["carrier", "ua"], ["is_ua"]),
        helper.make_node("Where", ["is_ua", "ten", "none"], ["bonus"]),
        helper.make_node("Add", ["sum", "bonus"], ["prediction"]),
    ]
    constants = {
        "axis": np.array([1]),
        "ua": np.array(["UA"], object),
        "ten": np.array([10.0]),
        "none": np.array([0.0]),
    }
    inputs = [_value("numbers", TensorProto.DOUBLE, None, 2), _value("texts", TensorProto.STRING, None, 1)]
    model = _model(nodes, inputs, [_value("prediction", TensorProto.DOUBLE, None)], constants)
    schema = Schema(
        task="regression",
        target="delay",
        features=[Feature("x", "numeric"), Feature("carrier", "categorical"), Feature("flag", "boolean")],
        score="value",
        examples=[Example([1.0, "UA", True], 12.0), Example([2.0, None, False], 2.0)],
    )
    reference = Reference(
        model="",
        task="regression",
        rows=10,
        features=[
            Numeric("x", [0.0, 1.0, 2.0], [0, 5, 5, 0, 0]),
            Categorical("carrier", ["UA", "AA"], [6, 3, 1, 0, 0], others=["DL"]),
            Categorical("flag", ["true", "false"], [5, 5, 0, 0, 0]),
        ],
        score=Numeric("score", [0.0, 5.0, 13.0], [0, 5, 5, 0, 0]),
        loss=Loss([0.25, 0.5, 0.75, 1.0], [7, 2, 1, 0], 0.2, 0.3, 0.95, scale=8.0),
    )
    attributions = Form(
        features=3,
        targets=1,
        blocks=[Number(0), Indicators(1, {"UA": 0}, unseen=1, width=1), Number(2)],
        linear=Linear([[1.0, 10.0, 1.0]], [0.0], [1.0, 0.5, 0.25]),
    )
    return publish(folder, model, schema, reference, attributions=attributions if attributed else None)
