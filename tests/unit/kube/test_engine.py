"""Which changes put a key before others: what happened does, what the operator made itself does not."""

from __future__ import annotations

import asyncio

import pytest

from perennial.kube.cache import Caches
from perennial.kube.engine import Engine
from perennial.kube.events import Recorder
from perennial.kube.ownership import owner_reference
from perennial.kube.plan import Key, Manifest
from perennial.kube.queue import Priority, Queue
from perennial.kube.resources import CONFIGMAPS
from tests.oracles.apiserver import ApiServer
from tests.oracles.toy import SHELVES, ShelfController, shelf

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
