"""A server's life: ports open, model loaded and tried, ready, and at the end a drain that loses no request and no
count.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import logging
import signal
from collections.abc import Callable
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from perennial.runtime.server.admission import Admission
from perennial.runtime.server.app import InferenceApp
from perennial.runtime.server.bequest import give_away, pass_on
from perennial.runtime.server.companion import Companion, Incomparable
from perennial.runtime.server.control import ControlApp
from perennial.runtime.server.counting import Counting
from perennial.runtime.server.counts.tally import Mismatch
from perennial.runtime.server.http import Server
from perennial.runtime.server.inference import Intake, Predictor
from perennial.runtime.server.meter import Meter
from perennial.runtime.server.model import Model, Unloadable, WrongAnswer, load
from perennial.runtime.server.rpc.port import RpcPort
from perennial.runtime.server.state import State
from perennial.runtime.store import StoreError, StoreUnreachableError
from perennial.wire.manifest import SealError
from perennial.wire.places import CONTROL_PORT
from perennial.wire.serve import Serve, ServedModel

logger = logging.getLogger(__name__)

MAX_BODY = 16 * 2**20
MAX_IN_FLIGHT = 256
PROPAGATION_SECONDS = 3.0
"""How long a pod that is ending still accepts connections, while the news spreads to every node's proxy."""
LAST_REQUESTS_SECONDS = 5.0
"""How long it then waits for kept-alive connections to send one more request, whose answer ends them, and for those of
gRPC to be old enough to end."""
IN_FLIGHT_SECONDS = 10.0
HAND_OVER_SECONDS = 5.0
PASS_ON_SECONDS = 2.0
TICK_SECONDS = 1.0
SAMPLES_SECONDS = 0.05
_RETRY_SECONDS = (1, 2, 5, 10, 30)
ATTEMPTS = 4
"""How often a silent store is asked for the model, before the process ends so that its pod's status can say why. A
companion is asked for as long as the process lives, since it serves meanwhile."""


class CannotServe(Exception):
    """The model cannot be had or is not what it must be; the message says which and why."""


@dataclass(frozen=True)
class Ports:
    host: str
    inference: int
    control: int
    grpc: int


async def run(serve: Serve, counts: Path, ports: Ports) -> None:
    """Serve until SIGTERM or SIGINT. Raises CannotServe."""
    np.seterr(all="ignore")
    ending = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ending.set)
    await _made(serve, counts, ports).live(ending)


def _made(serve: Serve, counts: Path, ports: Ports) -> Pod:
    if serve.own_port is None:
        return Pod(serve, counts, ports)
    # An HTTP client, which nobody else here needs.
    from perennial.runtime.server.sidecar.pod import Sidecar

    return Sidecar(serve, counts, ports, serve.own_port)


