"""A fitted pipeline to the ONNX model of a version (`runtime/model_format.md`), byte-reproducible."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perennial.wire.schema import Schema

from .columns import Inputs, matrix
from .estimators import converter_of
from .graph import Graph, NotConvertibleError
from .steps import stepped

MAX_BYTES = 1 << 30
"""Half of what a protocol buffer can be."""


@dataclass(frozen=True, slots=True)
class Converted:
    """The model file, and by feature the values at which its trees change their answer: where a check must look."""

    data: bytes
    thresholds: dict[str, NDArray[np.float64]] = field(default_factory=dict)


def convert(pipeline: Any, schema: Schema) -> Converted:
    """The ONNX form of a fitted pipeline. Raises NotConvertibleError, with why."""
    steps = [step for _, step in pipeline.steps] if hasattr(pipeline, "steps") else [pipeline]
    *before, estimator = steps
    columns = before.pop(0) if before and type(before[0]).__name__ == "ColumnTransformer" else None
    convert_estimator = converter_of(estimator)
    graph = Graph()
    inputs = Inputs(graph, schema)
    rows = matrix(inputs, columns)
    for transformer in before:
        rows = stepped(graph, rows, transformer)
    trees = convert_estimator(inputs, rows, estimator)
    model = graph.model()
    if model.ByteSize() > MAX_BYTES:
        raise NotConvertibleError(f"the ONNX file would take {model.ByteSize() >> 20} MiB")
    found = trees.thresholds() if trees is not None else {}
    return Converted(
        model.SerializeToString(deterministic=True),
        {name: found[column] for column, name in rows.raw.items() if column in found},
    )
