"""Keeps a cache equal to the API server: a list, then a watch from there on, for ever.

What can go wrong with a watch is told apart. It ends: it goes on from the last resourceVersion. It expired (410, as an
answer or as an event within an answer of 200) or the server knows less than it did: a new list, whose difference to the
cache includes the deletions that nobody told. It is silent although bookmarks should come by the minute: its connection
may be dead, or nothing has happened to the resource since the server started, so it is begun anew without a word.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable

from .cache import Cache, version_of
from .client import Client, WatchEvent
from .errors import ApiError, Expired, NoAnswer, NotFound, from_status
from .metrics import WATCH_RESTARTS
from .plan import Manifest
from .slim import slim

SILENCE_SECONDS = 90.0
"""The API server sends a bookmark a minute, unless it has had no event of the resource yet, and forgets nothing that is
younger than that."""
WATCH_SECONDS = 300
FIRST_DELAY = 0.1
LONGEST_DELAY = 30.0
LASTING_SECONDS = 5.0
FAILURES_BEFORE_LIST = 5

logger = logging.getLogger(__name__)


class _Silent(NoAnswer):
    """Neither an event nor a bookmark: the connection may be dead, or there is nothing to tell."""


class Informer:
    """One resource, in one namespace or (None) in all. `synced` is set once the cache has been complete."""

    def __init__(
        self,
        client: Client,
        cache: Cache,
        *,
        namespace: str | None = None,
        selector: str = "",
        silence: float = SILENCE_SECONDS,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._client = client
        self._cache = cache
        self.namespace = namespace
        self._selector = selector
        self._silence = silence
        self._jitter = jitter
        self._name = cache.resource.plural
        self.resource = cache.resource
        self._version = 0
        self._is_filled = False
        self.synced = asyncio.Event()
        self.alive_at = asyncio.get_running_loop().time()
        """When it last heard something or tried to, by the loop's clock."""

    def __str__(self) -> str:
        return self._name + (f" in {self.namespace}" if self.namespace else "")

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.fill()
            await self._follow()

    async def fill(self) -> None:
        """Make the cache complete, however long that takes."""
        failures = 0
        while True:
            try:
                await self._list()
            except ApiError as error:
                self._restarted("list", error)
                await self._pause(failures, error)
                failures += 1
            else:
                self._is_filled = True
                self.synced.set()
                return

    async def starting_point(self) -> int:
        """The resourceVersion for a watch that somebody else runs: once of the list that `fill` made, from then on of a
        new one, since who asks again cannot go on from where that watch was."""
        if not self._is_filled:
            await self.fill()
        self._is_filled = False
        return self._version

    async def _list(self) -> None:
        listed: list[Manifest] = []
        async for page in self._client.pages(self._cache.resource, self.namespace, self._selector):
            self._heard()
            listed.extend(slim(item) for item in page.items)
            self._version = int(page.resource_version)
        self._cache.replace(listed, self._version, self.namespace)

    async def _follow(self) -> None:
        """Watch from where the list left off, over interruptions, until only a new list helps."""
        failures = 0
        while True:
            before, began_at = self._version, asyncio.get_running_loop().time()
            try:
                await self._watch()
            except _Silent as error:
                self._restarted("silent", error)
            except Expired as error:
                return self._restarted("expired", error)
            except ApiError as error:
                self._restarted("broken", error)
                # A server that was restored from a backup, or a history that cannot be read, never gets better.
                if failures >= FAILURES_BEFORE_LIST or "resource version" in error.message.lower():
                    return None
            # A server that ends watches at once must not be asked without a breath.
            lasted = asyncio.get_running_loop().time() - began_at
            failures = 0 if self._version > before or lasted > LASTING_SECONDS else failures + 1
            await self._pause(failures, None)

    async def _watch(self) -> None:
        """One watch, until the server ends it. Raises ApiError, _Silent where nothing came for too long."""
        seconds = int(WATCH_SECONDS * (1 + self._jitter()))
        loop = asyncio.get_running_loop()
        self._heard()
        try:
            async with (
                asyncio.timeout(self._silence) as silence,
                self._client.watch(
                    self._cache.resource, str(self._version), self.namespace, self._selector, seconds
                ) as events,
            ):
                async for event in events:
                    self._heard()
                    silence.reschedule(loop.time() + self._silence)
                    self._take(event)
        except TimeoutError:
            raise _Silent(f"nothing came for {self._silence:g} s") from None

    def _take(self, event: WatchEvent) -> None:
        if event.type == "ERROR":
            raise from_status(event.object)
        if event.type == "DELETED":
            self._cache.discard(event.object)
        elif event.type != "BOOKMARK":
            self._cache.store(slim(event.object))
        self._version = version_of(event.object)

    async def _pause(self, failures: int, error: ApiError | None) -> None:
        asked = (error.retry_after if error else None) or 0.0
        delay = min(FIRST_DELAY * float(2**failures), LONGEST_DELAY)
        self._heard()
        await asyncio.sleep(max(asked, delay) * (0.5 + self._jitter()))

    def _heard(self) -> None:
        self.alive_at = asyncio.get_running_loop().time()

    def _restarted(self, why: str, error: ApiError) -> None:
        WATCH_RESTARTS.labels(self._name, why).inc()
        level = logging.DEBUG if why in ("expired", "silent") else logging.WARNING
        hint = "; is its CustomResourceDefinition installed?" if isinstance(error, NotFound) else ""
        logger.log(level, "Watching %s anew (%s): %s%s", self, why, error, hint)
