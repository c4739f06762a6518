"""The messages of the protocol, made from a table of their fields.

Names, numbers and types are the protocol's, and a test compares them with what its clients were generated from.
Generated code would tie the server to the protobuf release that generated it, and need a compiler to change a field.
The messages are in a pool of their own, so that they meet no others of the same names.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_INFERENCE = "inference"
_PARAMETERS = "map InferParameter parameters"
_MESSAGES: dict[str, list[str]] = {
    "ServerLiveRequest": [],
    "ServerLiveResponse": ["bool live 1"],
    "ServerReadyRequest": [],
    "ServerReadyResponse": ["bool ready 1"],
    "ServerMetadataRequest": [],
    "ServerMetadataResponse": ["string name 1", "string version 2", "repeated string extensions 3"],
    "ModelReadyRequest": ["string name 1", "string version 2"],
    "ModelReadyResponse": ["bool ready 1"],
    "ModelMetadataRequest": ["string name 1", "string version 2"],
    "ModelMetadataResponse": [
        "string name 1",
        "repeated string versions 2",
        "string platform 3",
        "repeated ModelMetadataResponse.TensorMetadata inputs 4",
        "repeated ModelMetadataResponse.TensorMetadata outputs 5",
        "map string properties 6",
    ],
    "ModelMetadataResponse.TensorMetadata": ["string name 1", "string datatype 2", "repeated int64 shape 3"],
    "InferParameter": [
        "one bool bool_param 1",
        "one int64 int64_param 2",
        "one string string_param 3",
        "one double double_param 4",
        "one uint64 uint64_param 5",
    ],
    "InferTensorContents": [
        "repeated bool bool_contents 1",
        "repeated int32 int_contents 2",
        "repeated int64 int64_contents 3",
        "repeated uint32 uint_contents 4",
        "repeated uint64 uint64_contents 5",
        "repeated float fp32_contents 6",
        "repeated double fp64_contents 7",
        "repeated bytes bytes_contents 8",
    ],
    "ModelInferRequest": [
        "string model_name 1",
        "string model_version 2",
        "string id 3",
        f"{_PARAMETERS} 4",
        "repeated ModelInferRequest.InferInputTensor inputs 5",
        "repeated ModelInferRequest.InferRequestedOutputTensor outputs 6",
        "repeated bytes raw_input_contents 7",
    ],
    "ModelInferRequest.InferInputTensor": [
        "string name 1",
        "string datatype 2",
        "repeated int64 shape 3",
        f"{_PARAMETERS} 4",
        "InferTensorContents contents 5",
    ],
    "ModelInferRequest.InferRequestedOutputTensor": ["string name 1", f"{_PARAMETERS} 2"],
    "ModelInferResponse": [
        "string model_name 1",
        "string model_version 2",
        "string id 3",
        f"{_PARAMETERS} 4",
        "repeated ModelInferResponse.InferOutputTensor outputs 5",
        "repeated bytes raw_output_contents 6",
    ],
    "ModelInferResponse.InferOutputTensor": [
        "string name 1",
        "string datatype 2",
        "repeated int64 shape 3",
        f"{_PARAMETERS} 4",
        "InferTensorContents contents 5",
    ],
}
_HEALTH = "grpc.health.v1"
_HEALTH_MESSAGES = {
    "HealthCheckRequest": ["string service 1"],
    # An enum in the protocol: the same on the wire.
    "HealthCheckResponse": ["int32 status 1"],
}

_Field = descriptor_pb2.FieldDescriptorProto
_pool = descriptor_pool.DescriptorPool()


def _add(package: str, messages: dict[str, list[str]]) -> None:
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")
    made: dict[str, Any] = {}
    for name, fields in messages.items():
        outer, _, inner = name.rpartition(".")
        message = made[name] = (made[outer].nested_type if outer else file.message_type).add(name=inner)
        for field in fields:
            _add_field(message, f".{package}.{name}", package, field.split())
    _pool.Add(file)


def _add_field(message: Any, full_name: str, package: str, words: list[str]) -> None:
    *form, kind, name, number = words
    field = message.field.add(name=name, number=int(number), label=_Field.LABEL_OPTIONAL)
    if form == ["map"]:
        entry = message.nested_type.add(name=f"{name.capitalize()}Entry")
        entry.options.map_entry = True
        _add_field(entry, "", package, ["string", "key", "1"])
        _add_field(entry, "", package, [kind, "value", "2"])
        field.label, field.type = _Field.LABEL_REPEATED, _Field.TYPE_MESSAGE
        field.type_name = f"{full_name}.{entry.name}"
        return
    if form == ["repeated"]:
        field.label = _Field.LABEL_REPEATED
    if form == ["one"]:
        if not message.oneof_decl:
            message.oneof_decl.add(name="parameter_choice")
        field.oneof_index = 0
    if kind[0].isupper():
        field.type, field.type_name = _Field.TYPE_MESSAGE, f".{package}.{kind}"
    else:
        field.type = _Field.Type.Value(f"TYPE_{kind.upper()}")


_add(_INFERENCE, _MESSAGES)
_add(_HEALTH, _HEALTH_MESSAGES)


def message(name: str, package: str = _INFERENCE) -> Any:
    """The class of the protocol's message of that name."""
    return message_factory.GetMessageClass(_pool.FindMessageTypeByName(f"{package}.{name}"))


def health(name: str) -> Any:
    """The class of a message of `grpc.health.v1`."""
    return message(name, _HEALTH)
