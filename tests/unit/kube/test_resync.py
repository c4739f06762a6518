"""A full list finds what no watch told, and nothing else."""

from __future__ import annotations

import asyncio
import copy

import pytest

from perennial.kube.cache import Cache
from perennial.kube.resources import CONFIGMAPS
from perennial.kube.resync import GRACE_SECONDS, Resync
from tests.oracles.apiserver import ApiServer

from .objects import configmap

pytestmark = pytest.mark.looptime


def both(*names: str) -> tuple[ApiServer, Cache]:
    """A server and a cache that knows all of it."""
    server, cache = ApiServer(), Cache(CONFIGMAPS)
    for name in names:
        cache.store(copy.deepcopy(server.put("configmaps", configmap(name))))
    return server, cache


def listed(cache: Cache) -> dict[str, object]:
    return {manifest["metadata"]["name"]: manifest["data"] for manifest in cache}


async def test_nothing_missed_nothing_found() -> None:
    server, cache = both("a", "b")
    assert await Resync(server, cache).run_once() == 0


async def test_it_finds_what_was_made_changed_and_deleted_unheard() -> None:
    server, cache = both("changed", "deleted", "kept")
    server.put("configmaps", configmap("changed", text="new"))
    server.put("configmaps", configmap("made", text="new"))
    server.remove("configmaps", "ns", "deleted")
    resync = Resync(server, cache)
    assert await resync.run_once() == 3
    assert listed(cache) == {"changed": {"text": "new"}, "made": {"text": "new"}, "kept": {}}
    assert resync.misses_in_a_row == 1
    assert await resync.run_once() == 0
    assert resync.misses_in_a_row == 0


async def test_a_watch_that_is_a_little_behind_has_missed_nothing() -> None:
    server, cache = both("a")
    new = server.put("configmaps", configmap("a", text="new"))

    async def watch() -> None:
        await asyncio.sleep(GRACE_SECONDS / 2)
        cache.store(copy.deepcopy(new))

    watching = asyncio.create_task(watch())
    assert await Resync(server, cache).run_once() == 0
    await watching


async def test_what_happens_after_the_list_is_none_of_its_business() -> None:
    server, cache = both("a", "goes")

    async def change() -> None:
        await asyncio.sleep(GRACE_SECONDS / 2)
        cache.store(copy.deepcopy(server.put("configmaps", configmap("young"))))
        gone = copy.deepcopy(server.objects["configmaps", "ns", "goes"])
        server.remove("configmaps", "ns", "goes")
        cache.discard_uid("ns", "goes", gone["metadata"]["uid"])

    changing = asyncio.create_task(change())
    assert await Resync(server, cache).run_once() == 0
    await changing
    assert sorted(listed(cache)) == ["a", "young"]
