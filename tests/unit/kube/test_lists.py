"""kopf's own watch, over lists that are not kopf's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import kopf
import pytest
from kopf._cogs.clients import fetching, watching

from perennial.kube.lists import lists_from

SHELVES = kopf.Resource("toys.perennial.dev", "v1", "shelves")
GONE = {"type": "ERROR", "object": {"code": 410}}
ADDED = {"type": "ADDED", "object": {"metadata": {"name": "a", "uid": "1", "resourceVersion": "8"}}}


class Counting:
    def __init__(self) -> None:
        self.asked: list[tuple[str, str, str | None]] = []

    async def starting_point(self, group: str, plural: str, namespace: str | None) -> int:
        self.asked.append((group, plural, namespace))
        return 100 * len(self.asked)


async def test_a_watch_begins_where_the_list_ends_and_after_it_expired_at_a_new_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    since, paused = [], asyncio.get_running_loop().create_future()

    async def watch_objs(**arguments: Any) -> AsyncIterator[Any]:
        since.append(arguments["since"])
        if len(since) == 3:
            paused.set_result(None)
        yield GONE if len(since) == 2 else ADDED

    monkeypatch.setattr(watching, "watch_objs", watch_objs)
    lists = Counting()
    told = []
    with lists_from(lists):
        while not paused.done():
            watch = watching.continuous_watch(
                settings=kopf.OperatorSettings(), resource=SHELVES, namespace=None, operator_pause_waiter=paused
            )
            told += [event async for event in watch if not isinstance(event, watching.Bookmark)]
    assert since == ["100", "8", "200"]
    assert told == [ADDED, ADDED], "kopf is told of no object by a list"
    assert lists.asked == [("toys.perennial.dev", "shelves", None)] * 2


def test_kopf_has_its_own_lists_back_afterwards() -> None:
    theirs = fetching.fetch_objs
    with lists_from(Counting()):
        assert fetching.fetch_objs is not theirs
    assert fetching.fetch_objs is theirs
