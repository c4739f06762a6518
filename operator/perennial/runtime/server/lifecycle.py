"""A server's life: ports open, model loaded and tried, ready, and at the end a drain that loses no request and no
count.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn

from perennial.runtime.server.app import InferenceApp
from perennial.runtime.server.companion import Companion, Incomparable
from perennial.runtime.server.connection import Connection
from perennial.runtime.server.control import ControlApp
from perennial.runtime.server.counting import Counting
from perennial.runtime.server.counts.tally import Mismatch
from perennial.runtime.server.inference import Predictor
from perennial.runtime.server.meter import Meter
from perennial.runtime.server.model import Model, WrongAnswer, load
from perennial.runtime.server.state import State
from perennial.runtime.store import StoreError, StoreUnreachableError
from perennial.wire.manifest import SealError
from perennial.wire.serve import Serve, ServedModel

logger = logging.getLogger(__name__)

MAX_BODY = 16 * 2**20
MAX_IN_FLIGHT = 256
PROPAGATION_SECONDS = 3.0
"""How long a pod that is ending still accepts connections, while the news spreads to every node's proxy."""
LAST_REQUESTS_SECONDS = 4.0
"""How long it then waits for kept-alive connections to send one more request, whose answer ends them."""
IN_FLIGHT_SECONDS = 10.0
HAND_OVER_SECONDS = 5.0
TICK_SECONDS = 1.0
SAMPLES_SECONDS = 0.05
_RETRY_SECONDS = (1, 2, 5, 10, 30)
_KEEP_ALIVE_SECONDS = 75


class CannotServe(Exception):
    """The model cannot be had or is not what it must be; the message says which and why."""


@dataclass(frozen=True)
class Ports:
    host: str
    inference: int
    control: int


class _Server(uvicorn.Server):
    """uvicorn, which leaves the signals to us: two of them live in this process, and the drain is ours."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def run(serve: Serve, counts: Path, ports: Ports) -> None:
    """Serve until SIGTERM or SIGINT. Raises CannotServe."""
    np.seterr(all="ignore")
    ending = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ending.set)
    await Pod(serve, counts, ports).live(ending)


class Pod:
    """One server process and what runs in it."""

    def __init__(self, serve: Serve, counts: Path, ports: Ports) -> None:
        self._serve = serve
        self._counts = counts
        self._meter = Meter()
        self._state = State(serve.name, str(serve.model.version or ""))
        self._connection: type[Connection] = type("PodConnection", (Connection,), {"meter": self._meter})
        app = InferenceApp(self._state, self._meter, max_body=MAX_BODY, max_in_flight=MAX_IN_FLIGHT)
        control = ControlApp(self._state, self._meter, max_body=MAX_BODY)
        self._inference = _server(app, ports.host, ports.inference, self._connection)
        self._control = _server(control, ports.host, ports.control, "httptools")

    async def live(self, ending: asyncio.Event) -> None:
        servers = [asyncio.create_task(server.serve()) for server in (self._inference, self._control)]
        background = [asyncio.create_task(work) for work in (self._load(), self._tick())]
        ended = asyncio.create_task(ending.wait())
        try:
            await self._until_ended(ended, servers, background)
            await self._drain(servers)
        finally:
            for task in (*background, ended, *servers):
                task.cancel()
            await asyncio.gather(*background, ended, *servers, return_exceptions=True)

    async def _until_ended(
        self, ended: asyncio.Task[Any], servers: list[asyncio.Task[None]], background: list[asyncio.Task[None]]
    ) -> None:
        running: set[asyncio.Task[Any]] = {ended, *servers, *background}
        while not ended.done():
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            if any(server in done for server in servers):
                raise CannotServe("a port could not be opened or closed by itself")

    async def _load(self) -> None:
        model = await self._fetch(self._serve.model)
        companion = self._serve.companion
        try:
            counting = Counting(self._counts, model, companion.sha256 if companion else None)
        except OSError as error:
            raise CannotServe(f"the counts folder {self._counts} cannot be used: {error}") from error
        except Mismatch as error:
            raise CannotServe(f"{self._serve.model.uri}: {error}") from error
        self._meter.counted_in(counting.totals)
        self._state.counting = counting
        self._state.version = model.version
        self._state.predictor = Predictor(self._serve.name, model, counting)
        # What is loaded stays: the collector need not look through it again while requests wait.
        gc.collect()
        gc.freeze()
        logger.info("ready: %s version %s (%s)", self._serve.name, model.version, model.engine.name)
        if companion is not None:
            await self._load_companion(companion, model, self._state.predictor)

    async def _fetch(self, served: ServedModel) -> Model:
        for attempt in range(10**9):
            try:
                return await asyncio.to_thread(load, served)
            except StoreUnreachableError as error:
                seconds = _RETRY_SECONDS[min(attempt, len(_RETRY_SECONDS) - 1)]
                logger.warning("the store does not answer, trying again in %s s: %s", seconds, error)
                await asyncio.sleep(seconds)
            except (StoreError, SealError, WrongAnswer) as error:
                raise CannotServe(f"{served.uri}: {error}") from error
        raise AssertionError("unreachable")

    async def _load_companion(self, served: ServedModel, main: Model, predictor: Predictor) -> None:
        """A companion that cannot be had costs the comparison, never the service."""
        try:
            predictor.companion = Companion(await self._fetch(served), main)
        except (CannotServe, Incomparable) as error:
            logger.warning("nothing is compared: the companion %s cannot be used: %s", served.uri, error)
            return
        gc.collect()
        gc.freeze()
        logger.info("compared with %s", served.uri)
        while True:
            await asyncio.sleep(SAMPLES_SECONDS)
            await predictor.score_samples()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            self._meter.accrue()
            if self._state.counting is not None:
                self._state.counting.flush()
            if self._state.predictor is not None and self._state.predictor.companion is not None:
                self._state.predictor.companion.tick()

    async def _drain(self, servers: list[asyncio.Task[None]]) -> None:
        """Not ready; accept for a while; end connections by their answers; finish; hand the last epoch over."""
        inference, control = servers
        logger.info("ending: %d requests in flight", self._meter.in_flight)
        self._state.draining = True
        self._connection.draining = True
        await asyncio.sleep(PROPAGATION_SECONDS)
        for listener in self._inference.servers:
            listener.close()
        await _until(lambda: not self._inference.server_state.connections, LAST_REQUESTS_SECONDS)
        self._inference.should_exit = True
        await inference
        await self._hand_over()
        self._control.should_exit = True
        await control

    async def _hand_over(self) -> None:
        if self._state.counting is None:
            return
        book = self._state.counting.book
        book.finish()
        if book.is_read() and not await _until(lambda: not book.waiting, HAND_OVER_SECONDS):
            logger.warning("%d epochs were not taken", book.waiting)


async def _until(condition: Any, seconds: float) -> bool:
    """Wait for the condition, at most so long; whether it came."""
    for _ in range(int(seconds / 0.05)):
        if condition():
            return True
        await asyncio.sleep(0.05)
    return bool(condition())


def _server(app: Any, host: str, port: int, connection: Any) -> _Server:
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=connection,
        ws="none",
        lifespan="off",
        interface="asgi3",
        access_log=False,
        log_config=None,
        server_header=False,
        date_header=False,
        backlog=2048,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=int(IN_FLIGHT_SECONDS),
    )
    return _Server(config)
