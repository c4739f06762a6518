"""HTTP/1.1 for an application of fixed paths, on httptools: whole requests in, whole answers out.

An ASGI server costs a task, an event, a scope and two writes a request, twice of what the model takes. And behind a
Kubernetes Service connections need an end of our choosing, which only the one who owns them can give: kube-proxy
balances connections, not requests, so a kept-alive one must be ended after a while, by the answer to a request and
never between two.
"""

from __future__ import annotations

import asyncio
import http
import logging
import math
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from email.utils import formatdate
from functools import partial
from typing import Protocol, cast
from urllib.parse import unquote

import httptools
import msgspec

from perennial.runtime.server.linger import linger
from perennial.runtime.server.refusal import Refusal

logger = logging.getLogger(__name__)

MAX_AGE_SECONDS = 10.0
MAX_REQUESTS = 20_000
IDLE_SECONDS = 75.0
"""Longer than the pools of clients keep an unused connection, so that it is they who end it."""
SLOW_SECONDS = 30.0
"""How long a request may take to arrive."""
MAX_HEAD = 65_536
MAX_PIPELINED = 16

JSON = b"application/json"
BINARY = b"application/octet-stream"
TEXT = b"text/plain; version=0.0.4; charset=utf-8"
TIMEOUT = b"x-envoy-expected-rq-timeout-ms"
"""What Envoy, and with it Istio and most gateways, tells of the route's timeout by itself."""
CLIENT_GONE = 499
"""The code, in metrics only, of a request whose client did not wait for the answer."""

encode = msgspec.json.Encoder().encode


class Error(msgspec.Struct):
    """The protocol's error body."""

    error: str


class Request(msgspec.Struct, eq=False):
    """A request that was read whole. `arrived` is monotonic seconds where the application meters it, `json_length` the
    header that says how much of the body is JSON where not all of it is, `timeout` the one that says how many
    milliseconds the client waits; the application makes the `deadline` of it. `gone`: it waits no more. `explained`: it
    waits for attributions. `target` and `headers` are as they came, for a server that was made to keep them;
    `counted_as` is the code in metrics, where that is not the answer's.
    """

    method: str
    path: str
    body: bytes
    encoding: bytes
    keep_alive: bool
    json_length: bytes | None = None
    timeout: bytes = b""
    began: float = 0.0
    arrived: float = 0.0
    deadline: float = math.inf
    gone: bool = False
    explained: bool = False
    target: bytes = b""
    headers: Sequence[tuple[bytes, bytes]] = ()
    counted_as: int = 0


class Reply(msgspec.Struct, eq=False):
    body: bytes
    status: int = 200
    content_type: bytes = JSON
    headers: bytes = b""


Respond = Callable[[Reply], None]


class Application(Protocol):
    """What a server serves. `arrive` and `leave` frame every request, also one whose client goes away. `respond` calls
    `reply` once, at once or later, on the event loop.
    """

    max_body: int

    def arrive(self, request: Request) -> None: ...
    def respond(self, request: Request, reply: Respond) -> None: ...
    def leave(self, request: Request, status: int) -> None: ...


def refused(refusal: Refusal) -> Reply:
    """The refusal as the protocol's error body."""
    return Reply(encode(Error(refusal.message)), refusal.status, headers=refusal.headers)


def not_found(path: str) -> Refusal:
    return Refusal(404, f"there is nothing at {path}")


def method_not_allowed(method: str, allowed: str) -> Refusal:
    return Refusal(405, f"{method} is not allowed here; allowed: {allowed}", b"allow: %b\r\n" % allowed.encode())


def overloaded(message: str) -> Refusal:
    """503 that asks to come again in a second."""
    return Refusal(503, message, b"retry-after: 1\r\n")


def deadline(request: Request) -> float:
    """Until when, in monotonic seconds, a request is waited for. Raises Refusal 400 where the header says nonsense."""
    if not request.timeout:
        return math.inf
    if not request.timeout.isdigit() or len(request.timeout) > 12:
        said = request.timeout.decode("latin-1")
        raise Refusal(400, f"header {TIMEOUT.decode()}: {said!r} is not a number of milliseconds")
    milliseconds = int(request.timeout)
    return request.began + milliseconds / 1000 if milliseconds else math.inf


