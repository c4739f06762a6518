"""How connections are passed on to gRPC's server, and how they end."""

from __future__ import annotations

import asyncio
import socket
from itertools import accumulate, pairwise
from pathlib import Path
from types import SimpleNamespace as Served
from typing import Any

import grpc
import grpc.aio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perennial.runtime.server.rpc import port as port_module
from perennial.runtime.server.rpc.farewell import GOAWAY, Farewell
from perennial.runtime.server.rpc.messages import message
from perennial.runtime.server.rpc.port import Front, RpcPort


@pytest.mark.parametrize("answer", [b"bye", b"bye" * 300_000], ids=["short", "long"])
async def test_a_client_that_still_writes_when_the_server_ends_is_not_reset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    """A client whose write is refused gives up all that is under way there, with answers that it has yet to read."""
    path = str(tmp_path / "socket")

    async def answer_and_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(answer)
        writer.close()

    async def there() -> str:
        return path

    nothing: Any = None
    port = RpcPort(nothing, nothing, nothing, max_message=0)
    monkeypatch.setattr(port, "socket", there)
    loop = asyncio.get_running_loop()
    async with await asyncio.start_unix_server(answer_and_end, path):
        await port.listen("127.0.0.1", 0)
        with socket.socket() as client:
            client.setblocking(False)
            await loop.sock_connect(client, ("127.0.0.1", port.port))
            await loop.sock_sendall(client, b"hello")
            read = b""
            while part := await loop.sock_recv(client, 1 << 16):
                read += part
            assert len(read) == len(answer)
            for _ in range(3):
                await loop.sock_sendall(client, b"acknowledged")
        port.refuse_connections()


DATA, HEADERS, SETTINGS, CONTINUATION = 0, 1, 4, 9
END_HEADERS = 4


def frame(kind: int, flags: int, size: int) -> bytes:
    return size.to_bytes(3) + bytes([kind, flags, 0, 0, 0, 1]) + b"x" * size


FRAMES = st.lists(
    st.one_of(
        st.builds(lambda size: [frame(DATA, 0, size)], st.integers(0, 30)),
        st.builds(lambda size: [frame(HEADERS, END_HEADERS, size)], st.integers(0, 30)),
        st.builds(
            lambda sizes: [frame(HEADERS, 0, sizes[0]), frame(CONTINUATION, END_HEADERS, sizes[1])],
            st.tuples(st.integers(0, 9), st.integers(0, 9)),
        ),
    ),
    max_size=6,
)


@settings(max_examples=300)
@given(blocks=FRAMES, cuts=st.lists(st.integers(0, 200)), said=st.integers(0, 8))
def test_a_client_is_sent_away_between_two_frames(blocks: list[list[bytes]], cuts: list[int], said: int) -> None:
    whole = [frame(SETTINGS, 0, 6), *(b"".join(block) for block in blocks)]
    stream = b"".join(whole)
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    farewell, sent = Farewell(), b""
    for number, (start, end) in enumerate(pairwise(places)):
        if number == said:
            sent += farewell.say()
        sent += farewell.passed(stream[start:end])
    sent += farewell.say() if said >= len(places) - 1 else b""
    before, found, after = sent.partition(GOAWAY)
    assert found
    assert before + after == stream
    between = list(accumulate(len(block) for block in whole))
    assert len(before) in between


async def test_a_request_that_is_under_way_when_its_client_is_sent_away_is_answered(
    mixed: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connections are told to go soon, and the client goes on asking by one after the other. On a crowded machine it
    takes longer than a blink to make one, and clients stall where it is over by then."""
    monkeypatch.setattr(port_module, "MAX_AGE_SECONDS", 0.4)
    port = RpcPort(mixed.state, mixed.meter, mixed.admission, max_message=1 << 20)
    await port.listen("127.0.0.1", 0)
    connected = 0
    joined = Front.connection_made

    def counting(self: Front, transport: asyncio.BaseTransport) -> None:
        nonlocal connected
        connected += 1
        joined(self, transport)

    monkeypatch.setattr(Front, "connection_made", counting)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port.port}") as channel:
        ready = channel.unary_unary("/inference.GRPCInferenceService/ServerReady")
        answers: list[bool] = []
        while connected < 5 or len(answers) < 200:
            answers.append(message("ServerReadyResponse").FromString(await ready(b"", timeout=60)).ready)
    assert all(answers)
    await port.close(1)
