"""Fits side by side, as many at a time as there are CPUs and as memory allows: a search must not end in the kernel's
out-of-memory killer.

The first fit goes alone; what it takes beside what was there before is measured, and another one is begun only where so
much is left for it below the limit. Which fits run together decides nothing: each is on one thread and knows no other.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, TypeVar

from threadpoolctl import threadpool_limits

ResultT = TypeVar("ResultT")

HEADROOM = 0.9
"""The share of the limit that is planned with: page cache, fragments and the sampling's blindness have the rest."""
_SAMPLE_SECONDS = 0.02
_STATM = Path("/proc/self/statm")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def resident() -> int:
    """Bytes of memory that this process has."""
    return int(_STATM.read_text().split()[1]) * _PAGE


class Workers:
    """Runs fits on at most `cpus` threads, within `limit` bytes (None: no limit).

    `least` is what a fit takes at the least, in bytes: what the first one is taken to need, before it is measured.
    """

    def __init__(self, cpus: int, limit: int | None, least: int, now: Callable[[], int] = resident) -> None:
        self._cpus = cpus
        self._limit = limit
        self._now = now
        self._before = now()
        self._each = float(least)
        self._running = 0
        self._measured = False
        self.most = 0
        """How many ran at once at most."""

    def map(self, fit: Callable[[int], ResultT], count: int, done: Callable[[int], None]) -> Sequence[ResultT]:
        """`fit` of each number below `count`, in order; `done` hears how many have ended. Raises what a fit raises."""
        ended = threading.Event()
        watch = threading.Thread(target=self._watch, args=(ended,), daemon=True)
        watch.start()
        try:
            return self._map(fit, count, done)
        finally:
            ended.set()
            watch.join()

    def _map(self, fit: Callable[[int], ResultT], count: int, done: Callable[[int], None]) -> Sequence[ResultT]:
        futures: list[Future[ResultT]] = []
        running: set[Future[Any]] = set()
        # Each worker thread has OpenMP's settings of its own: without this, every fit would start a thread a CPU.
        with ThreadPoolExecutor(self._cpus, initializer=threadpool_limits, initargs=(1,)) as pool:
            while len(futures) < count or running:
                while len(futures) < count and self._admits(len(running)):
                    futures.append(pool.submit(fit, len(futures)))
                    running.add(futures[-1])
                    self._running = len(running)
                    self.most = max(self.most, len(running))
                finished, running = wait(running, return_when=FIRST_COMPLETED)
                self._running = len(running)
                self._measured = True
                done(len(futures) - len(running))
                for each in finished:
                    each.result()
        return [future.result() for future in futures]

    def _admits(self, running: int) -> bool:
        if running == 0:
            return True
        if not self._measured or running >= self._cpus:
            return False
        return self._limit is None or self._before + (running + 1) * self._each <= HEADROOM * self._limit

    def _watch(self, ended: threading.Event) -> None:
        """The largest share of a fit in what came on top."""
        while not ended.wait(_SAMPLE_SECONDS):
            if running := self._running:
                self._each = max(self._each, (self._now() - self._before) / running)
