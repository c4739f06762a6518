"""Asks a server through the KServe SDK's inference clients, REST and gRPC, and prints what it was told as JSON.

Runs in an environment that has `kserve` and nothing of ours: python ask_with_kserve.py MIXED BINARY, each
`host:http:grpc` of a server.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.grpc import grpc_predict_v2_pb2
from kserve.protocol.infer_type import RequestedOutput

MODEL = "flights"


def mixed_request(*, binary: bool) -> InferRequest:
    columns: dict[str, tuple[str, Any]] = {
        "x": ("FP64", np.array([1.5, 2.0])),
        "carrier": ("BYTES", np.array(["UA", "ß"], dtype=object)),
        "flag": ("BOOL", np.array([True, False])),
    }
    inputs = []
    for name, (datatype, values) in columns.items():
        tensor = InferInput(name, list(values.shape), datatype)
        tensor.set_data_from_numpy(values, binary_data=binary)
        inputs.append(tensor)
    return InferRequest(MODEL, inputs, request_id="7")


def matrix(**more: Any) -> InferRequest:
    tensor = InferInput("rows", [2, 2], "FP64", data=[0.75, 1.0, 0.25, 5.0])
    return InferRequest(MODEL, [tensor], **more)


def told(response: Any, *names: str) -> list[Any]:
    outputs = {output.name: output for output in response.outputs}
    return [as_json(outputs[name].as_numpy()) for name in names]


def as_json(values: Any) -> list[Any]:
    return [value.decode() if isinstance(value, bytes) else value for value in values.ravel().tolist()]


async def refusal(asking: Any) -> list[str]:
    try:
        await asking
    except Exception as error:
        return [type(error).__name__, str(error)]
    return []


async def over_rest(mixed: str, binary: str) -> dict[str, Any]:
    client = InferenceRESTClient(RESTConfig(protocol="v2"))
    found: dict[str, Any] = {
        "health": [
            await client.is_server_live(mixed),
            await client.is_server_ready(mixed),
            await client.is_model_ready(mixed, MODEL),
        ],
        "json": told(await client.infer(mixed, mixed_request(binary=False), MODEL), "prediction"),
        "binary": told(await client.infer(mixed, mixed_request(binary=True), MODEL), "prediction"),
        "texts": told(await client.infer(binary, matrix(), MODEL), "label", "probabilities"),
        "refusal": await refusal(client.infer(mixed, matrix(), MODEL)),
    }
    wanted = [RequestedOutput("probabilities", {"binary_data": True})]
    response = await client.infer(binary, matrix(request_outputs=wanted, parameters={"receipt": True}), MODEL)
    found["one output"] = told(response, "probabilities")
    found["receipts"] = len(response.parameters["receipts"])
    await client.close()
    return found


async def over_grpc(mixed: str, binary: str) -> dict[str, Any]:
    client = InferenceGRPCClient(mixed)
    found: dict[str, Any] = {
        "health": [
            await client.is_server_live(),
            await client.is_server_ready(),
            await client.is_model_ready(MODEL),
        ],
        "json": told(await client.infer(mixed_request(binary=False)), "prediction"),
        "binary": told(await client.infer(mixed_request(binary=True)), "prediction"),
        "refusal": await refusal(client.infer(matrix())),
    }
    await client.close()
    client = InferenceGRPCClient(binary)
    response = await client.infer(matrix(parameters={"receipt": True}))
    found["texts"] = told(response, "label", "probabilities")
    found["receipts"] = len(told(response, "receipts")[0])
    await client.close()
    return found


def descriptors() -> dict[str, Any]:
    """Name, number and type of every field, by message."""
    found = {}
    waiting = list(grpc_predict_v2_pb2.DESCRIPTOR.message_types_by_name.values())
    while waiting:
        message = waiting.pop()
        waiting += message.nested_types
        found[message.full_name] = {field.name: [field.number, field.type] for field in message.fields}
    return found


async def ask() -> None:
    (mixed, mixed_http, mixed_grpc), (binary, binary_http, binary_grpc) = (one.split(":") for one in sys.argv[1:])
    found = {
        "http": await over_rest(f"http://{mixed}:{mixed_http}", f"http://{binary}:{binary_http}"),
        "grpc": await over_grpc(f"{mixed}:{mixed_grpc}", f"{binary}:{binary_grpc}"),
        "descriptors": descriptors(),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    asyncio.run(ask())
