"""Which changes put a key before others: what happened does, what the operator made itself does not. And what health
tells: what nothing but a restart mends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from perennial.kube.cache import Caches
from perennial.kube.client import Page, WatchEvent
from perennial.kube.engine import DEAD_AFTER_MISSES, Engine
from perennial.kube.events import Recorder
from perennial.kube.ownership import owner_reference
from perennial.kube.plan import Key, Manifest
from perennial.kube.queue import Priority, Queue
from perennial.kube.resources import CONFIGMAPS
from perennial.kube.workers import LONGEST_RECONCILE
from tests.oracles.apiserver import ApiServer
from tests.oracles.toy import SHELVES, Seen, ShelfController, shelf

BY_US = [{"manager": "perennial", "operation": "Update"}]
BY_THEM = [{"manager": "kubectl", "operation": "Update"}]

pytestmark = pytest.mark.looptime


class Library:
    """An engine of four workers that has heard of shelf `a`, which waits."""

    def __init__(self) -> None:
        self.server, self.caches = ApiServer(), Caches()
        controllers = {"shelf": ShelfController(self.caches)}
        engine = Engine(self.server, self.caches, controllers, Recorder(self.server, "perennial", "test"), workers=4)
        engine._filled = True
        self.workers = engine._workers[0]
        self.queue: Queue[Key] = self.workers.queue
        self.shelf = self.server.put("shelves", shelf("a", one="x"))
        engine.feed(SHELVES, "ADDED", self.shelf)

    async def in_hand(self) -> None:
        assert await self.queue.get() == Key("library", "a")

    async def comes_back_before(self, other: str) -> bool:
        self.queue.done(Key("library", "a"))
        self.queue.add(Key("library", other))
        return await self.queue.get() == Key("library", "a")

    def hears(self, managed: list[dict[str, str]], version: int, *, own: bool = False) -> None:
        metadata: Manifest = {
            "namespace": "library",
            "name": "a-one",
            "uid": "1",
            "resourceVersion": str(version),
            "ownerReferences": [owner_reference(self.shelf)],
            "managedFields": managed,
        }
        book: Manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
        self.caches[CONFIGMAPS].store(book, own=own)


async def test_children_come_before_statuses_while_others_wait() -> None:
    library = Library()
    library.queue.add(Key("library", "b"))
    await library.in_hand()
    await library.workers._reconcile(Key("library", "a"))
    assert [write.subresource for write in library.server.writes] == ["", "", ""]
    library.queue.done(Key("library", "a"))
    assert await library.queue.get() == Key("library", "b"), "its first turn comes before the second of another"
    await library.in_hand()
    await library.workers._reconcile(Key("library", "a"))
    assert [write.subresource for write in library.server.writes[3:]] == ["status"]


async def test_half_of_the_workers_are_left_to_what_happens() -> None:
    library = Library()
    await library.in_hand()
    library.queue.done(Key("library", "a"))
    for name in "bcd":
        library.queue.add(Key("library", name), Priority.LOW)
    taken = [asyncio.create_task(library.queue.get()) for _ in range(3)]
    await asyncio.sleep(1)
    assert [task.done() for task in taken] == [True, True, False]
    taken[2].cancel()


@pytest.mark.parametrize("own", [True, False], ids=["the answer", "the watch"])
async def test_what_it_made_itself_can_wait_whoever_tells_of_it(own: bool) -> None:
    library = Library()
    await library.in_hand()
    library.hears(BY_US, 10, own=own)
    assert not await library.comes_back_before("b")


async def test_what_others_made_cannot() -> None:
    library = Library()
    await library.in_hand()
    library.hears(BY_THEM, 10)
    assert await library.comes_back_before("b")


async def test_what_others_changed_cannot() -> None:
    library = Library()
    library.hears(BY_US, 10, own=True)
    await library.in_hand()
    library.hears(BY_US, 11)
    assert await library.comes_back_before("b")


class Deaf(ApiServer):
    """A server whose watches tell nothing. Once `stuck`, they expire, and no list is answered any more."""

    def __init__(self) -> None:
        super().__init__()
        self.stuck = asyncio.Event()

    async def pages(self, *asked: Any, **more: Any) -> AsyncIterator[Page]:
        if self.stuck.is_set():
            await asyncio.Event().wait()
        async for page in super().pages(*asked, **more):
            yield page

    @asynccontextmanager
    async def watch(self, *_: Any, **__: Any) -> AsyncIterator[AsyncIterator[WatchEvent]]:
        yield self._silence()

    async def _silence(self) -> AsyncIterator[WatchEvent]:
        await self.stuck.wait()
        yield WatchEvent("ERROR", {"code": 410, "reason": "Expired", "message": "too old resource version"})


class Stubborn(ShelfController):
    """Its reconciles cannot be given up, until they are let go."""

    def __init__(self, caches: Caches) -> None:
        super().__init__(caches)
        self.let_go = asyncio.Event()

    async def observe(self, key: Key) -> Seen | None:
        while not self.let_go.is_set():
            with suppress(asyncio.CancelledError):
                await self.let_go.wait()
        return await super().observe(key)


@asynccontextmanager
async def leading(server: ApiServer, caches: Caches, controller: ShelfController) -> AsyncIterator[Engine]:
    recorder = Recorder(server, "perennial", "test")
    engine = Engine(server, caches, {"shelf": controller}, recorder, resync_seconds=300)
    await engine.fill()
    running = asyncio.create_task(engine.run())
    try:
        yield engine
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_silence_is_no_ailment() -> None:
    """Watches of what nothing happens to are begun anew; that of its own kinds is not its to begin."""
    caches = Caches()
    async with leading(Deaf(), caches, ShelfController(caches)) as engine:
        for _ in range(60):
            await asyncio.sleep(60)
            assert list(engine.ailments()) == []


async def test_a_watch_that_does_not_come_back_is_an_ailment() -> None:
    server, caches = Deaf(), Caches()
    async with leading(server, caches, ShelfController(caches)) as engine:
        await asyncio.sleep(60)
        server.stuck.set()
        await asyncio.sleep(180)
        assert list(engine.ailments()) == []
        await asyncio.sleep(120)
        dead = {f"the watch of {plural} is dead" for plural in ("configmaps", "controllerrevisions")}
        assert set(engine.ailments()) == dead


async def test_a_watch_that_misses_changes_again_and_again_is_an_ailment() -> None:
    server, caches = Deaf(), Caches()
    controller = ShelfController(caches)
    async with leading(server, caches, controller) as engine:
        told = []
        for turn in range(DEAD_AFTER_MISSES + 1):
            told.append(list(engine.ailments()))
            server.put("shelves", shelf(f"unheard-{turn}", one="x"))
            await asyncio.sleep(345)
        assert told == [[]] * DEAD_AFTER_MISSES + [["the watch of shelves tells nothing"]]
        await asyncio.sleep(345)
        assert list(engine.ailments()) == []


async def test_a_reconcile_that_cannot_be_given_up_is_an_ailment() -> None:
    server, caches = Deaf(), Caches()
    controller = Stubborn(caches)
    server.put("shelves", shelf("a", one="x"))
    async with leading(server, caches, controller) as engine:
        await asyncio.sleep(2 * LONGEST_RECONCILE - 10)
        early = list(engine.ailments())
        await asyncio.sleep(20)
        late = list(engine.ailments())
        controller.let_go.set()
        await asyncio.sleep(1)
        assert [early, late, list(engine.ailments())] == [[], ["the queue of shelf is stuck"], []]
