"""Server reflection: which services there are and what their messages are, for clients that have no files of them."""

from __future__ import annotations

from typing import Any

from perennial.runtime.server.rpc.messages import message, pool, services

_NOT_FOUND = 5


def told(request: Any, package: str) -> Any:
    """The ServerReflectionResponse to a ServerReflectionRequest of this `package`, one of `messages.REFLECTIONS`."""
    asked = request.WhichOneof("message_request")
    try:
        answer = _ANSWERS[asked](getattr(request, asked))
    except KeyError:
        answer = {"error_response": {"error_code": _NOT_FOUND, "error_message": f"there is no such {asked} here"}}
    return message("ServerReflectionResponse", package)(valid_host=request.host, original_request=request, **answer)


def _services(_: str) -> dict[str, Any]:
    return {"list_services_response": {"service": [{"name": name} for name in services]}}


def _file(name: str) -> dict[str, Any]:
    return _described(pool.FindFileByName(name))


def _file_of(symbol: str) -> dict[str, Any]:
    return _described(pool.FindFileContainingSymbol(symbol))


def _described(file: Any) -> dict[str, Any]:
    return {"file_descriptor_response": {"file_descriptor_proto": [file.serialized_pb]}}


def _extensions(name: str) -> dict[str, Any]:
    return {"all_extension_numbers_response": {"base_type_name": pool.FindMessageTypeByName(name).full_name}}


_ANSWERS = {
    "list_services": _services,
    "file_by_filename": _file,
    "file_containing_symbol": _file_of,
    "all_extension_numbers_of_type": _extensions,
}
"""No message here has extensions: whoever asks for one is told that there is none."""
