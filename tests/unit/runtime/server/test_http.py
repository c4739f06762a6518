"""The HTTP layer over real sockets: how requests arrive, in which order answers leave, and when a connection ends."""

from __future__ import annotations

import asyncio
import math
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from perennial.runtime.server import http
from perennial.runtime.server.http import CLIENT_GONE, Reply, Request, Respond, Server, deadline


class Echo:
    """Answers with method, path and body; `/slow` when it is let to."""

    max_body = 1000

    def __init__(self) -> None:
        self.arrived: list[Request] = []
        self.left: list[tuple[str, int]] = []
        self.release = asyncio.Event()

    def arrive(self, request: Request) -> None:
        self.arrived.append(request)

    def leave(self, request: Request, status: int) -> None:
        self.left.append((request.path, status))

    def respond(self, request: Request, reply: Respond) -> None:
        said = Reply(b"%b %b %b" % (request.method.encode(), request.path.encode(), request.body))
        if request.path != "/slow":
            reply(said)
            return
        self.waiting = asyncio.create_task(self._slowly(said, reply))

    async def _slowly(self, said: Reply, reply: Respond) -> None:
        await self.release.wait()
        reply(said)


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def receive(self, *, head: bool = False) -> tuple[int, dict[str, str], bytes]:
        async with asyncio.timeout(60):
            raw = await self.reader.readuntil(b"\r\n\r\n")
            status, *lines = raw.decode().rstrip().split("\r\n")
            headers = dict(line.split(": ", 1) for line in lines)
            length = 0 if head else int(headers.get("content-length", "0"))
            return int(status.split()[1]), headers, await self.reader.readexactly(length)

    async def ended(self) -> bool:
        async with asyncio.timeout(60):
            return await self.reader.read() == b""


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(20_000):
        if condition():
            return
        await asyncio.sleep(0.001)
    pytest.fail("it did not come to be")


Running = tuple[Server, Echo, Client]


@asynccontextmanager
async def running() -> AsyncIterator[Running]:
    echo = Echo()
    server = Server(echo)
    await server.listen("127.0.0.1", 0)
    client = Client(*await asyncio.open_connection("127.0.0.1", server.port))
    try:
        yield server, echo, client
    finally:
        echo.release.set()
        client.writer.close()
        await server.close(1)


async def test_requests_follow_one_another_on_a_connection() -> None:
    async with running() as (_, _, client):
        for path in (b"/a", b"/b%20c?x=1", b"/%C3%A9"):
            client.send(b"GET %b HTTP/1.1\r\nhost: x\r\n\r\n" % path)
            status, headers, body = await client.receive()
            assert (status, "connection" in headers) == (200, False)
            assert body.startswith(b"GET /")
        assert body.decode() == "GET /é "


async def test_the_header_of_a_timeout_counts_from_the_request() -> None:
    async with running() as (_, echo, client):
        client.send(b"GET /a HTTP/1.1\r\nX-Envoy-Expected-Rq-Timeout-Ms: 250\r\n\r\nGET /b HTTP/1.1\r\n\r\n")
        await client.receive()
        await client.receive()
        first, second = echo.arrived
        assert deadline(first) == first.began + 0.25
        assert 0 <= time.monotonic() - first.began < 60
        assert deadline(second) == math.inf


