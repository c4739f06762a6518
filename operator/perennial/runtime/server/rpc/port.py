"""The port for gRPC, which costs nothing until somebody uses it.

grpcio listens on a Unix socket and is imported and started when the first bytes arrive; the port's connections are
passed on to it. It cannot take connections over that were accepted before it was there, and two listeners on one port
would lose some when the first one closes.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import random
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from perennial.runtime.server.admission import Admission
from perennial.runtime.server.linger import linger
from perennial.runtime.server.meter import Meter
from perennial.runtime.server.rpc.farewell import Farewell
from perennial.runtime.server.state import State

if TYPE_CHECKING:
    from grpc.aio import Server

logger = logging.getLogger(__name__)

MAX_AGE_SECONDS = 3.5
"""After this, give or take a tenth, a client is told to take another connection, and none of its requests is lost. A
Service balances connections, not requests; and a server that stops cancels requests that are just arriving, so all
connections must have ended by themselves in the time that a drain waits for them (`lifecycle`).
"""


class RpcPort:
    """Listens, and starts the gRPC server for the first client."""

    def __init__(self, state: State, meter: Meter, admission: Admission, *, max_message: int) -> None:
        self._service = (state, meter, admission)
        self._max_message = max_message
        self._listener: asyncio.Server | None = None
        self._server: asyncio.Task[Server] | None = None
        self._folder: Path | None = None
        self.connections: set[Front] = set()

    async def listen(self, host: str, port: int) -> None:
        """Raises OSError where the port cannot be had."""
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(lambda: Front(self), host, port, backlog=2048)

    @property
    def port(self) -> int:
        assert self._listener is not None
        return int(self._listener.sockets[0].getsockname()[1])

    @property
    def started(self) -> bool:
        return self._server is not None

    async def socket(self) -> str:
        """The path of the gRPC server's socket, once that is there."""
        if self._server is None:
            self._folder = Path(tempfile.mkdtemp(prefix="perennial-rpc-"))
            self._server = asyncio.create_task(self._start(self._folder / "socket"))
        await asyncio.shield(self._server)
        return str(self._socket)

    @property
    def _socket(self) -> Path:
        assert self._folder is not None
        return self._folder / "socket"

    async def _start(self, socket: Path) -> Server:
        # Beside the loop: importing takes a quarter of a second.
        server = await asyncio.to_thread(importlib.import_module, "perennial.runtime.server.rpc.server")
        service = await asyncio.to_thread(importlib.import_module, "perennial.runtime.server.rpc.service")
        running = await server.started(service.Service(*self._service), f"unix:{socket}", self._max_message)
        logger.info("gRPC started for its first client")
        return cast("Server", running)

    def refuse_connections(self) -> None:
        """Accept no further connection; those that there are go on until they are old."""
        if self._listener is not None:
            self._listener.close()

    async def close(self, seconds: float) -> None:
        """Finish the requests under way, at most for so long; one that comes now is lost."""
        self.refuse_connections()
        if self._server is not None:
            await (await self._server).stop(seconds)
        for connection in list(self.connections):
            connection.close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


class _End(asyncio.Protocol):
    """One end of a connection that is passed on: what comes in goes out at the other, no faster than that takes it."""

    def __init__(self, other: _End | None = None) -> None:
        self.transport: asyncio.Transport | None = None
        self.other = other

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.write(data)

    def pause_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None and self.other.transport is not None and not self.other.transport.is_closing():
            self.other.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.other is not None:
            self.other.close()

    def close(self) -> None:
        if self.transport is not None:
            self.transport.close()


class _Back(_End):
    """The server's end, which says after a while that the client is to take another connection."""

    def __init__(self, other: _End) -> None:
        super().__init__(other)
        self._farewell = Farewell()
        self._age: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        seconds = MAX_AGE_SECONDS * random.uniform(0.9, 1.1)
        self._age = asyncio.get_running_loop().call_later(seconds, self._send_away)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._age is not None:
            self._age.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(self._farewell.passed(data))

    def _send_away(self) -> None:
        if frame := self._farewell.say():
            super().data_received(frame)


class Front(_End):
    """The client's end. Its first bytes wait until there is somebody to pass them on to."""

    def __init__(self, port: RpcPort) -> None:
        super().__init__()
        self._port = port
        self._joining: asyncio.Task[Any] | None = None
        self._lingers = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._port.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._port.connections.discard(self)
        super().connection_lost(exc)

    def close(self) -> None:
        if self.transport is None or self.transport.is_closing() or self._lingers:
            return
        self._lingers = True
        linger(self.transport)

    def data_received(self, data: bytes) -> None:
        if self._lingers:
            return
        if self.other is not None:
            super().data_received(data)
            return
        assert self.transport is not None
        self.transport.pause_reading()
        self._joining = asyncio.create_task(self._join(data))

    async def _join(self, first: bytes) -> None:
        loop = asyncio.get_running_loop()
        # Joined on this side before it is there: the server speaks first.
        back = _Back(self)
        try:
            await loop.create_unix_connection(lambda: back, await self._port.socket())
        except Exception:
            logger.exception("a gRPC connection could not be passed on")
            self.close()
            return
        assert self.transport is not None
        assert back.transport is not None
        if self.transport.is_closing() or self._lingers:
            back.close()
            return
        self.other = back
        back.transport.write(first)
        self.transport.resume_reading()
