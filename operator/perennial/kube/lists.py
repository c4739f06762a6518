"""One list of each kind: kopf watches from where the engine's own list ends, and lists nothing itself.

A list of kopf's would be a second one of everything. It costs a task and 0.3 ms an object, and takes no notice of what
was deleted while a watch had expired; the engine's is held against the cache. What kopf lists by is a private function,
for which kopf is pinned to one version.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import kopf
from kopf._cogs.clients import fetching


class Lists(Protocol):
    """Who lists a kind, and takes what the list tells; the answer is the resourceVersion to watch from."""

    async def starting_point(self, group: str, plural: str, namespace: str | None) -> int: ...


@contextmanager
def lists_from(lists: Lists) -> Iterator[None]:
    """Until the end of the block, all lists of kopf in this process are these."""

    async def fetch_objs(
        *, resource: kopf.Resource, namespace: str | None, **_: Any
    ) -> AsyncIterator[tuple[Sequence[kopf.RawBody], str]]:
        yield (), str(await lists.starting_point(resource.group, resource.plural, namespace))

    theirs = fetching.fetch_objs
    vars(fetching)["fetch_objs"] = fetch_objs
    try:
        yield
    finally:
        vars(fetching)["fetch_objs"] = theirs
