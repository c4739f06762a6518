"""Run in an environment of its own: what a client finds out without any file of messages, and what one that watches the
health is told. A line of JSON once it has asked, another when the watch has ended.

python ask_by_reflection.py HOST:PORT MODEL
"""

from __future__ import annotations

import json
import sys
from typing import Any

import grpc
from google.protobuf import descriptor_pool, json_format, message_factory
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

SERVICE = "inference.GRPCInferenceService"
ROW = {"x": {"fp64Contents": [2.0]}, "carrier": {"bytesContents": ["VUE="]}, "flag": {"boolContents": [True]}}
DATATYPES = {"x": "FP64", "carrier": "BYTES", "flag": "BOOL"}


def infer(channel: Any, pool: Any, model: str) -> Any:
    method = pool.FindServiceByName(SERVICE).FindMethodByName("ModelInfer")
    asked, told = (message_factory.GetMessageClass(kind) for kind in (method.input_type, method.output_type))
    inputs = [
        {"name": name, "shape": [1], "datatype": DATATYPES[name], "contents": contents}
        for name, contents in ROW.items()
    ]
    call = channel.unary_unary(f"/{SERVICE}/ModelInfer", asked.SerializeToString, told.FromString)
    return json_format.MessageToDict(call(json_format.ParseDict({"modelName": model, "inputs": inputs}, asked())))


def main() -> None:
    channel = grpc.insecure_channel(sys.argv[1])
    database = ProtoReflectionDescriptorDatabase(channel)
    health = health_pb2_grpc.HealthStub(channel)
    watch = health.Watch(health_pb2.HealthCheckRequest(service=sys.argv[2]))
    unknown = health.Watch(health_pb2.HealthCheckRequest(service="other"))
    names = health_pb2.HealthCheckResponse.ServingStatus.Name
    found = {
        "services": sorted(database.get_services()),
        "answer": infer(channel, descriptor_pool.DescriptorPool(database), sys.argv[2]),
        "watched": names(next(watch).status),
        "unknown": names(next(unknown).status),
        "checked": names(health.Check(health_pb2.HealthCheckRequest()).status),
    }
    print(json.dumps(found), flush=True)
    print(json.dumps([names(status.status) for status in watch]))


main()
