"""The messages and services of the protocols, made from tables of their fields and methods.

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
        "one:parameter_choice bool bool_param 1",
        "one:parameter_choice int64 int64_param 2",
        "one:parameter_choice string string_param 3",
        "one:parameter_choice double double_param 4",
        "one:parameter_choice uint64 uint64_param 5",
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
_METHODS = {
    name: f"{name}Request -> {name}Response"
    for name in ("ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata", "ModelInfer")
}
_HEALTH = "grpc.health.v1"
_HEALTH_MESSAGES = {
    "HealthCheckRequest": ["string service 1"],
    "HealthCheckResponse": ["enum HealthCheckResponse.ServingStatus status 1"],
}
STATUSES = ("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")
_HEALTH_METHODS = {
    "Check": "HealthCheckRequest -> HealthCheckResponse",
    "Watch": "HealthCheckRequest -> stream HealthCheckResponse",
}
REFLECTIONS = ("grpc.reflection.v1", "grpc.reflection.v1alpha")
"""The same in both; older clients ask for the second."""
_REFLECTION_MESSAGES = {
    "ServerReflectionRequest": [
        "string host 1",
        "one:message_request string file_by_filename 3",
        "one:message_request string file_containing_symbol 4",
        "one:message_request ExtensionRequest file_containing_extension 5",
        "one:message_request string all_extension_numbers_of_type 6",
        "one:message_request string list_services 7",
    ],
    "ExtensionRequest": ["string containing_type 1", "int32 extension_number 2"],
    "ServerReflectionResponse": [
        "string valid_host 1",
        "ServerReflectionRequest original_request 2",
        "one:message_response FileDescriptorResponse file_descriptor_response 4",
        "one:message_response ExtensionNumberResponse all_extension_numbers_response 5",
        "one:message_response ListServiceResponse list_services_response 6",
        "one:message_response ErrorResponse error_response 7",
    ],
    "FileDescriptorResponse": ["repeated bytes file_descriptor_proto 1"],
    "ExtensionNumberResponse": ["string base_type_name 1", "repeated int32 extension_number 2"],
    "ListServiceResponse": ["repeated ServiceResponse service 1"],
    "ServiceResponse": ["string name 1"],
    "ErrorResponse": ["int32 error_code 1", "string error_message 2"],
}
_REFLECTION_METHODS = {
    "ServerReflectionInfo": "stream ServerReflectionRequest -> stream ServerReflectionResponse",
}

_Field = descriptor_pb2.FieldDescriptorProto
pool = descriptor_pool.DescriptorPool()
services: list[str] = []
"""Full names of all services."""


def _add(package: str, messages: dict[str, list[str]], service: str, methods: dict[str, str]) -> None:
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")
    made: dict[str, Any] = {}
    for name, fields in messages.items():
        outer, _, inner = name.rpartition(".")
        message = made[name] = (made[outer].nested_type if outer else file.message_type).add(name=inner)
        for field in fields:
            _add_field(message, f".{package}.{name}", package, field.split())
    if package == _HEALTH:
        enum = file.message_type[-1].enum_type.add(name="ServingStatus")
        for number, status in enumerate(STATUSES):
            enum.value.add(name=status, number=number)
    made_service = file.service.add(name=service)
    for name, signature in methods.items():
        asked, told = signature.split(" -> ")
        made_service.method.add(
            name=name,
            input_type=f".{package}.{asked.removeprefix('stream ')}",
            output_type=f".{package}.{told.removeprefix('stream ')}",
            client_streaming=asked.startswith("stream "),
            server_streaming=told.startswith("stream "),
        )
    pool.Add(file)
    services.append(f"{package}.{service}")


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
    if form and form[0].startswith("one:"):
        if not message.oneof_decl:
            message.oneof_decl.add(name=form[0].removeprefix("one:"))
        field.oneof_index = 0
    if form == ["enum"]:
        field.type, field.type_name = _Field.TYPE_ENUM, f".{package}.{kind}"
    elif kind[0].isupper():
        field.type, field.type_name = _Field.TYPE_MESSAGE, f".{package}.{kind}"
    else:
        field.type = _Field.Type.Value(f"TYPE_{kind.upper()}")


_add(_INFERENCE, _MESSAGES, "GRPCInferenceService", _METHODS)
_add(_HEALTH, _HEALTH_MESSAGES, "Health", _HEALTH_METHODS)
for _package in REFLECTIONS:
    _add(_package, _REFLECTION_MESSAGES, "ServerReflection", _REFLECTION_METHODS)


def message(name: str, package: str = _INFERENCE) -> Any:
    """The class of the protocol's message of that name."""
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}"))


def health(name: str) -> Any:
    """The class of a message of `grpc.health.v1`."""
    return message(name, _HEALTH)
