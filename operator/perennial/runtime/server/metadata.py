"""A model's description in the Open Inference Protocol: its tensors by name, and which engine serves it and why."""

from __future__ import annotations

import msgspec

import perennial
from perennial.runtime.server import attributing
from perennial.runtime.server.engine import datatype_of
from perennial.runtime.server.model import Model
from perennial.wire.manifest import Agreement, Quantity
from perennial.wire.schema import DECISIONS, LABEL, PREDICTION, PROBABILITIES, Class

_PLATFORMS = {"onnx": "onnxruntime_onnx", "sklearn": "sklearn_skops"}
_DATATYPES = {"numeric": "FP64", "boolean": "BOOL", "categorical": "BYTES"}


class Description(msgspec.Struct):
    """The server's own metadata."""

    name: str
    version: str
    extensions: list[str]


DESCRIPTION = Description(
    "perennial",
    perennial.__version__,
    ["binary_tensor_data", "perennial_attributions", "perennial_receipt", "perennial_rows"],
)


class Health(msgspec.Struct, omit_defaults=True):
    name: str | None = None
    live: bool | None = None
    ready: bool | None = None


class TensorMetadata(msgspec.Struct):
    """`shape` has -1 for the number of rows."""

    name: str
    datatype: str
    shape: list[int]


class Properties(msgspec.Struct, omit_defaults=True):
    """What the protocol has no place for. `attributions` is what they are of, `no_attributions` why there are none."""

    sha256: str
    task: str
    engine: str
    classes: list[Class] = []
    why: str | None = None
    agreement: Agreement | None = None
    attributions: Quantity | None = None
    no_attributions: str | None = None


class ModelMetadata(msgspec.Struct):
    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]
    properties: Properties


def describe(name: str, model: Model) -> ModelMetadata:
    """The answer of `GET /v2/models/NAME`."""
    served = model.manifest.model
    return ModelMetadata(
        name=name,
        versions=[model.version],
        platform=_PLATFORMS.get(model.engine.name, model.engine.name),
        inputs=[TensorMetadata(feature.name, _DATATYPES[feature.kind], [-1]) for feature in model.schema.features],
        outputs=_outputs(model),
        properties=Properties(
            model.digest,
            model.schema.task,
            model.engine.name,
            model.schema.classes,
            served.why,
            served.agreement,
            served.attributed,
            None if served.attributed else served.not_attributed or attributing.NOT_PUBLISHED,
        ),
    )


def _outputs(model: Model) -> list[TensorMetadata]:
    schema, datatype = model.schema, datatype_of(model.schema)
    if schema.task == "regression":
        return [TensorMetadata(PREDICTION, datatype, [-1])]
    outputs = [TensorMetadata(LABEL, datatype, [-1])]
    if schema.score != "label":
        outputs.append(TensorMetadata(PROBABILITIES, "FP64", [-1, len(schema.classes)]))
    if model.engine.decide is not None:
        outputs.append(TensorMetadata(DECISIONS, "FP64", [-1] if len(schema.classes) == 2 else [-1, -1]))
    return outputs