async def test_a_body_comes_in_pieces() -> None:
    async with running() as (_, _, client):
        client.send(b"POST /a HTTP/1.1\r\nContent-Length: 4\r\n\r\nab")
        await client.writer.drain()
        await asyncio.sleep(0.02)
        client.send(b"cd")
        assert (await client.receive())[2] == b"POST /a abcd"
        client.send(b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n")
        assert (await client.receive())[2] == b"POST /a abcde"


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with running() as (_, echo, client):
        client.send(b"GET /slow HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\nGET /c HTTP/1.1\r\n\r\n")
        await until(lambda: len(echo.arrived) == 3)
        assert echo.left == []
        echo.release.set()
        assert [(await client.receive())[2] for _ in range(3)] == [b"GET /slow ", b"GET /b ", b"GET /c "]


async def test_pipelining_is_bounded_and_loses_nothing() -> None:
    async with running() as (_, echo, client):
        client.send(b"GET /slow HTTP/1.1\r\n\r\n" + b"GET /b HTTP/1.1\r\n\r\n" * 5000)
        await until(lambda: len(echo.arrived) >= http.MAX_PIPELINED)
        echo.release.set()
        for _ in range(5001):
            assert (await client.receive())[0] == 200


@pytest.mark.parametrize(
    ("data", "status", "said"),
    [
        (b"POST /a HTTP/1.1\r\ncontent-length: 1001\r\n\r\n", 413, b"1000 bytes"),
        (b"POST /a HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3E9\r\n" + b"x" * 1001 + b"\r\n", 413, b"1000 bytes"),
        (b"POST /a HTTP/1.1\r\ncontent-length: x\r\n\r\n", 400, b"not HTTP"),
        (b"POST /a HTTP/1.1\r\ncontent-length: 99999999999999999999999\r\n\r\n", 400, b"not HTTP"),
        (b"POST /a HTTP/1.1\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n", 400, b"not HTTP"),
        (b"nonsense\r\n\r\n", 400, b"not HTTP"),
        (b"\x16\x03\x01\x02\x00", 400, b"not HTTP"),
        (b"GET / HTTP/1.1\r\nx: " + b"y" * 70_000 + b"\r\n\r\n", 431, b"65536 bytes"),
        (b"GET /" + b"y" * 70_000 + b" HTTP/1.1\r\n\r\n", 431, b"65536 bytes"),
    ],
)
async def test_what_is_not_read_to_its_end_ends_the_connection(data: bytes, status: int, said: bytes) -> None:
    async with running() as (server, _, client):
        client.send(data)
        found, headers, body = await client.receive()
        assert (found, headers["connection"], said in body) == (status, "close", True)
        await client.ended()
        other = Client(*await asyncio.open_connection("127.0.0.1", server.port))
        other.send(b"GET /a HTTP/1.1\r\n\r\n")
        assert (await other.receive())[0] == 200
        other.writer.close()


async def test_a_client_that_sends_all_of_it_before_it_reads_still_sees_why_it_was_refused() -> None:
    async with running() as (server, _, _):
        loop, size = asyncio.get_running_loop(), 8 << 20
        with socket.socket() as client:
            client.setblocking(False)
            await loop.sock_connect(client, ("127.0.0.1", server.port))
            await loop.sock_sendall(client, b"POST /a HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % size)
            for _ in range(size >> 16):
                await loop.sock_sendall(client, b"x" * (1 << 16))
            assert (await loop.sock_recv(client, 1 << 16)).startswith(b"HTTP/1.1 413")


async def test_a_client_may_ask_before_it_sends_the_body() -> None:
    async with running() as (_, _, client):
        client.send(b"POST /a HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n")
        assert (await client.receive())[0] == 100
        client.send(b"ab")
        assert (await client.receive())[2] == b"POST /a ab"


async def test_head_has_no_body() -> None:
    async with running() as (_, _, client):
        client.send(b"HEAD /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\n")
        assert (await client.receive(head=True))[1]["content-length"] == "8"
        assert (await client.receive())[2] == b"GET /b "


@pytest.mark.parametrize(
    "head",
    [
        b"GET /a HTTP/1.0\r\n\r\n",
        b"GET /a HTTP/1.0\r\nconnection: keep-alive\r\n\r\n",
        b"GET /a HTTP/1.1\r\nconnection: close\r\n\r\n",
        b"GET /a HTTP/1.1\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n",
    ],
)
async def test_these_are_answered_and_end_the_connection(head: bytes) -> None:
    async with running() as (_, _, client):
        client.send(head)
        status, headers, _ = await client.receive()
        assert (status, headers["connection"]) == (200, "close")
        assert await client.ended()


async def test_a_connection_ends_with_an_answer_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "MAX_REQUESTS", 10)
    async with running() as (_, _, client):
        answered = 0
        while True:
            client.send(b"GET /a HTTP/1.1\r\n\r\n")
            answered += 1
            if "connection" in (await client.receive())[1]:
                break
        assert 5 <= answered <= 10
        assert await client.ended()


async def test_an_old_connection_ends_with_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "MAX_AGE_SECONDS", 0.0)
    async with running() as (_, _, client):
        client.send(b"GET /a HTTP/1.1\r\n\r\n")
        assert (await client.receive())[1]["connection"] == "close"


async def test_at_the_end_answers_end_connections_and_idle_ones_are_closed() -> None:
    async with running() as (server, echo, client):
        idle = Client(*await asyncio.open_connection("127.0.0.1", server.port))
        client.send(b"GET /slow HTTP/1.1\r\n\r\n")
        await until(lambda: len(echo.arrived) == 1 and len(server.connections) == 2)
        closing = asyncio.create_task(server.close(60))
        assert await idle.ended()
        assert not closing.done()
        echo.release.set()
        assert (await client.receive())[1]["connection"] == "close"
        await closing
        with pytest.raises(OSError, match="Connect call failed"):
            await asyncio.open_connection("127.0.0.1", _port(client))


def _port(client: Client) -> int:
    port: int = client.writer.get_extra_info("peername")[1]
    return port


async def test_what_does_not_finish_in_time_is_cut() -> None:
    async with running() as (server, echo, client):
        client.send(b"GET /slow HTTP/1.1\r\n\r\n")
        await until(lambda: len(echo.arrived) == 1)
        await server.close(0.1)
        echo.release.set()
        await until(lambda: bool(echo.left))
        assert echo.left == [("/slow", CLIENT_GONE)]
        assert echo.arrived[0].gone


async def test_every_request_that_arrived_leaves_though_its_client_is_gone() -> None:
    async with running() as (server, echo, client):
        client.send(b"GET /slow HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\n")
        await until(lambda: len(echo.arrived) == 2)
        client.writer.transport.abort()
        await until(lambda: not server.connections)
        echo.release.set()
        await until(lambda: len(echo.left) == 2)
        assert sorted(echo.left) == [("/b", CLIENT_GONE), ("/slow", CLIENT_GONE)]


async def test_idle_and_slow_clients_are_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running() as (server, _, client):
        slow = Client(*await asyncio.open_connection("127.0.0.1", server.port))
        slow.send(b"POST /a HTTP/1.1\r\ncontent-length: 5\r\n\r\n")
        client.send(b"GET /a HTTP/1.1\r\n\r\n")
        await client.receive()
        await until(lambda: len(server.connections) == 2 and any(each._reading for each in server.connections))
        now = time.monotonic()
        for connection in list(server.connections):
            connection.close_if_stale(now + http.SLOW_SECONDS + 1)
        assert await slow.ended()
        assert len(server.connections) == 1
        for connection in list(server.connections):
            connection.close_if_stale(now + http.IDLE_SECONDS + 1)
        assert await client.ended()
