"""The inference port described in OpenAPI 3.1, for the model that is served: its features are the fields of a row.

Bodies come from the types that decode and encode them, so that the description cannot say something else.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

import perennial
from perennial.runtime.server.answer import InferenceResponse, RowsResponse
from perennial.runtime.server.http import Error
from perennial.runtime.server.metadata import Description, Health, ModelMetadata
from perennial.runtime.server.model import Model
from perennial.runtime.server.records import record_type
from perennial.runtime.server.request import HEADER, InferenceRequest
from perennial.runtime.server.rows import MAX_ROWS

_REFERENCE = "#/components/schemas/{name}"
_JSON, _BINARY = "application/json", "application/octet-stream"
_REFUSED = {
    "400": "The request is wrong; the message names the field.",
    "413": "The body is too large.",
    "415": "The body's encoding is not known.",
    "422": "The model cannot work with these rows.",
    "503": "The model is not loaded yet, or too many requests wait; come again after `Retry-After` seconds.",
}

Document = dict[str, Any]


def describe(name: str, model: Model) -> Document:
    """The document for the model that is served under this name."""
    tensors, rows = _requests(model)
    answers = [InferenceResponse, RowsResponse, ModelMetadata, Description, Health, Error]
    references, components = msgspec.json.schema_components([tensors, rows, *answers], ref_template=_REFERENCE)
    by_tensors, by_rows, told, told_rows, metadata, server, health, error = references
    paths: Document = {
        "/v2": {"get": _get("The server's name and version", server, error)},
        "/v2/health/live": {"get": _get("Whether the process answers", health, error)},
        "/v2/health/ready": {
            "get": _get("Whether the model is loaded and the pod is to be sent requests", health, health)
        },
    }
    infer = _infer(_body(by_tensors, by_rows, model), _content({"oneOf": [told, told_rows]}), _content(error))
    for path in (f"/v2/models/{name}", f"/v2/models/{name}/versions/{model.version}"):
        paths[path] = {"get": _get("What the model takes and gives, and which engine serves it", metadata, error)}
        paths[f"{path}/ready"] = {"get": _get("Whether the model is ready", health, health)}
        paths[f"{path}/infer"] = {"post": infer}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": name,
            "version": perennial.__version__,
            "description": f"Open Inference Protocol v2 for model {name}, version {model.version}.",
        },
        "paths": paths,
        "components": {"schemas": components},
    }


def _requests(model: Model) -> tuple[Any, Any]:
    """The two forms of an InferenceRequest, each with what it must have."""
    common = [(f.name, f.type, f.default) for f in msgspec.structs.fields(InferenceRequest) if f.default is None]
    [inputs] = [f.type for f in msgspec.structs.fields(InferenceRequest) if f.name == "inputs"]
    record: Any = record_type(model.schema)
    rows: Any = Annotated[list[record], Meta(min_length=1, max_length=MAX_ROWS)]
    return msgspec.defstruct("TensorsRequest", [("inputs", inputs), *common]), msgspec.defstruct(
        "RowsRequest", [("rows", rows), *common]
    )


def _get(summary: str, said: Document, unavailable: Document) -> Document:
    responses = {
        "200": {"description": "Yes.", "content": _content(said)},
        "503": {"description": "Not now.", "content": _content(unavailable)},
    }
    return {"summary": summary, "responses": responses}


def _infer(body: Document, told: Document, error: Document) -> Document:
    length = {
        "name": HEADER,
        "in": "header",
        "description": "How many bytes of the body are JSON, where values of tensors follow it as bytes.",
        "schema": {"type": "integer", "minimum": 0},
    }
    answered = {"description": "The predictions.", "content": told | {_BINARY: {}}}
    refused = {code: {"description": said, "content": error} for code, said in _REFUSED.items()}
    return {
        "summary": "Predictions for rows, given as tensors or as records",
        "parameters": [length],
        "requestBody": body,
        "responses": {"200": answered, **refused},
    }


def _body(tensors: Document, rows: Document, model: Model) -> Document:
    json: Document = {"schema": {"oneOf": [tensors, rows]}}
    names = [feature.name for feature in model.schema.features]
    if model.schema.examples:
        values = model.schema.examples[0].values
        json["example"] = {"rows": [dict(zip(names, values, strict=True))]}
    return {"required": True, "content": {_JSON: json, _BINARY: {}}}


def _content(schema: Document) -> Document:
    return {_JSON: {"schema": schema}}
