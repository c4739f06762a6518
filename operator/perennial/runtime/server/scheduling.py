"""Which waiting requests are predicted together, when, and where.

All that one turn of the event loop brought is predicted at its end: there is no timer, so a request that is alone waits
for nobody. Predictions too long for the loop go to one thread beside it, and what arrives meanwhile is its next batch.
What nobody waits for any more is not predicted, and how much may wait is bounded.
Only as many rows go together as were seen to be answered, bit for bit, as each alone (see `exactness.py`).
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, Protocol, TypeVar

from perennial.runtime.server.counted import Counted
from perennial.runtime.server.engine import Answers
from perennial.runtime.server.http import overloaded
from perennial.runtime.server.refusal import Refusal
from perennial.runtime.server.rows import Rows, joined

MAX_WAITING_ROWS = 65_536
"""Seconds of work for most models: what comes beyond it is better sent to another pod, or later."""


class Waiter(Protocol):
    """Who waits for an answer: until when, in monotonic seconds, and whether they are gone already."""

    @property
    def deadline(self) -> float: ...
    @property
    def gone(self) -> bool: ...


class Waits(Protocol):
    """A request. One that is `alone` is predicted with no other."""

    @property
    def rows(self) -> Rows: ...
    @property
    def alone(self) -> bool: ...
    @property
    def waiter(self) -> Waiter: ...


Asked = TypeVar("Asked", bound=Waits)
Given = TypeVar("Given", contravariant=True)


class Work(Protocol[Given]):
    """What a scheduler has done. Everything but `compute` is called on the event loop."""

    def compute(self, batch: Sequence[Given], rows: Rows) -> Answers:
        """The answers to a batch, whose rows these are: on the loop or on one thread beside it. Raises whatever the
        model does."""

    def count(self, rows: Rows, answers: Answers) -> Counted:
        """Count rows that are answered now: once a batch, which is cheaper than once a request."""

    def waited(self, seconds: float) -> None:
        """Note how long requests waited for their turn, all of them together."""

    def predicted(self, rows: int, seconds: float) -> None:
        """Note that a prediction of so many rows took so long."""

    def answer(self, asked: Given, answers: Answers, counted: Counted) -> None:
        """Answer one request. Raises nothing."""

    def fail(self, asked: Given, error: Exception) -> None:
        """Answer a request that could not be predicted. Raises nothing."""


class Scheduler(Generic[Asked]):
    """Has requests predicted, each once.

    Requests of at most `inline_rows` rows are quick enough for the event loop. Batches have at most `batch_rows` rows;
    a request that has more goes by itself.
    """

    def __init__(self, work: Work[Asked], *, inline_rows: int, batch_rows: int) -> None:
        self._work = work
        self._inline_rows = inline_rows
        self._quick: Lane[Asked] = Lane(min(batch_rows, inline_rows))
        self._slow: Lane[Asked] = Lane(batch_rows)
        self._pool = ThreadPoolExecutor(1, "model")
        self.waiting = 0
        self.waiting_rows = 0
        self.clock = time.monotonic
        self._since = self.clock()
        self._turn_is_due = False
        self._beside: asyncio.Task[None] | None = None

    def submit(self, asked: Asked) -> None:
        """Have a request predicted: at the end of this turn of the event loop, or beside it when its turn comes.

        Raises Refusal 503 where too many rows wait already. Alone, a request may have any number.
        """
        count = asked.rows.count
        if self.waiting:
            self._refuse_too_many(count)
            self._accrue()
        else:
            self._since = self.clock()
        self.waiting += 1
        self.waiting_rows += count
        if count > self._inline_rows:
            self._slow.put(asked)
            if self._beside is None:
                self._beside = asyncio.get_running_loop().create_task(self._predict_beside())
            return
        self._quick.put(asked)
        self._turn_soon()

    def _refuse_too_many(self, rows: int) -> None:
        if self.waiting_rows + rows > MAX_WAITING_ROWS:
            self._drop_abandoned()
        if self.waiting and self.waiting_rows + rows > MAX_WAITING_ROWS:
            raise overloaded(f"{self.waiting_rows} rows wait already; {MAX_WAITING_ROWS} may")

    def _turn_soon(self) -> None:
        if not self._turn_is_due:
            self._turn_is_due = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        """Predict one batch; what is left has the next turn, so that probes and new requests come between."""
        self._turn_is_due = False
        if self.waiting == 1 and (only := self._quick.take_only()) is not None:
            self._predict_only(only)
            return
        batch = self._still_awaited(self._quick.take())
        if self._quick.waits:
            self._turn_soon()
        if batch:
            self._settle(self._predicted(batch))

    def _predict_only(self, asked: Asked) -> None:
        """A turn of one request, which is all that waits: without what it takes to put several together."""
        work, started = self._work, self._accrue()
        self.waiting = self.waiting_rows = 0
        if asked.waiter.gone or asked.waiter.deadline < started:
            self._fail([asked], _too_late())
            return
        try:
            answers = work.compute((asked,), asked.rows)
        except Exception as error:
            work.predicted(asked.rows.count, self.clock() - started)
            work.fail(asked, error)
            return
        work.predicted(asked.rows.count, self.clock() - started)
        try:
            counted = work.count(asked.rows, answers)
        except Exception as error:
            work.fail(asked, error)
            return
        work.answer(asked, answers, counted)

    async def _predict_beside(self) -> None:
        loop = asyncio.get_running_loop()
        while self._slow.waits:
            if batch := self._still_awaited(self._slow.take()):
                self._settle(await loop.run_in_executor(self._pool, self._predicted, batch))
        self._beside = None

    def _still_awaited(self, batch: list[Asked]) -> list[Asked]:
        """Those of a batch that somebody waits for; nobody's time goes into the others."""
        now = self._accrue()
        self.waiting -= len(batch)
        self.waiting_rows -= sum(asked.rows.count for asked in batch)
        abandoned = [asked for asked in batch if asked.waiter.gone or asked.waiter.deadline < now]
        if not abandoned:
            return batch
        self._fail(abandoned, _too_late())
        return [asked for asked in batch if asked not in abandoned]

    def _accrue(self) -> float:
        """Bring the time that requests waited up to now, which it gives."""
        now = self.clock()
        if self.waiting:
            self._work.waited(self.waiting * (now - self._since))
        self._since = now
        return now

    def _drop_abandoned(self) -> None:
        for lane in (self._quick, self._slow):
            for asked in self._still_awaited(lane.take_all()):
                self.waiting += 1
                self.waiting_rows += asked.rows.count
                lane.put(asked)

    def _predicted(self, batch: list[Asked]) -> list[Predicted[Asked]]:
        """What a batch came to. Where the model fails, each request is tried alone: it may be one that spoils it."""
        rows = joined([asked.rows for asked in batch])
        started = self.clock()
        try:
            answers = self._work.compute(batch, rows)
            return [Predicted(batch, rows, answers, self.clock() - started)]
        except Exception as error:
            if len(batch) == 1:
                return [Predicted(batch, rows, error, self.clock() - started)]
        return [predicted for asked in batch for predicted in self._predicted([asked])]

    def _settle(self, predicted: list[Predicted[Asked]]) -> None:
        for part in predicted:
            self._work.predicted(part.rows.count, part.seconds)
            if isinstance(part.outcome, Exception):
                self._fail(part.batch, part.outcome)
                continue
            try:
                counted = self._work.count(part.rows, part.outcome)
            except Exception as error:
                self._fail(part.batch, error)
                continue
            self._answer(part.batch, part.outcome, counted)

    def _answer(self, batch: list[Asked], answers: Answers, counted: Counted) -> None:
        if len(batch) == 1:
            self._work.answer(batch[0], answers, counted)
            return
        start = 0
        for asked in batch:
            its = slice(start, start + asked.rows.count)
            self._work.answer(asked, answers.part(its), counted.part(its))
            start = its.stop

    def _fail(self, batch: list[Asked], error: Exception) -> None:
        for asked in batch:
            self._work.fail(asked, error)