def too_large(limit: int) -> Refusal:
    return Refusal(413, f"the body is larger than the {limit} bytes that this server takes")


class Server:
    """One port: its application and its connections. With `keeps_head` requests have their headers, all of them."""

    def __init__(self, application: Application, *, keeps_head: bool = False) -> None:
        self.application = application
        self.keeps_head = keeps_head
        self.connections: set[Connection] = set()
        self.ending = False
        """Set once: from then on every answer ends its connection."""
        self.date = b""
        self._listener: asyncio.Server | None = None
        self._sweeper: asyncio.Task[None] | None = None

    async def listen(self, host: str, port: int) -> None:
        """Raises OSError where the port cannot be had."""
        loop = asyncio.get_running_loop()
        self._stamp()
        self._listener = await loop.create_server(lambda: Connection(self), host, port, backlog=2048)
        self._sweeper = asyncio.create_task(self._sweep())

    @property
    def port(self) -> int:
        assert self._listener is not None
        return int(self._listener.sockets[0].getsockname()[1])

    def refuse_connections(self) -> None:
        """Accept no further connection; those that there are go on."""
        if self._listener is not None:
            self._listener.close()

    async def close(self, seconds: float) -> None:
        """End idle connections now and busy ones with their answers, at most after `seconds`."""
        self.ending = True
        self.refuse_connections()
        for connection in list(self.connections):
            connection.close_when_idle()
        end = time.monotonic() + seconds
        while self.connections:
            if time.monotonic() >= end:
                break
            await asyncio.sleep(0.02)
        for connection in list(self.connections):
            connection.abort()
        if self._sweeper is not None:
            self._sweeper.cancel()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(1)
            self._stamp()
            now = time.monotonic()
            for connection in list(self.connections):
                connection.close_if_stale(now)

    def _stamp(self) -> None:
        self.date = formatdate(usegmt=True).encode()


