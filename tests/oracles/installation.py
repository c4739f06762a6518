"""An operator on the model of an API server: the real reconciler, children and caches, without tasks or time.

What a watch would tell is told when a test says so, so that a view can be as late as one likes; a restart forgets all
that a process forgets.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from perennial.kube.cache import Caches, Change
from perennial.kube.children import Children, StillThere
from perennial.kube.controller import Controller
from perennial.kube.errors import ApiError
from perennial.kube.ownership import key_of
from perennial.kube.plan import Event, Key, Manifest, Resource
from perennial.kube.reconciler import Reconciler
from perennial.kube.slim import slim

from .apiserver import ApiServer

Build = Callable[[Caches], Mapping[str, Controller[Any]]]
START = datetime(2026, 1, 1, tzinfo=UTC)
ROUNDS = 1000
VOLATILE = ("uid", "resourceVersion", "generation", "managedFields", "creationTimestamp")


class Told:
    """Takes the place of the recorder."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def tell(self, about: Manifest, event: Event) -> None:
        self.events.append(f"{about['metadata']['name']} {event.reason}")


class Installation:
    """Controllers over one server. Time passes only by `pass_time`."""

    def __init__(self, server: ApiServer, build: Build) -> None:
        self.server = server
        self.build = build
        self.now = START
        self.told = Told()
        self.restart()

    def restart(self) -> None:
        """A new process: it knows what it lists, and nothing of what was."""
        self.caches = Caches()
        controllers = self.build(self.caches)
        self.queue: OrderedDict[tuple[str, Key], None] = OrderedDict()
        self.heard = len(self.server.log)
        children = Children(self.server, self.caches)
        self.reconcilers = {}
        for name, controller in controllers.items():
            self._listen(name, controller.primary, lambda manifest: (key_of(manifest),))
            for watch in controller.watches:
                self._listen(name, watch.resource, watch.keys)
            self.reconcilers[name] = Reconciler(
                controller,
                self.server,
                self.caches,
                children,
                self.told,  # type: ignore[arg-type] # it tells, which is all that is asked of it
                clock=lambda: self.now,
            )
        for resource, cache in self.caches.items():
            for manifest in self.server.of(resource.plural):
                cache.store(slim(copy.deepcopy(manifest)))

    def hear(self, most: int | None = None) -> int:
        """Take in what a watch would have told, or the first `most` of it. How much it was."""
        plurals = {resource.plural: cache for resource, cache in self.caches.items()}
        news = self.server.log[self.heard :][:most]
        self.heard += len(news)
        for event in news:
            cache = plurals.get(event.plural)
            if cache is None:
                continue
            if event.type == "DELETED":
                cache.discard(copy.deepcopy(event.manifest))
            else:
                cache.store(slim(copy.deepcopy(event.manifest)))
        return len(news)

    async def step(self) -> bool:
        """Reconcile the key that has waited longest. Whether there was one."""
        if not self.queue:
            return False
        (name, key), _ = self.queue.popitem(last=False)
        try:
            await self.reconcilers[name].reconcile(key)
        except (ApiError, StillThere):
            self.queue[name, key] = None
        return True

    async def settle(self) -> None:
        """Hear and reconcile until nothing is left to do."""
        for _ in range(ROUNDS):
            self.hear()
            if not await self.step() and self.heard == len(self.server.log):
                return
        raise AssertionError("it never comes to rest")

    def enqueue_all(self) -> None:
        """What a resync of everything would do."""
        for name, reconciler in self.reconcilers.items():
            for manifest in reconciler._cache:
                self.queue[name, key_of(manifest)] = None

    def pass_time(self, **span: float) -> None:
        self.now += timedelta(**span)

    def state(self) -> dict[str, Manifest]:
        """All objects without what differs between two runs of the same: uids, versions and times of writing."""
        uids = {m["metadata"]["uid"]: f"uid of {m['metadata']['name']}" for m in self.server.objects.values()}
        return {
            "/".join(place): _masked(_stripped(manifest), uids)
            for place, manifest in sorted(self.server.objects.items())
        }

    def _listen(self, name: str, resource: Resource, keys: Callable[[Manifest], Any]) -> None:
        def enqueue(change: Change) -> None:
            for manifest in (change.new, change.old):
                if manifest is not None:
                    for key in keys(manifest):
                        self.queue[name, key] = None

        self.caches.of(resource).listen(enqueue)


def _stripped(manifest: Manifest) -> Manifest:
    metadata = {k: v for k, v in manifest["metadata"].items() if k not in VOLATILE}
    # The digest of what was asked for has the owner's uid in it.
    metadata["annotations"] = {k: v for k, v in metadata.get("annotations", {}).items() if k != "perennial.dev/applied"}
    return manifest | {"metadata": metadata}


def _masked(value: Any, uids: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {k: _masked(v, uids) for k, v in value.items()}
    if isinstance(value, list):
        return [_masked(v, uids) for v in value]
    return uids.get(value, value) if isinstance(value, str) else value
