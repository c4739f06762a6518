"""Which requests are predicted together: all of one turn, in batches that are bounded, none at another's expense."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perennial.runtime.server.counted import Counted
from perennial.runtime.server.engine import Answers
from perennial.runtime.server.refusal import Refusal
from perennial.runtime.server.rows import Rows
from perennial.runtime.server.scheduling import MAX_WAITING_ROWS, Scheduler

POISON = -1.0


@dataclass
class Waiter:
    deadline: float = math.inf
    gone: bool = False


@dataclass
class Asked:
    """A request for rows of one value, by which its answer is known."""

    value: float
    rows: Rows
    alone: bool = False
    waiter: Waiter = field(default_factory=Waiter)


def asked(value: float, rows: int = 1) -> Asked:
    return Asked(value, Rows(rows, np.full((rows, 2), value)))


@dataclass
class Doubling:
    """A model that doubles, refuses a batch with POISON in it, and notes what it was given."""

    batches: list[list[float]] = field(default_factory=list)
    counted: int = 0
    answers: list[tuple[float, list[float]]] = field(default_factory=list)
    failures: list[float] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    waiting_seconds: float = 0.0
    predictions: list[int] = field(default_factory=list)
    hold: threading.Event | None = None

    def compute(self, batch: Sequence[Asked], rows: Rows) -> Answers:
        assert rows.count == sum(asked.rows.count for asked in batch)
        if self.hold is not None:
            self.hold.wait(5)
        values = rows.numbers[:, 0]
        self.batches.append(values.tolist())
        if POISON in values:
            raise ValueError("a row that the model does not take")
        return Answers(values * 2, np.stack([values, values], axis=1))

    def count(self, rows: Rows, answers: Answers) -> Counted:
        self.counted += rows.count
        return Counted(answers.predictions + 1)

    def waited(self, seconds: float) -> None:
        self.waiting_seconds += seconds

    def predicted(self, rows: int, seconds: float) -> None:
        self.predictions.append(rows)

    def answer(self, asked: Asked, answers: Answers, counted: Counted) -> None:
        assert counted.scores is not None
        assert answers.probabilities is not None
        assert answers.probabilities.shape == (asked.rows.count, 2)
        assert counted.scores.tolist() == (answers.predictions + 1).tolist()
        self.answers.append((asked.value, answers.predictions.tolist()))

    def fail(self, asked: Asked, error: Exception) -> None:
        self.failures.append(asked.value)
        self.statuses.append(error.status if isinstance(error, Refusal) else 500)


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(20000):
        if condition():
            return
        await asyncio.sleep(0.001)
    pytest.fail("it did not come to be")


async def test_one_turn_is_one_batch() -> None:
    model = Doubling()
    scheduler = Scheduler(model, inline_rows=64, batch_rows=64)
    for value in range(5):
        scheduler.submit(asked(value))
    assert not model.batches
    await asyncio.sleep(0)
    assert model.batches == [[0, 1, 2, 3, 4]]
    assert model.answers == [(value, [2 * value]) for value in range(5)]
    scheduler.submit(asked(7))
    await asyncio.sleep(0)
    assert model.batches[1:] == [[7]]


async def test_a_batch_is_bounded_and_a_larger_request_goes_alone() -> None:
    model = Doubling()
    scheduler = Scheduler(model, inline_rows=100, batch_rows=8)
    for value, rows in [(0, 5), (1, 3), (2, 1), (3, 9), (4, 8)]:
        scheduler.submit(asked(value, rows))
    await turns()
    assert [sorted(set(batch)) for batch in model.batches] == [[3], [0, 1], [2], [4]]
    assert max(len(batch) for batch in model.batches) == 9


async def test_what_is_to_be_alone_is() -> None:
    model = Doubling()
    scheduler = Scheduler(model, inline_rows=100, batch_rows=8)
    scheduler.submit(asked(0))
    scheduler.submit(Asked(1, asked(1).rows, alone=True))
    scheduler.submit(asked(2))
    await turns()
    assert sorted(model.batches) == [[0, 2], [1]]


async def test_large_and_small_requests_take_turns() -> None:
    model = Doubling()
    scheduler = Scheduler(model, inline_rows=100, batch_rows=2)
    for value in range(3):
        scheduler.submit(asked(value, 50))
    for value in range(10, 16):
        scheduler.submit(asked(value))
    await turns()
    assert [batch[0] for batch in model.batches] == [0, 10, 1, 12, 2, 14]


async def test_others_have_the_loop_between_batches() -> None:
    model = Doubling()
    scheduler = Scheduler(model, inline_rows=100, batch_rows=1)
    scheduler.submit(asked(0))
    scheduler.submit(asked(1))
    await asyncio.sleep(0)
    assert model.batches == [[0]]


@pytest.mark.parametrize("inline_rows", [0, 64])
async def test_what_fails_spoils_nothing_else(inline_rows: int) -> None:
    model = Doubling()
    scheduler = Scheduler(model, inline_rows=inline_rows, batch_rows=64)
    for value in (1.0, POISON, 2.0):
        scheduler.submit(asked(value))
    await until(lambda: len(model.answers) + len(model.failures) == 3)
    assert (model.answers, model.failures, model.counted) == ([(1, [2]), (2, [4])], [POISON], 2)


async def test_counting_that_fails_answers_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Doubling()

    def fail(rows: Rows, answers: Answers) -> Counted:
        raise OSError("the counts file is gone")

    monkeypatch.setattr(model, "count", fail)
    scheduler = Scheduler(model, inline_rows=64, batch_rows=64)
    scheduler.submit(asked(1))
    scheduler.submit(asked(2))
    await asyncio.sleep(0)
    assert model.failures == [1, 2]


async def test_slow_predictions_leave_the_loop_free_and_gather_the_next_batch() -> None:
    model = Doubling(hold=threading.Event())
    scheduler = Scheduler(model, inline_rows=0, batch_rows=4)
    assert model.hold is not None
    scheduler.submit(asked(0))
    await turns()
    for value in range(1, 6):
        scheduler.submit(asked(value))
    await turns()
    assert not model.answers
    model.hold.set()
    await until(lambda: len(model.answers) == 6)
    assert model.batches == [[0], [1, 2, 3, 4], [5]]


async def test_a_quick_request_does_not_wait_for_a_slow_one() -> None:
    model = Doubling(hold=threading.Event())
    scheduler = Scheduler(model, inline_rows=10, batch_rows=4)
    scheduler.submit(asked(0, 1000))
    await turns()
    hold, model.hold = model.hold, None
    scheduler.submit(asked(1))
    await turns(2)
    assert model.answers == [(1, [2])]
    assert hold is not None
    hold.set()
    await until(lambda: len(model.answers) == 2)


async def test_what_waits_is_measured() -> None:
    model = Doubling()
    scheduler = Scheduler(model, inline_rows=64, batch_rows=64)
    scheduler.clock = iter([10.0, 11.0, 14.0, 14.5, 15.0]).__next__
    scheduler.submit(asked(0))
    scheduler.submit(asked(1, 3))
    await asyncio.sleep(0)
    assert model.waiting_seconds == 1 + 2 * 3
    assert model.predictions == [4]


@pytest.mark.parametrize("inline_rows", [0, 64])
async def test_what_nobody_waits_for_is_not_predicted(inline_rows: int) -> None:
    model = Doubling()
    scheduler = Scheduler(model, inline_rows=inline_rows, batch_rows=64)
    late, gone = asked(1), asked(2)
    late.waiter.deadline, gone.waiter.gone = time.monotonic() - 1, True
    for one in (asked(0), late, gone):
        scheduler.submit(one)
    await until(lambda: len(model.answers) == 1)
    assert (model.batches, model.failures, model.statuses) == ([[0]], [1, 2], [504, 504])
    scheduler.submit(late)
    await until(lambda: len(model.failures) == 3)
    assert (scheduler.waiting, scheduler.waiting_rows) == (0, 0)


async def test_what_waits_is_bounded_by_rows() -> None:
    model = Doubling(hold=threading.Event())
    assert model.hold is not None
    scheduler = Scheduler(model, inline_rows=10, batch_rows=10)
    scheduler.submit(asked(0, MAX_WAITING_ROWS + 1))
    await turns()
    assert (scheduler.waiting, scheduler.waiting_rows) == (0, 0)
    scheduler.submit(asked(1, MAX_WAITING_ROWS))
    with pytest.raises(Refusal) as refusal:
        scheduler.submit(asked(2))
    assert (refusal.value.status, refusal.value.headers) == (503, b"retry-after: 1\r\n")
    model.hold.set()
    await until(lambda: len(model.answers) == 2)
    scheduler.submit(asked(3))
    await until(lambda: len(model.answers) == 3)


async def test_what_is_abandoned_makes_room() -> None:
    model = Doubling(hold=threading.Event())
    assert model.hold is not None
    scheduler = Scheduler(model, inline_rows=10, batch_rows=10)
    scheduler.submit(asked(0, 100))
    await turns()
    forgotten = asked(1, MAX_WAITING_ROWS - 20)
    scheduler.submit(forgotten)
    scheduler.submit(asked(2, 15))
    forgotten.waiter.gone = True
    scheduler.submit(asked(3, 1000))
    assert (scheduler.waiting, scheduler.waiting_rows) == (2, 1015)
    model.hold.set()
    await until(lambda: len(model.answers) == 3)
    assert model.failures == [1]


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 12), max_size=30),
    poisoned=st.sets(st.integers(0, 29)),
    inline_rows=st.integers(0, 12),
    batch_rows=st.integers(1, 12),
)
def test_every_request_is_answered_once_with_its_own(
    sizes: list[int], poisoned: set[int], inline_rows: int, batch_rows: int
) -> None:
    model = Doubling()
    values = [POISON if place in poisoned else float(place) for place in range(len(sizes))]

    async def play() -> None:
        scheduler = Scheduler(model, inline_rows=inline_rows, batch_rows=batch_rows)
        for value, rows in zip(values, sizes, strict=True):
            scheduler.submit(asked(value, rows))
        await until(lambda: len(model.answers) + len(model.failures) >= len(sizes))
        await turns(2)

    asyncio.run(play())
    good = {value: rows for value, rows in zip(values, sizes, strict=True) if value != POISON}
    assert sorted(model.answers) == sorted((value, [2 * value] * rows) for value, rows in good.items())
    assert len(model.failures) == values.count(POISON)
    assert model.counted == sum(good.values())
    assert all(len(batch) <= batch_rows or len(set(batch)) == 1 for batch in model.batches)