class Pod:
    """One server process and what runs in it."""

    in_flight_seconds = IN_FLIGHT_SECONDS

    def __init__(self, serve: Serve, counts: Path, ports: Ports) -> None:
        self._serve = serve
        self._counts = counts
        self._meter = Meter()
        self._state = State(serve.name, str(serve.model.version or ""))
        admission = Admission(self._state, self._meter, max_in_flight=MAX_IN_FLIGHT)
        self._inference = self._front(admission)
        self._rpc = RpcPort(self._state, self._meter, admission, max_message=MAX_BODY)
        self._control = Server(ControlApp(self._state, self._meter, counts, max_body=MAX_BODY))
        self.others = f"http://{serve.name}:{CONTROL_PORT}"
        """Where other pods of the deployment are asked: its Service, which this pod is no part of once it drains."""
        self._ports = ports

    def _front(self, admission: Admission) -> Server:
        """What serves the inference port."""
        return Server(InferenceApp(self._state, self._meter, admission, max_body=MAX_BODY))

    def _predictor(self, model: Model, counting: Counting) -> Predictor:
        return Predictor(self._serve.name, model, counting)

    @property
    def ready(self) -> bool:
        return self._state.ready

    @property
    def companion(self) -> str | None:
        """The digest of the companion, once it is loaded."""
        predictor = self._state.predictor
        return predictor.companion.digest if predictor is not None and predictor.companion is not None else None

    @property
    def ports(self) -> Ports:
        """The ports that are open."""
        return Ports(self._ports.host, self._inference.port, self._control.port, self._rpc.port)

    async def live(self, ending: asyncio.Event) -> None:
        """Serve until `ending` is set, then drain."""
        await self._open()
        background = [asyncio.create_task(work) for work in (self._load(), self._tick())]
        ended = asyncio.create_task(ending.wait())
        try:
            await _first(ended, background)
            await self._drain()
        finally:
            for task in (*background, ended):
                task.cancel()
            await asyncio.gather(*background, ended, return_exceptions=True)

    async def _open(self) -> None:
        try:
            await self._control.listen(self._ports.host, self._ports.control)
            await self._inference.listen(self._ports.host, self._ports.inference)
            await self._rpc.listen(self._ports.host, self._ports.grpc)
        except OSError as error:
            raise CannotServe(f"a port cannot be opened: {error}") from error
        ports = self.ports
        logger.info("inference on port %d, control on port %d, gRPC on port %d", *astuple(ports)[1:])

    async def _load(self) -> None:
        model = await self._loaded()
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
        self._state.predictor = self._predictor(model, counting)
        # What is loaded stays: the collector need not look through it again while requests wait.
        gc.collect()
        gc.freeze()
        logger.info("ready: %s version %s (%s)", self._serve.name, model.version, model.engine.name)
        if companion is not None:
            await self._load_companion(companion, model, self._state.predictor)

    async def _loaded(self) -> Model:
        """The model that is served, tried."""
        return await self._fetch(self._serve.model, load, ATTEMPTS)

    async def _fetch(
        self, served: ServedModel, loads: Callable[[ServedModel], Model], attempts: int | None = None
    ) -> Model:
        for attempt in itertools.count():
            try:
                return await asyncio.to_thread(loads, served)
            except StoreUnreachableError as error:
                if attempt + 1 == attempts:
                    raise CannotServe(f"the store does not answer: {error}") from error
                seconds = _RETRY_SECONDS[min(attempt, len(_RETRY_SECONDS) - 1)]
                logger.warning("the store does not answer, trying again in %s s: %s", seconds, error)
                await asyncio.sleep(seconds)
            except (StoreError, SealError, Unloadable, WrongAnswer) as error:
                raise CannotServe(f"{served.uri}: {error}") from error
        raise AssertionError("unreachable")

    async def _load_companion(self, served: ServedModel, main: Model, predictor: Predictor) -> None:
        """A companion that cannot be had costs the comparison, never the service."""
        try:
            model = await self._fetch(served, load)
            predictor.predecessor = Intake(model)
            predictor.companion = Companion(model, main)
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
            if self._state.predictor is not None:
                self._state.predictor.tick()

    async def _drain(self) -> None:
        """Not ready; accept for a while; end connections by their answers; finish; hand the last epoch over."""
        logger.info("ending: %d requests in flight", self._meter.in_flight)
        self._state.draining = True
        self._inference.ending = True
        await asyncio.sleep(PROPAGATION_SECONDS)
        self._inference.refuse_connections()
        self._rpc.refuse_connections()
        await _until(lambda: not (self._inference.connections or self._rpc.connections), LAST_REQUESTS_SECONDS)
        await asyncio.gather(self._inference.close(self.in_flight_seconds), self._rpc.close(self.in_flight_seconds))
        self._close_journal()
        await self._pass_on()
        await asyncio.gather(self._hand_over(), self._bequeath())
        await self._control.close(1.0)

    def _close_journal(self) -> None:
        """Before anything of it is on its way: a mark that is made later would stay behind."""
        if self._state.counting is not None and self._state.counting.journal is not None:
            self._state.counting.journal.closed = True

    async def _pass_on(self) -> None:
        """Labels that wait go to another pod; the last one of a deployment counts them itself."""
        counting, predictor = self._state.counting, self._state.predictor
        if counting is None or predictor is None or not len(counting.waiting):
            return
        waiting = counting.waiting.all
        sent = await asyncio.to_thread(pass_on, waiting, self._serve.name, self.others, PASS_ON_SECONDS)
        predictor.feedback.settle(sent, ())
        predictor.feedback.settle_all()

    async def _bequeath(self) -> None:
        counting = self._state.counting
        if counting is not None and counting.journal is not None and counting.journal.written:
            await asyncio.to_thread(give_away, counting.journal, self._serve.name, self.others, HAND_OVER_SECONDS)

    async def _hand_over(self) -> None:
        if self._state.counting is None:
            return
        book = self._state.counting.book
        book.finish()
        if book.is_read() and not await _until(lambda: book.handed_over, HAND_OVER_SECONDS):
            logger.warning("nobody has taken the last counts: %d epochs wait", book.waiting)


async def _first(ended: asyncio.Task[Any], background: list[asyncio.Task[None]]) -> None:
    """Wait for the end; what fails in the background fails here."""
    running: set[asyncio.Task[Any]] = {ended, *background}
    while not ended.done():
        done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()


async def _until(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait for the condition, at most so long; whether it came. By the clock: on a crowded node so many naps take
    several times as long, and the pod is killed when its grace is over."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while not condition():
        if loop.time() >= end:
            return False
        await asyncio.sleep(0.02)
    return True
