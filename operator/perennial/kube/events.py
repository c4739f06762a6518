"""Kubernetes Events: what happened to an object, told in `kubectl describe`. They are news and no record: losing one
loses nothing, so they are posted beside the work, and never keep it waiting."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from .client import MERGE_PATCH, Client
from .errors import ApiError, NotFound
from .plan import Event, Manifest
from .resources import EVENTS

SERIES_SECONDS = 360.0
"""The same again within this time is counted on the event that is there, as client-go does."""
_WAITING = 5000
_PACE_SECONDS = 0.02
"""Fifty events a second at most: in a burst the API server has better things to do."""
_HURRIED = 8
"""So many at a time when the process ends: what is not told within seconds is not told at all."""
_REMEMBERED = 4096
_LONGEST_NOTE = 1024

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Series:
    name: str
    count: int
    last: float


class Recorder:
    """Posts events in the background, as long as `run` runs. `component` and `instance` say who tells."""

    def __init__(self, client: Client, component: str, instance: str) -> None:
        self._client = client
        self._component = component
        self._instance = instance
        self._waiting: asyncio.Queue[tuple[Manifest, Event]] = asyncio.Queue(_WAITING)
        self._under_way = 0
        self._series: OrderedDict[tuple[str, str, str, str], _Series] = OrderedDict()

    def tell(self, about: Manifest, event: Event) -> None:
        """Post the event, and log it: Events are gone after an hour, logs are kept."""
        metadata = about["metadata"]
        where = (about["kind"], metadata["namespace"], metadata["name"])
        logger.info("%s %s/%s: %s: %s", *where, event.reason, event.message)
        try:
            self._waiting.put_nowait((about, event))
        except asyncio.QueueFull:
            logger.warning("Too many events: left out %s of %s", event.reason, metadata["name"])

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._post_next()
            await asyncio.sleep(_PACE_SECONDS)

    async def flush(self, seconds: float) -> int:
        """Post all that was told, in haste. How many were not posted within `seconds`."""
        hurried = [asyncio.create_task(self._hurry()) for _ in range(_HURRIED)]
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._waiting.join()
        left = self._waiting.qsize() + self._under_way
        for task in hurried:
            task.cancel()
        await asyncio.gather(*hurried, return_exceptions=True)
        return left

    async def _hurry(self) -> None:
        while True:
            await self._post_next()

    async def _post_next(self) -> None:
        about, event = await self._waiting.get()
        self._under_way += 1
        try:
            await self._post(about, event)
        except ApiError as error:
            logger.info("Event %s of %s was not posted: %s", event.reason, about["metadata"]["name"], error)
        finally:
            self._under_way -= 1
            self._waiting.task_done()

    async def _post(self, about: Manifest, event: Event) -> None:
        identity = (about["metadata"]["uid"], event.type, event.reason, event.message)
        series = self._series.get(identity)
        if series is not None and time.monotonic() - series.last < SERIES_SECONDS:
            try:
                await self._count(about, series)
            except NotFound:
                logger.debug("Event %s is gone: telling it anew", series.name)
            else:
                return
        name = f"{about['metadata']['name']}.{time.time_ns():x}"
        await self._client.create(EVENTS, self._manifest(about, event, name))
        self._series[identity] = _Series(name, 1, time.monotonic())
        self._series.move_to_end(identity)
        if len(self._series) > _REMEMBERED:
            self._series.popitem(last=False)

    async def _count(self, about: Manifest, series: _Series) -> None:
        series.count += 1
        series.last = time.monotonic()
        patch = {"series": {"count": series.count, "lastObservedTime": _now()}}
        await self._client.patch(EVENTS, about["metadata"]["namespace"], series.name, patch, MERGE_PATCH)

    def _manifest(self, about: Manifest, event: Event, name: str) -> Manifest:
        metadata = about["metadata"]
        return {
            "apiVersion": EVENTS.api_version,
            "kind": EVENTS.kind,
            "metadata": {"name": name, "namespace": metadata["namespace"]},
            "eventTime": _now(),
            "reportingController": self._component,
            "reportingInstance": self._instance,
            "action": "Reconcile",
            "reason": event.reason,
            "note": event.message[:_LONGEST_NOTE],
            "type": event.type,
            "regarding": {
                "apiVersion": about["apiVersion"],
                "kind": about["kind"],
                "name": metadata["name"],
                "namespace": metadata["namespace"],
                "uid": metadata["uid"],
                "resourceVersion": metadata["resourceVersion"],
            },
        }


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
