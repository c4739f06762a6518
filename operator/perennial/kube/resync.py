"""Every few minutes a full list is held against the caches: what no watch told is taken in, and said.

Nothing should ever be found. What is found again and again means that a watch is dead although its connection is not,
which health then tells. Only metadata is listed; what differs is read one by one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from .cache import Cache, version_of
from .client import Client
from .errors import NotFound
from .metrics import MISSED_CHANGES
from .ownership import key_of
from .plan import Key
from .slim import slim

GRACE_SECONDS = 10.0
"""How far a watch may be behind a list: only what is missing after this time was missed."""

logger = logging.getLogger(__name__)


class Resync:
    """One cache, held against what the API server lists."""

    def __init__(
        self,
        client: Client,
        cache: Cache,
        *,
        namespaces: Sequence[str | None] = (None,),
        selector: str = "",
        grace: float = GRACE_SECONDS,
    ) -> None:
        self._client = client
        self._cache = cache
        self._namespaces = namespaces
        self._selector = selector
        self._grace = grace
        self.misses_in_a_row = 0
        """How many times in a row the watch had missed something."""

    @property
    def name(self) -> str:
        return self._cache.resource.plural

    async def run_once(self) -> int:
        """The number of changes that had been missed and are in the cache now. Raises ApiError."""
        missed = 0
        for namespace in self._namespaces:
            listed, version = await self._client.versions(self._cache.resource, namespace, self._selector)
            await asyncio.sleep(self._grace)
            for key in self._outdated(listed):
                missed += await self._catch_up(key)
            for key in self._vanished(listed, version, namespace):
                missed += await self._drop(key)
        self.misses_in_a_row = self.misses_in_a_row + 1 if missed else 0
        if missed:
            MISSED_CHANGES.labels(self.name).inc(missed)
            logger.warning("%d changes of %s had been missed by the watch", missed, self.name)
        return missed

    def _outdated(self, listed: dict[Key, int]) -> list[Key]:
        return [key for key, version in listed.items() if self._version(key) < version]

    def _vanished(self, listed: dict[Key, int], version: int, namespace: str | None) -> list[Key]:
        known = self._cache if namespace is None else self._cache.in_namespace(namespace)
        return [key for m in known if version_of(m) <= version and (key := key_of(m)) not in listed]

    async def _catch_up(self, key: Key) -> bool:
        try:
            return self._cache.store(slim(await self._client.get(self._cache.resource, key.namespace, key.name)))
        except NotFound:
            return False

    async def _drop(self, key: Key) -> bool:
        """What is not listed is gone, or is there without the label that makes it ours."""
        known = self._cache.get(key.namespace, key.name)
        if known is None:
            return False
        try:
            current = await self._client.get(self._cache.resource, key.namespace, key.name)
        except NotFound:
            return self._cache.discard_uid(key.namespace, key.name, known["metadata"]["uid"])
        if self._selector and current["metadata"]["uid"] == known["metadata"]["uid"]:
            return self._cache.discard(current)
        return self._cache.store(slim(current))

    def _version(self, key: Key) -> int:
        known = self._cache.get(key.namespace, key.name)
        return version_of(known) if known else -1
