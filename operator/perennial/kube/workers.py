"""The workers of one controller: they take keys from its queue and reconcile them, whatever goes wrong with any."""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from . import metrics
from .children import StillThere
from .errors import ApiError, Conflict
from .plan import Key
from .queue import Queue

LONGEST_RECONCILE = 300.0
"""A reconcile that takes longer is given up and tried again: every prefix of its writes can be resumed."""
GRACE_SECONDS = 20.0

logger = logging.getLogger(__name__)


class Reconciles(Protocol):
    async def reconcile(self, key: Key) -> float | None: ...


class Workers:
    """`count` workers for one queue."""

    def __init__(self, name: str, queue: Queue[Key], reconciler: Reconciles, count: int) -> None:
        self.name = name
        self.queue = queue
        self._reconciler = reconciler
        self._count = count
        self._tasks: list[asyncio.Task[None]] = []
        metrics.MAX_RECONCILES.labels(name).set(count)

    def start(self) -> None:
        self._tasks = [
            asyncio.create_task(self._work(), name=f"{self.name} worker {number}") for number in range(self._count)
        ]

    async def stop(self, grace: float = GRACE_SECONDS) -> None:
        """Finish the work in hand and take no more; what is not finished within `grace` seconds is cut off."""
        self.queue.close()
        if not self._tasks:
            return
        _, late = await asyncio.wait(self._tasks, timeout=grace)
        for task in late:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _work(self) -> None:
        active = metrics.ACTIVE_WORKERS.labels(self.name)
        while (key := await self.queue.get()) is not None:
            active.inc()
            try:
                with metrics.RECONCILE_SECONDS.labels(self.name).time():
                    await self._reconcile(key)
            finally:
                active.dec()
                self.queue.done(key)

    async def _reconcile(self, key: Key) -> None:
        try:
            async with asyncio.timeout(LONGEST_RECONCILE):
                after = await self._reconciler.reconcile(key)
        except (Conflict, StillThere) as error:
            # Somebody was faster, or slower: nothing is wrong, and the next try plans on what is there then.
            self._again(key, error, "requeue")
        except ApiError as error:
            logger.warning("%s %s: %s", self.name, key, error)
            self._again(key, error, "error")
        except TimeoutError as error:
            logger.error("%s %s: no end after %g s", self.name, key, LONGEST_RECONCILE)
            self._again(key, error, "error")
        except Exception as error:
            logger.exception("%s %s: a reconcile failed", self.name, key)
            self._again(key, error, "error")
        else:
            self.queue.forget(key)
            if after is not None:
                self.queue.add_after(key, after)
            metrics.RECONCILES.labels(self.name, "success" if after is None else "requeue_after").inc()

    def _again(self, key: Key, error: Exception, result: str) -> None:
        asked = error.retry_after if isinstance(error, ApiError) else None
        delay = self.queue.retry(key, at_least=asked or 0.0)
        metrics.RECONCILES.labels(self.name, result).inc()
        if result == "error":
            metrics.RECONCILE_ERRORS.labels(self.name).inc()
        logger.debug("%s %s: again in %.2f s: %s", self.name, key, delay, error)
