"""The little of HTTP that an application of fixed paths needs, straight on ASGI: bodies with a limit, answers,
refusals.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import msgspec

from perennial.runtime.server.refusal import Refusal

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Header = tuple[bytes, bytes]

JSON: Header = (b"content-type", b"application/json")
TEXT: Header = (b"content-type", b"text/plain; version=0.0.4; charset=utf-8")
CLOSE: Header = (b"connection", b"close")
RETRY: Header = (b"retry-after", b"1")

encode = msgspec.json.Encoder().encode


class Disconnected(Exception):
    """The client went away before its request was whole."""


class Error(msgspec.Struct):
    """The protocol's error body."""

    error: str


async def answer(
    send: Send, body: bytes, status: int = 200, content_type: Header = JSON, headers: Iterable[Header] = ()
) -> None:
    """Send a whole answer."""
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [content_type, length, *headers]})
    await send({"type": "http.response.body", "body": body})


async def refuse(send: Send, refusal: Refusal) -> None:
    """Send the refusal as the protocol's error body."""
    await answer(send, encode(Error(refusal.message)), refusal.status, headers=refusal.headers)


def not_found(path: str) -> Refusal:
    return Refusal(404, f"there is nothing at {path}")


def method_not_allowed(method: str, allowed: str) -> Refusal:
    return Refusal(405, f"{method} is not allowed here; allowed: {allowed}", ((b"allow", allowed.encode()),))


def overloaded(message: str) -> Refusal:
    """503 that asks to come again in a second."""
    return Refusal(503, message, (RETRY,))


async def read_body(scope: Scope, receive: Receive, limit: int) -> bytes:
    """The request's body of at most `limit` bytes.

    Raises Refusal 413 beyond it (the connection is closed, the rest is not read), 415 for an encoded body, and
    Disconnected.
    """
    for name, value in scope["headers"]:
        if name == b"content-length" and int(value) > limit:
            raise _too_large(limit)
        if name == b"content-encoding" and value.lower() != b"identity":
            raise Refusal(415, "encoded bodies are not taken; send plain JSON", (CLOSE,))
    message = await receive()
    if message["type"] != "http.request":
        raise Disconnected
    body: bytes = message["body"]
    if not message.get("more_body", False):
        return body if len(body) <= limit else _raise(_too_large(limit))
    return await _read_rest(body, receive, limit)


async def _read_rest(body: bytes, receive: Receive, limit: int) -> bytes:
    parts, size, more = [body], len(body), True
    while more:
        if size > limit:
            raise _too_large(limit)
        message = await receive()
        if message["type"] != "http.request":
            raise Disconnected
        parts.append(message["body"])
        size += len(message["body"])
        more = message.get("more_body", False)
    return b"".join(parts) if size <= limit else _raise(_too_large(limit))


def _too_large(limit: int) -> Refusal:
    return Refusal(413, f"the body is larger than the {limit} bytes that this server takes", (CLOSE,))


def _raise(refusal: Refusal) -> bytes:
    raise refusal
