"""Attributions on request, so limited that they take nothing from other requests: computed by a process of its own,
started when they are first asked for, one request at a time, for at most a quarter of a processor's time.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from perennial.runtime import limits
from perennial.runtime.attributions.messages import LENGTH, MODEL_ENV, Asked, Explained, Loaded, framed
from perennial.runtime.server.http import overloaded
from perennial.runtime.server.refusal import Refusal, invalid
from perennial.runtime.server.rows import Rows
from perennial.runtime.server.scheduling import Waiter
from perennial.wire.manifest import ATTRIBUTIONS_FILE, Manifest
from perennial.wire.serve import ServedModel

logger = logging.getLogger(__name__)

MAX_ROWS = 100
"""Of one request."""
MAX_WAITING = 16
SHARE = 0.25
"""The part of one processor's time. A pod has a quota for each tenth of a second; the server must not find it used."""
SLICE_SECONDS = 0.01
NOT_PUBLISHED = "the version was published without what they are computed from"
IDLE_SECONDS = 600.0
START_SECONDS = 60.0
_PROCESS_BYTES = 64 << 20
_FILE_TIMES = 8
"""What the process takes by itself, and how many times the file's size beside that, at most."""


@dataclass(frozen=True, slots=True)
class Attributions:
    """`values` [rows, targets, features] and `base` [targets]."""

    values: NDArray[np.float64]
    base: NDArray[np.float64]


def check(manifest: Manifest, rows: int) -> None:
    """Raises Refusal 400 where the version has no attributions, or the rows are too many for them."""
    if manifest.model.attributed is None:
        why = manifest.model.not_attributed or NOT_PUBLISHED
        raise invalid("parameters.attributions", f"this model has none: {why}")
    if rows > MAX_ROWS:
        raise invalid("parameters.attributions", f"{rows} rows are asked for; {MAX_ROWS} a request may be attributed")


class Explaining(Protocol):
    """What computes attributions; `base` [targets] is known once it has been asked."""

    base: NDArray[np.float64]

    async def ask(self, rows: Rows) -> Explained:
        """Raises Refusal 503 where it cannot be had."""

    def end(self) -> None:
        """It is not needed any more, but may be asked again."""


class Attributor:
    """Explains requests, one after another.

    `spent` is told the rows and the processor seconds of what was explained.
    """

    def __init__(self, helper: Explaining, spent: Callable[[int, float], None]) -> None:
        self.waiting = 0
        self._helper = helper
        self._spent = spent
        self._turn = asyncio.Lock()
        self._row_seconds = SLICE_SECONDS
        self._rested = 0.0
        self._idle: asyncio.TimerHandle | None = None

    def admit(self) -> None:
        """Take a place, which `explain` gives back. Raises Refusal 503 where too many wait already."""
        if self.waiting >= MAX_WAITING:
            raise overloaded(f"{self.waiting} requests wait for attributions already")
        self.waiting += 1

    async def explain(self, rows: Rows, waiter: Waiter) -> Attributions:
        """Raises Refusal 503 where the process cannot be had, 504 where nobody waits any more."""
        try:
            async with self._turn:
                return await self._explained(rows, waiter)
        finally:
            self.waiting -= 1

    async def _explained(self, rows: Rows, waiter: Waiter) -> Attributions:
        if self._idle is not None:
            self._idle.cancel()
        loop = asyncio.get_running_loop()
        try:
            parts: list[NDArray[np.float64]] = []
            done = 0
            while done < rows.count:
                await asyncio.sleep(self._rested - loop.time())
                if waiter.gone or waiter.deadline < time.monotonic():
                    raise Refusal(504, "the deadline passed before the attributions were there")
                part = rows.take(slice(done, done + max(1, int(SLICE_SECONDS / self._row_seconds))))
                explained = await self._helper.ask(part)
                self._charge(part.count, explained.seconds, loop.time())
                parts.append(explained.array())
                done += part.count
            return Attributions(np.concatenate(parts), self._helper.base)
        finally:
            self._idle = loop.call_later(IDLE_SECONDS, self._helper.end)

    def _charge(self, rows: int, seconds: float, now: float) -> None:
        self._row_seconds = max(seconds / rows, 1e-6)
        self._rested = now + seconds * (1 / SHARE - 1)
        self._spent(rows, seconds)


class Helper:
    """The process that explains: started when it is first asked, and again when it has ended."""

    def __init__(self, served: ServedModel, manifest: Manifest) -> None:
        self.base = np.zeros(0)
        self._served = served
        self._manifest = manifest
        self._process: asyncio.subprocess.Process | None = None

    async def ask(self, rows: Rows) -> Explained:
        """Raises Refusal 503 where there is no such process and none can be started."""
        texts = None if rows.texts is None else rows.texts.tolist()
        asked = framed(Asked(rows.count, np.ascontiguousarray(rows.numbers).tobytes(), texts))
        process = self._process
        if process is None or process.returncode is not None:
            process = await self._start()
        try:
            assert process.stdin is not None
            process.stdin.write(asked)
            return msgspec.msgpack.decode(await _said(process), type=Explained)
        except (OSError, EOFError) as error:
            self.end()
            raise overloaded("the process that computes attributions has ended") from error
        except asyncio.CancelledError:
            # Its answer would be taken for the next one's.
            self.end()
            raise

    async def _start(self) -> asyncio.subprocess.Process:
        self._check_memory()
        environment = {**os.environ, MODEL_ENV: msgspec.json.encode(self._served).decode(), "OPENBLAS_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "perennial.runtime.attributions"]
        process = await asyncio.create_subprocess_exec(*command, env=environment, stdin=PIPE, stdout=PIPE)
        self._process = process
        try:
            async with asyncio.timeout(START_SECONDS):
                loaded = msgspec.msgpack.decode(await _said(process), type=Loaded)
        except (OSError, EOFError, TimeoutError) as error:
            self.end()
            raise overloaded("the process that computes attributions did not start") from error
        if loaded.failed is not None:
            self.end()
            raise overloaded(f"attributions cannot be computed now: {loaded.failed}")
        self.base = np.array(loaded.base)
        logger.info("attributions are computed by process %d", process.pid)
        return process

    def _check_memory(self) -> None:
        """The kernel may end a whole container for one process that takes too much."""
        room = limits.memory_left()
        needed = _PROCESS_BYTES + _FILE_TIMES * self._manifest.files[ATTRIBUTIONS_FILE].size
        if room is not None and room < needed:
            raise overloaded(
                f"attributions take up to {needed >> 20} MiB of memory and the pod has {room >> 20} MiB left: raise "
                "resources.limits.memory"
            )

    def end(self) -> None:
        """End the process; the next question starts another."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
        self._process = None


async def _said(process: asyncio.subprocess.Process) -> bytes:
    assert process.stdout is not None
    (length,) = LENGTH.unpack(await process.stdout.readexactly(LENGTH.size))
    return await process.stdout.readexactly(length)
