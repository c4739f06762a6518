"""All parts of the engine together: watches fill caches, changes enqueue keys, workers reconcile while it leads.

The controllers' own kinds are watched by whoever calls `feed`; everything else they asked a cache for is watched here,
limited to the objects that carry the operator's label.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from .cache import Caches, Change
from .children import Children
from .client import Client
from .controller import Controller
from .errors import ApiError
from .events import Recorder
from .informer import SILENCE_SECONDS, Informer
from .lease import Lease
from .ownership import key_of
from .plan import Key, Manifest, Resource
from .queue import Priority, Queue
from .reconciler import Reconciler
from .resync import Resync
from .slim import slim, was_created_by_us
from .workers import LONGEST_RECONCILE, Workers

MANAGED = "app.kubernetes.io/managed-by=perennial"
DEAD_AFTER_MISSES = 3
FLUSH_SECONDS = 2.0

logger = logging.getLogger(__name__)


class LeadershipLost(Exception):
    """Another process leads, or may by now: this one must end."""


class Engine:
    """Runs controllers. `controllers` are by the name that their metrics carry."""

    def __init__(
        self,
        client: Client,
        caches: Caches,
        controllers: Mapping[str, Controller[Any]],
        recorder: Recorder,
        *,
        lease: Lease | None = None,
        namespaces: Sequence[str] = (),
        workers: int = 16,
        resync_seconds: float = 300.0,
    ) -> None:
        self._client = client
        self._caches = caches
        self._recorder = recorder
        self._lease = lease
        self._resync_seconds = resync_seconds
        self._filled = False
        self.is_leading = False
        self._fed = frozenset(controller.primary for controller in controllers.values())
        self._duties = [duty for controller in controllers.values() for duty in controller.duties]
        children = Children(client, caches)
        self._workers = []
        for name, controller in controllers.items():
            queue: Queue[Key] = Queue(name, most_low=max(1, workers // 2))
            self._route(controller, queue)
            reconciler = Reconciler(controller, client, caches, children, recorder.tell, queue.may_wait)
            self._workers.append(Workers(name, queue, reconciler, workers))
        scopes: Sequence[str | None] = namespaces or (None,)
        self._informers = [
            Informer(client, cache, namespace=namespace, selector=_selector(resource, self._fed))
            for resource, cache in caches.items()
            for namespace in (scopes if resource.namespaced else (None,))
        ]
        self._resyncs = [
            Resync(
                client,
                cache,
                namespaces=scopes if resource.namespaced else (None,),
                selector=_selector(resource, self._fed),
            )
            for resource, cache in caches.items()
        ]

    @property
    def is_ready(self) -> bool:
        """Whether all caches are complete. One that stands by is ready too."""
        return self._filled

    def ailments(self) -> Iterator[str]:
        """What only a restart helps."""
        now = asyncio.get_running_loop().time()
        for informer in self._informers:
            if informer.resource not in self._fed and now - informer.alive_at > 3 * SILENCE_SECONDS:
                yield f"the watch of {informer} is dead"
        for resync in self._resyncs:
            if resync.misses_in_a_row >= DEAD_AFTER_MISSES:
                yield f"the watch of {resync.name} tells nothing"
        for workers in self._workers:
            if workers.queue.state().longest > 2 * LONGEST_RECONCILE:
                yield f"the queue of {workers.name} is stuck"

    def feed(self, resource: Resource, kind_of_event: str | None, manifest: Manifest) -> None:
        """Take an event of a watch that somebody else runs, on one of the controllers' own kinds."""
        cache = self._caches[resource]
        if kind_of_event == "DELETED":
            cache.discard(manifest)
        else:
            cache.store(slim(manifest))

    async def fill(self) -> None:
        """Wait until the controllers' own kinds are listed; their types may have been installed a moment ago."""
        await asyncio.gather(*(i.fill() for i in self._informers if i.resource in self._fed))

    async def starting_point(self, group: str, plural: str, namespace: str | None) -> int:
        """From where to watch one of the controllers' own kinds. What a list must tell, deletions too, is told then."""
        of_kind = (i for i in self._informers if (i.resource.group, i.resource.plural) == (group, plural))
        return await next(i for i in of_kind if i.namespace == namespace).starting_point()

    async def run(self) -> None:
        """Until cancelled. Raises a group with LeadershipLost, or with whatever a part of it failed by."""
        try:
            async with asyncio.TaskGroup() as group:
                for informer in self._informers:
                    if informer.resource not in self._fed:
                        group.create_task(informer.run())
                group.create_task(self._recorder.run())
                for informer in self._informers:
                    await informer.synced.wait()
                self._filled = True
                logger.info("Caches are complete: %d objects", sum(len(cache) for cache in self._caches.values()))
                group.create_task(self._resync())
                await self._lead(group)
        finally:
            self.is_leading = False
            await asyncio.gather(*(workers.stop(grace=0.0) for workers in self._workers))

    async def stop(self, running: asyncio.Task[None]) -> None:
        """Finish the work in hand, tell what there is to tell, give leadership up. `running` is the task of `run`."""
        await asyncio.gather(*(workers.stop() for workers in self._workers))
        if left := await self._recorder.flush(FLUSH_SECONDS):
            logger.warning("%d events were not posted before the end", left)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        if self._lease is not None:
            await self._lease.release()

    async def _lead(self, group: asyncio.TaskGroup) -> None:
        if self._lease is not None:
            await self._lease.acquire()
        self.is_leading = True
        for workers in self._workers:
            workers.start()
        for duty in self._duties:
            group.create_task(duty())
        if self._lease is not None:
            await self._lease.hold()
            raise LeadershipLost("leadership is lost: ending, so that only one acts")

    async def _resync(self) -> None:
        while True:
            await asyncio.sleep(self._resync_seconds)
            for resync in self._resyncs:
                try:
                    await resync.run_once()
                except ApiError as error:
                    logger.warning("%s could not be held against a list: %s", resync.name, error)

    def _route(self, controller: Controller[Any], queue: Queue[Key]) -> None:
        """From now on, a change enqueues whom it concerns."""
        self._listen(controller.primary, lambda manifest: (key_of(manifest),), queue)
        for watch in controller.watches:
            self._listen(watch.resource, watch.keys, queue)

    def _listen(self, resource: Resource, keys: Callable[[Manifest], Iterable[Key]], queue: Queue[Key]) -> None:
        def enqueue(change: Change) -> None:
            concerned = set(keys(change.new)) if change.new is not None else set()
            if change.old is not None:
                # One that a child was taken from has to know, too.
                concerned.update(keys(change.old))
            for key in concerned:
                # What is there when the caches are filled can wait for what happens from then on; so can the echo of
                # a reconcile's own writes: in a burst, everybody's first turn comes before anybody's second.
                can_wait = not self._filled or (_is_own(change) and queue.is_held(key))
                queue.add(key, Priority.LOW if can_wait else Priority.HIGH)

        self._caches.of(resource).listen(enqueue)


def _is_own(change: Change) -> bool:
    """Whether this operator made the change. Of what it creates the watch tells before the answer as often as not."""
    made = change.new["metadata"] if change.old is None and change.new is not None else {}
    return change.own or was_created_by_us(made.get("managedFields"))


def _selector(resource: Resource, fed: frozenset[Resource]) -> str:
    """Children are known by their label. What people make, and what a cluster has, has none of ours."""
    return MANAGED if resource.namespaced and resource not in fed else ""
