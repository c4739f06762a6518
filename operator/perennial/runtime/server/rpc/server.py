"""grpcio's server around the service. Imported when the first client connects."""

from __future__ import annotations

import logging
from typing import Any

import grpc
import grpc.aio

from perennial.runtime.server.refusal import Refusal
from perennial.runtime.server.rpc.service import Method, Service

logger = logging.getLogger(__name__)

MAX_AGE_SECONDS = 3.5
"""After this, give or take a tenth, a client is told to take another connection, and none of its requests is lost. A
Service balances connections, not requests; and a server that stops cancels requests that are just arriving, so all
connections must have ended by themselves in the time that a drain waits for them (`lifecycle`).
"""

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
            ("grpc.max_connection_age_ms", int(MAX_AGE_SECONDS * 1000)),
        ]
    )
    server.add_generic_rpc_handlers(
        tuple(
            grpc.method_handlers_generic_handler(name, {method: _handler(answer) for method, answer in methods.items()})
            for name, methods in service.methods.items()
        )
    )
    server.add_insecure_port(address)
    await server.start()
    return server


def _handler(method: Method) -> Any:
    """The method without gRPC's own decoding, whose failures would be ours in the client's eyes."""

    async def handle(data: bytes, context: Any) -> bytes:
        try:
            return await method(data)
        except Refusal as refusal:
            pushback = _TRY_AGAIN if refusal.status == 503 else ()
            code = _CODES.get(refusal.status, grpc.StatusCode.UNKNOWN)
            await context.abort(code, refusal.message, pushback)
        except Exception:
            logger.exception("a gRPC request failed")
            await context.abort(grpc.StatusCode.INTERNAL, "the server failed to answer; its log says why")
        raise AssertionError("abort raises")

    return grpc.unary_unary_rpc_method_handler(handle)