def _too_late() -> Refusal:
    return Refusal(504, "the deadline passed while the request waited for its turn")


class Predicted(Generic[Asked]):
    """Requests that were predicted together, their rows, what the model said, or how it failed, and its seconds."""

    __slots__ = ("batch", "outcome", "rows", "seconds")

    def __init__(self, batch: list[Asked], rows: Rows, outcome: Answers | Exception, seconds: float) -> None:
        self.batch, self.rows, self.outcome, self.seconds = batch, rows, outcome, seconds


class Lane(Generic[Asked]):
    """What waits for one place to be predicted at. Small requests go together, at most `batch_rows` rows at a time;
    large ones go alone. The two take turns, so that neither waits for more than one of the other.
    """

    def __init__(self, batch_rows: int) -> None:
        self._batch_rows = batch_rows
        self._small: deque[Asked] = deque()
        self._large: deque[Asked] = deque()
        self._large_had_its_turn = False

    @property
    def waits(self) -> bool:
        return bool(self._small or self._large)

    def put(self, asked: Asked) -> None:
        by_itself = asked.rows.count > self._batch_rows or asked.alone
        (self._large if by_itself else self._small).append(asked)

    def take_only(self) -> Asked | None:
        """The one request that waits, None where there are others or none."""
        return self._small.popleft() if len(self._small) == 1 and not self._large else None

    def take_all(self) -> list[Asked]:
        """Everything, in the order in which it came within its size."""
        everything = [*self._small, *self._large]
        self._small.clear()
        self._large.clear()
        return everything

    def take(self) -> list[Asked]:
        """The next batch, of at least one request where some wait."""
        if self._large and not (self._small and self._large_had_its_turn):
            self._large_had_its_turn = True
            return [self._large.popleft()]
        self._large_had_its_turn = False
        small, room = self._small, self._batch_rows
        batch: list[Asked] = []
        while small and small[0].rows.count <= room:
            room -= small[0].rows.count
            batch.append(small.popleft())
        return batch
