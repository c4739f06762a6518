"""The queue: level triggered, never two workers on a key, nothing lost, patience that grows."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perennial.kube.queue import FIRST_DELAY, LONGEST_DELAY, LOW_SHARE, Priority, Queue

pytestmark = pytest.mark.looptime


@pytest.fixture
async def queue() -> AsyncIterator[Queue[str]]:
    made: Queue[str] = Queue("test", jitter=lambda: 0.5)
    yield made
    made.close()


async def take(queue: Queue[str]) -> str | None:
    key = await queue.get()
    if key is not None:
        queue.done(key)
    return key


async def test_a_key_that_waits_is_there_once(queue: Queue[str]) -> None:
    for _ in range(3):
        queue.add("a")
    queue.add("b")
    assert [await take(queue), await take(queue)] == ["a", "b"]
    assert queue.state().depth == 0


async def test_a_key_that_changes_while_it_is_worked_on_comes_back(queue: Queue[str]) -> None:
    queue.add("a")
    assert await queue.get() == "a"
    queue.add("a")
    assert queue.state().depth == 0, "nobody else may have it now"
    queue.done("a")
    assert await take(queue) == "a"


async def test_what_is_left_to_do_may_wait_where_the_key_comes_back_and_others_go_before_it(queue: Queue[str]) -> None:
    queue.add("a")
    queue.add("b")
    assert await queue.get() == "a"
    assert not queue.may_wait("a"), "it does not come back"
    queue.add("a", Priority.LOW)
    assert queue.may_wait("a")
    assert await queue.get() == "b"
    assert not queue.may_wait("a"), "nobody waits"
    queue.add("c", Priority.LOW)
    assert not queue.may_wait("a"), "who waits goes after it"


async def test_events_go_before_lists(queue: Queue[str]) -> None:
    for key in "abc":
        queue.add(key, Priority.LOW)
    queue.add("z")
    queue.add("c")
    assert [await take(queue) for _ in range(4)] == ["z", "c", "a", "b"]


async def test_a_low_priority_takes_no_key_back(queue: Queue[str]) -> None:
    queue.add("a")
    queue.add("a", Priority.LOW)
    queue.add("b", Priority.LOW)
    assert [await take(queue), await take(queue)] == ["a", "b"]
    assert queue.state().depth == 0


async def test_what_is_asked_for_later_comes_when_it_is_due(queue: Queue[str]) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    queue.add_after("late", 30)
    queue.add_after("early", 10)
    assert [await take(queue), loop.time() - began] == ["early", pytest.approx(10, abs=0.1)]
    assert [await take(queue), loop.time() - began] == ["late", pytest.approx(30, abs=0.1)]


async def test_the_soonest_of_several_dates_counts(queue: Queue[str]) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    for seconds in (50, 20, 70):
        queue.add_after("a", seconds)
    assert await take(queue) == "a"
    assert loop.time() - began == pytest.approx(20, abs=0.1)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1000):
            await queue.get()


async def test_an_event_overtakes_a_date(queue: Queue[str]) -> None:
    queue.add_after("a", 20)
    queue.add("a")
    assert await take(queue) == "a"
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1000):
            await queue.get()


async def test_what_fails_comes_later_and_later_until_it_does_well(queue: Queue[str]) -> None:
    delays = []
    for _ in range(16):
        delays.append(queue.retry("a"))
        await take(queue)
    assert delays[0] == FIRST_DELAY
    assert all(later == min(2 * sooner, LONGEST_DELAY) for sooner, later in pairwise(delays))
    assert delays[-1] == LONGEST_DELAY
    queue.forget("a")
    assert queue.retry("a") == FIRST_DELAY


async def test_retries_of_many_are_spread() -> None:
    queue: Queue[int] = Queue("spread", jitter=random.Random(1).random)
    delays = {queue.retry(key) for key in range(100)}
    assert len(delays) > 90
    assert all(0.75 * FIRST_DELAY <= delay <= 1.25 * FIRST_DELAY for delay in delays)
    queue.close()


async def test_a_server_that_asks_for_patience_gets_it(queue: Queue[str]) -> None:
    assert queue.retry("a", at_least=7.0) == 7.0


async def test_closing_ends_those_who_wait_and_takes_nothing_more(queue: Queue[str]) -> None:
    waiting = [asyncio.create_task(queue.get()) for _ in range(3)]
    await asyncio.sleep(0)
    queue.close()
    assert await asyncio.gather(*waiting) == [None, None, None]
    queue.add("a")
    assert await queue.get() is None


async def test_a_cancelled_worker_takes_no_wake_up_with_it(queue: Queue[str]) -> None:
    first, second = asyncio.create_task(queue.get()), asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add("a")
    first.cancel()
    async with asyncio.timeout(5):
        assert await second == "a"


async def test_dates_that_were_overtaken_do_not_pile_up(queue: Queue[str]) -> None:
    for round_ in range(5000):
        queue.add_after("a", 86400 - round_)
    assert len(queue._heap) < 200


async def test_it_tells_how_long_work_has_been_in_hand(queue: Queue[str]) -> None:
    queue.add("a")
    queue.add("b")
    await queue.get()
    await asyncio.sleep(5)
    await queue.get()
    await asyncio.sleep(2)
    state = queue.state()
    assert state.longest == pytest.approx(7, abs=0.1)
    assert state.unfinished == pytest.approx(9, abs=0.2)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(["add", "low", "after", "fail"])), max_size=60),
    st.integers(1, 3),
)
def test_no_key_is_lost_and_none_is_held_twice(moves: list[tuple[str, str]], most_low: int) -> None:
    """Workers that take their time, while keys are added in every way: the last change of each key is always seen."""

    async def run() -> None:
        queue: Queue[str] = Queue("any", most_low, jitter=lambda: 0.0)
        changed: Counter[str] = Counter()
        seen: Counter[str] = Counter()
        held: set[str] = set()

        async def work() -> None:
            while (key := await queue.get()) is not None:
                assert key not in held
                held.add(key)
                version = changed[key]
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                seen[key] = max(seen[key], version)
                held.remove(key)
                queue.done(key)
                progress.set()

        progress = asyncio.Event()
        workers = [asyncio.create_task(work()) for _ in range(3)]
        for key, move in moves:
            changed[key] += 1
            match move:
                case "add":
                    queue.add(key)
                case "low":
                    queue.add(key, Priority.LOW)
                case "after":
                    queue.add_after(key, 0.0005)
                case _:
                    queue.retry(key)
            await asyncio.sleep(0)
        async with asyncio.timeout(20):
            while queue.state().depth or held or queue._due:
                progress.clear()
                await progress.wait()
        assert seen == changed
        queue.close()
        await asyncio.gather(*workers)

    asyncio.run(run())


async def test_what_can_wait_does_not_wait_for_ever(queue: Queue[str]) -> None:
    queue.add("low", Priority.LOW)
    for number in range(LOW_SHARE):
        queue.add(f"high{number}")
    taken = [await take(queue) for _ in range(LOW_SHARE)]
    assert taken == [*(f"high{number}" for number in range(LOW_SHARE - 1)), "low"]


async def test_what_can_wait_leaves_workers_to_what_happens() -> None:
    queue: Queue[str] = Queue("halved", most_low=2)
    for key in "abc":
        queue.add(key, Priority.LOW)
    assert [await queue.get() for _ in range(2)] == ["a", "b"]
    idle = asyncio.create_task(queue.get())
    await asyncio.sleep(1)
    assert not idle.done(), "c waits, although somebody has nothing to do"
    queue.add("event")
    await asyncio.sleep(1)
    assert idle.result() == "event"
    third = asyncio.create_task(queue.get())
    queue.done("event")
    await asyncio.sleep(1)
    assert not third.done(), "an event's end makes no room"
    queue.done("a")
    await asyncio.sleep(1)
    assert third.result() == "c"


async def test_what_is_in_hand_at_low_priority_comes_back_at_that_of_its_event() -> None:
    queue: Queue[str] = Queue("upgraded", most_low=1)
    queue.add("a", Priority.LOW)
    queue.add("b", Priority.LOW)
    assert await queue.get() == "a"
    queue.add("a")
    queue.done("a")
    assert [await queue.get() for _ in range(2)] == ["a", "b"]


async def test_a_time_that_has_come_is_less_urgent_than_an_event_and_a_retry_is_not(queue: Queue[str]) -> None:
    queue.add_after("timer", 0.0)
    queue.retry("retry")
    await asyncio.sleep(1.0)
    queue.add("event")
    assert [await take(queue) for _ in range(3)] == ["retry", "event", "timer"]
