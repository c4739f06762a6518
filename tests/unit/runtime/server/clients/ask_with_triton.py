"""Asks a server through NVIDIA's own client, over HTTP and gRPC, and prints what it was told as JSON.

Runs in an environment that has `tritonclient` and nothing of ours: python ask_with_triton.py MIXED BINARY, each
`host:http:grpc` of a server.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.grpc import service_pb2
from tritonclient.utils import InferenceServerException

MODEL = "flights"


def mixed_inputs(kind: Any, missing: float = np.nan, **how: Any) -> list[Any]:
    columns = {
        "x": ("FP64", np.array([1.5, missing])),
        "carrier": ("BYTES", np.array(["UA", "ß"], dtype=object)),
        "flag": ("BOOL", np.array([True, False])),
    }
    inputs = []
    for name, (datatype, values) in columns.items():
        tensor = kind.InferInput(name, list(values.shape), datatype)
        tensor.set_data_from_numpy(values, **how)
        inputs.append(tensor)
    return inputs


def matrix(kind: Any, datatype: str, dtype: str) -> list[Any]:
    tensor = kind.InferInput("rows", [2, 2], datatype)
    tensor.set_data_from_numpy(np.array([[0.75, 1], [0.25, 5]], dtype))
    return [tensor]


def told(result: Any, *names: str) -> list[Any]:
    return [as_json(result.as_numpy(name)) for name in names]


def as_json(values: Any) -> list[Any]:
    found: list[Any] = [value.decode() if isinstance(value, bytes) else value for value in values.ravel().tolist()]
    return [None if value != value else value for value in found]


def refusal(ask: Any) -> list[str]:
    try:
        ask()
    except InferenceServerException as error:
        return [str(error.status()), str(error.message())]
    return []


def over_http(mixed: str, binary: str) -> dict[str, Any]:
    both = ["label", "probabilities"]
    with triton_http.InferenceServerClient(mixed) as client:
        found: dict[str, Any] = {
            "health": [client.is_server_live(), client.is_server_ready(), client.is_model_ready(MODEL, "1")],
            "server": client.get_server_metadata()["name"],
            "inputs": [tensor["name"] for tensor in client.get_model_metadata(MODEL)["inputs"]],
            "binary": told(client.infer(MODEL, mixed_inputs(triton_http), request_id="7"), "prediction"),
            "json": told(client.infer(MODEL, mixed_inputs(triton_http, 2.0, binary_data=False)), "prediction"),
            "no JSON": refusal(lambda: client.infer(MODEL, mixed_inputs(triton_http, binary_data=False))),
            "refusal": refusal(lambda: client.infer(MODEL, mixed_inputs(triton_http)[:1])),
        }
        for algorithm in ("gzip", "deflate"):
            result = client.infer(MODEL, mixed_inputs(triton_http), request_compression_algorithm=algorithm)
            found[algorithm] = told(result, "prediction")
        later = client.async_infer(MODEL, mixed_inputs(triton_http))
        found["async"] = told(later.get_result(), "prediction")
    with triton_http.InferenceServerClient(binary) as client:
        result = client.infer(MODEL, matrix(triton_http, "FP32", "f4"), parameters={"receipt": True})
        found["texts"] = told(result, *both)
        found["receipts"] = len(result.get_response()["parameters"]["receipts"])
        outputs = [triton_http.InferRequestedOutput(name, binary_data=False) for name in both]
        found["as JSON"] = told(client.infer(MODEL, matrix(triton_http, "FP64", "f8"), outputs=outputs), *both)
        outputs = [triton_http.InferRequestedOutput("predict_proba", binary_data=True)]
        result = client.infer(MODEL, matrix(triton_http, "INT8", "i1"), outputs=outputs)
        found["one output"] = told(result, "predict_proba")
    return found


def over_grpc(mixed: str, binary: str) -> dict[str, Any]:
    with triton_grpc.InferenceServerClient(mixed) as client:
        found: dict[str, Any] = {
            "health": [client.is_server_live(), client.is_server_ready(), client.is_model_ready(MODEL, "1")],
            "server": client.get_server_metadata().name,
            "inputs": [tensor.name for tensor in client.get_model_metadata(MODEL).inputs],
            "binary": told(client.infer(MODEL, mixed_inputs(triton_grpc), request_id="7"), "prediction"),
            "gzip": told(client.infer(MODEL, mixed_inputs(triton_grpc), compression_algorithm="gzip"), "prediction"),
            "refusal": refusal(lambda: client.infer(MODEL, mixed_inputs(triton_grpc)[:1])),
        }
    with triton_grpc.InferenceServerClient(binary) as client:
        result = client.infer(MODEL, matrix(triton_grpc, "FP32", "f4"), parameters={"receipt": True})
        found["texts"] = told(result, "label", "probabilities")
        found["receipts"] = len(result.as_numpy("receipts"))
    return found


def descriptors() -> dict[str, Any]:
    """Name, number, type and label of every field, by message."""
    found = {}
    waiting = list(service_pb2.DESCRIPTOR.message_types_by_name.values())
    while waiting:
        message = waiting.pop()
        waiting += message.nested_types
        found[message.full_name] = {field.name: [field.number, field.type] for field in message.fields}
    return found


def main() -> None:
    (mixed, mixed_http, mixed_grpc), (binary, binary_http, binary_grpc) = (one.split(":") for one in sys.argv[1:])
    found = {
        "http": over_http(f"{mixed}:{mixed_http}", f"{binary}:{binary_http}"),
        "grpc": over_grpc(f"{mixed}:{mixed_grpc}", f"{binary}:{binary_grpc}"),
        "descriptors": descriptors(),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
