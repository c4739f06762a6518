"""How connections are passed on to gRPC's server, and how they end."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from perennial.runtime.server.rpc.port import RpcPort


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