class Connection(asyncio.Protocol):
    """One client's connection: parses requests, has them answered one after the other, writes the answers."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._application = server.application
        self._keeps_head = server.keeps_head
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport
        share = random.uniform(0.5, 1.0)
        self._since = time.monotonic()
        self._ends = self._since + MAX_AGE_SECONDS * share
        self._left = int(MAX_REQUESTS * share)
        self._waiting: deque[Request] = deque()
        self._current: Request | None = None
        self._reading = False
        self._closed = False
        self._lingers = False
        self._json_length: bytes | None
        self._begin()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._server.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed = True
        self._server.connections.discard(self)
        if self._current is not None:
            self._current.gone = True
        for request in self._waiting:
            self._application.leave(request, CLIENT_GONE)
        self._waiting.clear()

    def data_received(self, data: bytes) -> None:
        if self._closed:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # The request itself was complete and is answered; what it wants to upgrade to is not spoken here.
            return
        except httptools.HttpParserError as error:
            self._refuse(Refusal(400, f"this is not HTTP: {error}"))

    def pause_writing(self) -> None:
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        if not self._closed:
            self._transport.resume_reading()

    # What the parser calls, in this order.

    def on_message_begin(self) -> None:
        self._begin()
        self._reading = True
        self._since = time.monotonic()

    def on_url(self, url: bytes) -> None:
        self._url += url
        self._head += len(url)
        if self._head > MAX_HEAD:
            self._refuse_head()

    def on_header(self, name: bytes, value: bytes) -> None:
        size = len(name)
        self._head += size + len(value)
        if self._head > MAX_HEAD:
            self._refuse_head()
        if self._keeps_head:
            self._headers.append((name, value))
        if size in _LENGTHS:
            self._keep(name.lower(), value)

    def _keep(self, name: bytes, value: bytes) -> None:
        if name == b"content-length":
            self._announced = int(value)
        elif name == b"content-encoding":
            self._encoding = value.strip().lower()
        elif name == b"inference-header-content-length":
            self._json_length = value.strip()
        elif name == TIMEOUT:
            self._timeout = value.strip()
        elif name == b"expect":
            self._expects = value.lower() == b"100-continue"

    def on_headers_complete(self) -> None:
        if self._announced > self._application.max_body:
            self._refuse(too_large(self._application.max_body))
        elif self._expects:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        if self._closed:
            return
        self._body.append(body)
        self._size += len(body)
        if self._size > self._application.max_body:
            self._refuse(too_large(self._application.max_body))

    def on_message_complete(self) -> None:
        if self._closed:
            return
        self._reading = False
        request = self._whole()
        self._application.arrive(request)
        if self._current is not None:
            self._waiting.append(request)
            if len(self._waiting) >= MAX_PIPELINED:
                self._transport.pause_reading()
            return
        self._current = request
        self._application.respond(request, partial(self._write, request))

    def _begin(self) -> None:
        self._url = b""
        self._head = 0
        self._announced = 0
        self._encoding = b""
        self._json_length = None
        self._timeout = b""
        self._expects = False
        self._headers: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []
        self._size = 0

    def _refuse_head(self) -> None:
        self._refuse(Refusal(431, f"the head of the request is larger than {MAX_HEAD} bytes"))

    def _whole(self) -> Request:
        parser, now = self._parser, time.monotonic()
        self._left -= 1
        keep = (
            parser.should_keep_alive()
            and not parser.should_upgrade()
            and parser.get_http_version() == "1.1"
            and self._left > 0
            and now < self._ends
        )
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        return Request(
            parser.get_method().decode(),
            _path(self._url),
            body,
            self._encoding,
            keep,
            self._json_length,
            self._timeout,
            self._since,
            target=self._url,
            headers=self._headers,
        )

    def _answer(self, request: Request) -> None:
        if self._closed:
            self._application.leave(request, CLIENT_GONE)
            return
        self._application.respond(request, partial(self._write, request))

    def _write(self, request: Request, reply: Reply) -> None:
        self._current = None
        if self._closed:
            self._application.leave(request, CLIENT_GONE)
            return
        keep = request.keep_alive and not self._server.ending
        head = b"%bcontent-type: %b\r\ncontent-length: %d\r\ndate: %b\r\n%b%b" % (
            _STATUS_LINES[reply.status],
            reply.content_type,
            len(reply.body),
            self._server.date,
            reply.headers,
            b"\r\n" if keep else b"connection: close\r\n\r\n",
        )
        # Before the answer is out: a process killed here must not have told a client more than it has counted.
        self._application.leave(request, reply.status)
        self._transport.write(head if request.method == "HEAD" else head + reply.body)
        self._since = time.monotonic()
        if not keep:
            self._close()
        elif self._waiting:
            self._next()

    def _next(self) -> None:
        self._current = self._waiting.popleft()
        self._transport.resume_reading()
        self._loop.call_soon(self._answer, self._current)

    def _refuse(self, refusal: Refusal) -> None:
        """Answer what is not worth reading to its end, and end the connection."""
        if self._closed:
            return
        self._lingers = True
        request = Request("", _path(self._url), b"", b"", keep_alive=False)
        self._application.arrive(request)
        self._write(request, refused(refusal))

    def _close(self) -> None:
        self._closed = True
        if self._lingers:
            linger(self._transport)
        else:
            self._transport.close()

    def close_when_idle(self) -> None:
        """Close now, unless a request is being read or answered; then its answer does."""
        if self._current is None and not self._reading and not self._closed:
            self._close()

    def close_if_stale(self, now: float) -> None:
        """Close if nothing was asked for too long, or a request does not come to its end."""
        if self._current is None and now - self._since > (SLOW_SECONDS if self._reading else IDLE_SECONDS):
            self._close()

    def abort(self) -> None:
        self._closed = True
        self._transport.abort()


_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in http.HTTPStatus}
_HEADERS = (b"content-length", b"content-encoding", b"inference-header-content-length", TIMEOUT, b"expect")
_LENGTHS = {len(name) for name in _HEADERS}


def _path(url: bytes) -> str:
    """The path of a request's target, decoded; what is no path is itself, and will not be found."""
    path = url.partition(b"?")[0].decode("latin-1")
    return unquote(path) if "%" in path else path
