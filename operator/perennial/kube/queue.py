"""The level-triggered work queue: keys, not events.

A key that is added while it waits is there once; one that is added while it is worked on comes back afterwards, so
that no change is missed and no two workers ever hold one key. What failed comes back later and later, with jitter;
what is asked for later waits in a heap.
"""

from __future__ import annotations

import asyncio
import heapq
import math
import random
from collections import OrderedDict
from collections.abc import Callable, Hashable
from enum import IntEnum
from typing import Generic, TypeVar

from . import metrics

KeyT = TypeVar("KeyT", bound=Hashable)

FIRST_DELAY = 0.05
LONGEST_DELAY = 300.0


LOW_SHARE = 8
"""Of so many keys one is of low priority, as long as any waits: events must not put rollouts off for good."""


class Priority(IntEnum):
    """Events go before lists and before what was asked for by time, so that neither a restart over thousands of objects
    nor thousands that wait for something keep a person waiting."""

    HIGH = 0
    LOW = 1


class Queue(Generic[KeyT]):
    """Made and used within one running event loop, by whose clock it goes. Workers have at most `most_low` keys of low
    priority at a time: whoever comes first then finds a worker, and an API server that is not busy with those who can
    wait. `jitter` yields numbers in [0, 1)."""

    def __init__(self, name: str, most_low: float = math.inf, jitter: Callable[[], float] = random.random) -> None:
        self._name = name
        self._most_low = most_low
        self._jitter = jitter
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[Priority, OrderedDict[KeyT, float]] = {priority: OrderedDict() for priority in Priority}
        self._working: dict[KeyT, float] = {}
        self._working_low: set[KeyT] = set()
        self._again: dict[KeyT, Priority] = {}
        self._due: dict[KeyT, tuple[float, Priority]] = {}
        self._heap: list[tuple[float, int, KeyT]] = []
        self._pushed = 0
        self._high_in_a_row = 0
        self._timer: asyncio.TimerHandle | None = None
        self._failures: dict[KeyT, int] = {}
        self._waiters: OrderedDict[asyncio.Future[None], None] = OrderedDict()
        self._closed = False
        self._adds = metrics.QUEUE_ADDS.labels(name)
        self._queue_seconds = metrics.QUEUE_SECONDS.labels(name)
        self._work_seconds = metrics.WORK_SECONDS.labels(name)
        metrics.QUEUES.add(name, self.state)

    def add(self, key: KeyT, priority: Priority = Priority.HIGH) -> None:
        """Work on the key soon. A key that waits at low priority moves up."""
        if self._closed:
            return
        self._due.pop(key, None)
        if key in self._working:
            self._again[key] = min(priority, self._again.get(key, priority))
            return
        if key in self._waiting[Priority.HIGH] or (priority is Priority.LOW and key in self._waiting[Priority.LOW]):
            return
        since = self._waiting[Priority.LOW].pop(key, None)
        if since is None:
            since = self._loop.time()
            self._adds.inc()
        self._waiting[priority][key] = since
        self._wake_one()

    def is_held(self, key: KeyT) -> bool:
        """Whether a worker has it."""
        return key in self._working

    def may_wait(self, key: KeyT) -> bool:
        """Whether what is left to do for a key that a worker has can as well be done later: it comes back anyhow, and
        others wait that go before it."""
        return key in self._again and bool(self._waiting[Priority.HIGH])

    def add_after(self, key: KeyT, seconds: float, priority: Priority = Priority.LOW) -> None:
        """Work on the key when so many seconds have passed, or sooner if something else asks for it."""
        if self._closed:
            return
        due = self._loop.time() + max(0.0, seconds)
        if key in self._due and self._due[key][0] <= due:
            return
        self._due[key] = (due, priority)
        self._pushed += 1
        heapq.heappush(self._heap, (due, self._pushed, key))
        self._drop_overtaken()
        self._set_timer()

    def retry(self, key: KeyT, at_least: float = 0.0) -> float:
        """Work on the key again after its back-off: 50 ms, doubling up to 5 min, with jitter. Gives the seconds."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        backoff = min(FIRST_DELAY * (1 << min(failures, 20)), LONGEST_DELAY)
        delay = max(backoff, at_least) * (0.75 + self._jitter() / 2)
        metrics.QUEUE_RETRIES.labels(self._name).inc()
        self.add_after(key, delay, Priority.HIGH)
        return delay

    def forget(self, key: KeyT) -> None:
        """The key did well: its next failure is its first."""
        self._failures.pop(key, None)

    async def get(self) -> KeyT | None:
        """The next key, which is this worker's until `done`; None when the queue is closed."""
        while not self._closed:
            if (priority := self._next()) is not None:
                return self._take(priority)
            await self._wait()
        return None

    def done(self, key: KeyT) -> None:
        """The worker is through with the key; what was asked for meanwhile comes now."""
        began = self._working.pop(key)
        if key in self._working_low:
            self._working_low.remove(key)
            self._wake_one()
        self._work_seconds.observe(self._loop.time() - began)
        if (priority := self._again.pop(key, None)) is not None:
            self.add(key, priority)

    def close(self) -> None:
        """No more keys are given out; workers end after the one in hand."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    def state(self) -> metrics.QueueState:
        now = self._loop.time()
        ages = [now - began for began in self._working.values()]
        depth = sum(len(waiting) for waiting in self._waiting.values())
        return metrics.QueueState(depth, sum(ages), max(ages, default=0.0))

    def _next(self) -> Priority | None:
        """The priority of the next key; None where there is none to be had."""
        low = bool(self._waiting[Priority.LOW]) and len(self._working_low) < self._most_low
        if self._waiting[Priority.HIGH] and (not low or self._high_in_a_row < LOW_SHARE - 1):
            self._high_in_a_row += 1
            return Priority.HIGH
        self._high_in_a_row = 0
        return Priority.LOW if low else None

    def _take(self, priority: Priority) -> KeyT:
        key, since = self._waiting[priority].popitem(last=False)
        now = self._loop.time()
        self._working[key] = now
        if priority is Priority.LOW:
            self._working_low.add(key)
        self._queue_seconds.observe(now - since)
        return key

    async def _wait(self) -> None:
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._waiters[waiter] = None
        try:
            await waiter
        except asyncio.CancelledError:
            # A worker that was woken and then cancelled must not take the wake-up with it.
            if waiter.done() and not waiter.cancelled():
                self._wake_one()
            raise
        finally:
            self._waiters.pop(waiter, None)

    def _wake_one(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
                return

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._heap[0][0], self._release) if self._heap else None

    def _release(self) -> None:
        now = self._loop.time()
        while self._heap and self._heap[0][0] <= now:
            due, _, key = heapq.heappop(self._heap)
            # An entry that was overtaken, by an earlier one or by an event, is left in the heap and passed over here.
            overdue, priority = self._due.get(key, (None, Priority.LOW))
            if overdue == due:
                self.add(key, priority)
        self._set_timer()

    def _drop_overtaken(self) -> None:
        """Rebuild the heap when most of it was overtaken: keys that ask to come back in a day may have events by the
        second."""
        if len(self._heap) > 2 * len(self._due) + 64:
            self._heap = [entry for entry in self._heap if entry[2] in self._due and self._due[entry[2]][0] == entry[0]]
            heapq.heapify(self._heap)
