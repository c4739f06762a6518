"""The informer, in virtual time, over everything that happens to lists and watches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from perennial.kube.cache import Cache
from perennial.kube.client import Client, Page, WatchEvent
from perennial.kube.errors import ApiError, NoAnswer, from_answer, from_status
from perennial.kube.informer import LONGEST_DELAY, SILENCE_SECONDS, Informer
from perennial.kube.plan import Manifest, Resource
from perennial.kube.resources import CONFIGMAPS

from .objects import configmap

pytestmark = pytest.mark.looptime

Item = WatchEvent | ApiError | float
"""An event, a failure, or seconds of silence."""


class Scripted(Client):
    """Lists and watches as told, the last of each for ever."""

    def __init__(self, lists: list[list[Manifest] | ApiError], watches: list[list[Item]], version: int = 100) -> None:
        self.lists, self.watches, self.version = lists, watches, version
        self.listed = 0
        self.watched_from: list[str] = []

    async def pages(self, resource: Resource, namespace: str | None = None, selector: str = "") -> AsyncIterator[Page]:
        answer = self.lists[min(self.listed, len(self.lists) - 1)]
        self.listed += 1
        if isinstance(answer, ApiError):
            raise answer
        yield Page(answer, str(self.version), "")

    @asynccontextmanager
    async def watch(
        self,
        resource: Resource,
        resource_version: str,
        namespace: str | None = None,
        selector: str = "",
        seconds: int = 300,
    ) -> AsyncIterator[AsyncIterator[WatchEvent]]:
        items = self.watches[min(len(self.watched_from), len(self.watches) - 1)]
        self.watched_from.append(resource_version)
        if items and isinstance(items[0], ApiError):
            raise items[0]
        yield _play(items)


async def _play(items: list[Item]) -> AsyncIterator[WatchEvent]:
    for item in items:
        if isinstance(item, float):
            await asyncio.sleep(item)
        elif isinstance(item, ApiError):
            raise item
        else:
            yield item


def event(kind: str, manifest: Manifest) -> WatchEvent:
    return WatchEvent(kind, manifest)


def bookmark(version: int) -> WatchEvent:
    return WatchEvent("BOOKMARK", {"metadata": {"resourceVersion": str(version)}})


def error(code: int, message: str = "words", **more: Any) -> ApiError:
    return from_status({"code": code, "reason": "Reason", "message": message, **more})


def error_event(code: int, message: str = "words") -> WatchEvent:
    return WatchEvent("ERROR", {"kind": "Status", "code": code, "reason": "Expired", "message": message})


FOREVER: list[Item] = [1e9]


async def follow(client: Scripted, seconds: float) -> Cache:
    """The cache after so long."""
    cache = Cache(CONFIGMAPS)
    task = asyncio.create_task(Informer(client, cache, jitter=lambda: 0.5).run())
    await asyncio.sleep(seconds)
    assert not task.done(), "an informer never ends"
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return cache


def names(cache: Cache) -> list[str]:
    return sorted(manifest["metadata"]["name"] for manifest in cache)


async def test_it_lists_and_then_watches_from_there() -> None:
    told: list[Item] = [event("ADDED", configmap("b", 101)), event("DELETED", configmap("a", 102)), 1e9]
    client = Scripted([[configmap("a", 5)]], [told])
    assert names(await follow(client, 1)) == ["b"]
    assert (client.listed, client.watched_from) == (1, ["100"])


async def test_an_ended_watch_goes_on_where_it_was() -> None:
    client = Scripted([[]], [[event("ADDED", configmap("a", 101)), bookmark(150)], FOREVER])
    assert names(await follow(client, 5)) == ["a"]
    assert (client.listed, client.watched_from) == (1, ["100", "150"])


@pytest.mark.parametrize("failure", [NoAnswer("the watch broke off"), error(500), error(503), error(429)])
async def test_a_broken_watch_goes_on_where_it_was(failure: ApiError) -> None:
    client = Scripted([[]], [[event("ADDED", configmap("a", 101)), failure], [failure], FOREVER])
    assert names(await follow(client, 10)) == ["a"]
    assert (client.listed, client.watched_from) == (1, ["100", "101", "101"])


@pytest.mark.parametrize(
    "expiry",
    [[error(410)], [error_event(410)], [event("ADDED", configmap("b", 101)), error_event(410)]],
    ids=["as an answer", "as an event", "after events"],
)
async def test_an_expired_watch_lists_anew_and_notices_what_was_missed(expiry: list[Item]) -> None:
    """While it was not watching, a was deleted and c was made."""
    client = Scripted(
        [[configmap("a", 5), configmap("x", 6)], [configmap("c", 200), configmap("x", 6)]], [expiry, FOREVER]
    )
    client.version = 300
    assert names(await follow(client, 10)) == ["c", "x"]
    assert client.listed == 2


@pytest.mark.parametrize(
    "failure",
    [error(504, "Too large resource version: 900, current: 100"), error_event(504, "Too large resource version")],
    ids=["as an answer", "as an event"],
)
async def test_a_server_that_knows_less_than_before_is_listed_anew(failure: Item) -> None:
    client = Scripted([[]], [[failure], FOREVER])
    await follow(client, 5)
    assert client.listed == 2


async def test_a_watch_that_never_works_leads_to_a_new_list() -> None:
    client = Scripted([[]], [[error(500)]])
    await follow(client, 300)
    assert client.listed >= 2


async def test_a_kind_that_is_not_there_is_said_to_be_so(caplog: pytest.LogCaptureFixture) -> None:
    missing = from_answer(404, b"404 page not found\n")
    assert names(await follow(Scripted([missing, [configmap("a", 1)]], [[1e9]]), 60)) == ["a"]
    said = "anew (list): 404 Unknown: 404 page not found; is its CustomResourceDefinition installed?"
    assert caplog.messages == [f"Watching configmaps {said}"]


async def test_a_silent_watch_is_dead() -> None:
    silent: list[Item] = [bookmark(101), 1e9]
    client = Scripted([[]], [silent, [event("ADDED", configmap("a", 102)), 1e9]])
    assert names(await follow(client, SILENCE_SECONDS + 5)) == ["a"]
    assert client.watched_from == ["100", "101"]


async def test_a_watch_with_bookmarks_is_alive() -> None:
    quiet: list[Item] = [part for n in range(100) for part in (60.0, bookmark(101 + n))]
    client = Scripted([[]], [quiet])
    await follow(client, 3000)
    assert client.watched_from == ["100"]


async def test_a_quiet_watch_that_ends_is_taken_up_at_once() -> None:
    """Watches end every few minutes by themselves: however often, no event may have to wait for the next one."""
    client = Scripted([[]], [[60.0]])
    await follow(client, 3000)
    assert len(client.watched_from) > 45


async def test_a_server_that_ends_watches_at_once_is_asked_with_a_breath() -> None:
    client = Scripted([[]], [[]])
    await follow(client, 600)
    assert len(client.watched_from) < 60


async def test_a_list_that_fails_is_tried_later_and_later() -> None:
    client = Scripted([error(500)], [FOREVER])
    await follow(client, 600)
    assert 600 / LONGEST_DELAY < client.listed < 40


async def test_it_says_when_it_is_complete() -> None:
    client = Scripted([error(404), error(503), [configmap("a")]], [FOREVER])
    informer = Informer(client, Cache(CONFIGMAPS))
    task = asyncio.create_task(informer.run())
    await asyncio.sleep(0.01)
    assert not informer.synced.is_set()
    await asyncio.wait_for(informer.synced.wait(), 60)
    task.cancel()


async def test_a_watch_of_somebody_elses_starts_at_the_list_that_was_made_and_then_at_new_ones() -> None:
    """While it was not watching, a was deleted."""
    client, cache = Scripted([[configmap("a", 5), configmap("b", 6)], [configmap("b", 6)]], []), Cache(CONFIGMAPS)
    informer = Informer(client, cache)
    await informer.fill()
    assert await informer.starting_point() == 100
    assert (client.listed, names(cache)) == (1, ["a", "b"])
    client.version = 200
    assert await informer.starting_point() == 200
    assert (client.listed, names(cache)) == (2, ["b"])
