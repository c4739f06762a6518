"""grpcio's server around the service. Imported when the first client connects."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio

from perennial.runtime.server.refusal import Refusal
from perennial.runtime.server.rpc.service import Method, Service, Stream

logger = logging.getLogger(__name__)

_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    404: grpc.StatusCode.NOT_FOUND,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    422: grpc.StatusCode.FAILED_PRECONDITION,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
"""gRPC's names for the refusals. 503 is the one that clients try again."""
_TRY_AGAIN = (("grpc-retry-pushback-ms", "1000"),)
"""What Retry-After is in HTTP."""


async def started(service: Service, address: str, max_message: int) -> grpc.aio.Server:
    """A server of the service on `address`, `unix:PATH`."""
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", max_message),
            ("grpc.max_send_message_length", -1),
        ]
    )
    for name in service.methods | service.streams:
        methods = {method: _handler(answer) for method, answer in service.methods.get(name, {}).items()}
        streams = {method: _streaming(answer) for method, answer in service.streams.get(name, {}).items()}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, methods | streams),))
    server.add_insecure_port(address)
    await server.start()
    return server


def _handler(method: Method) -> Any:
    """The method without gRPC's own decoding, whose failures would be ours in the client's eyes."""

    async def handle(data: bytes, context: Any) -> bytes:
        try:
            return await method(data)
        except Exception as error:
            await _abort(context, error)
        raise AssertionError("abort raises")

    return grpc.unary_unary_rpc_method_handler(handle)


def _streaming(stream: Stream) -> Any:
    """The same for a stream; of a method with one request the stream is that one."""

    async def handle(requests: Any, context: Any) -> AsyncIterator[bytes]:
        try:
            async for data in stream(requests):
                yield data
        except Exception as error:
            await _abort(context, error)

    return grpc.stream_stream_rpc_method_handler(handle)


async def _abort(context: Any, error: Exception) -> None:
    if isinstance(error, Refusal):
        pushback = _TRY_AGAIN if error.status == 503 else ()
        await context.abort(_CODES.get(error.status, grpc.StatusCode.UNKNOWN), error.message, pushback)
    logger.error("a gRPC request failed", exc_info=error)
    await context.abort(grpc.StatusCode.INTERNAL, "the server failed to answer; its log says why")
