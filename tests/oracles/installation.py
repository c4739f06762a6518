"""An operator on the model of an API server: the real reconciler, children and caches, without tasks or waiting.

What a watch would tell is told when a test says so, of each resource by itself, so that a view can be as late and as
contradictory as one likes; a restart forgets all that a process forgets. Time stands still but where a story lets it
pass, and then a key that asked for it is reconciled again.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from perennial.kube.cache import Cache, Caches, Change
from perennial.kube.children import Children, StillThere
from perennial.kube.controller import Controller
from perennial.kube.errors import ApiError
from perennial.kube.ownership import key_of
from perennial.kube.plan import Event as Posted
from perennial.kube.plan import Key, Manifest, Resource
from perennial.kube.reconciler import Reconciler
from perennial.kube.slim import slim

from .apiserver import ApiServer
from .apiserver import Told as Event

Controllers = Mapping[str, Controller[Any]]
ROUNDS = 2000
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)")
VOLATILE = ("uid", "resourceVersion", "generation", "managedFields", "creationTimestamp")


class Told:
    """Takes the place of the recorder."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def tell(self, about: Manifest, event: Posted) -> None:
        self.events.append(f"{about['metadata']['name']} {event.reason}")


class Installation:
    """Controllers over one server. Time passes only by `pass_time` and `live`."""

    def __init__(self, server: ApiServer, build: Build) -> None:
        self.server = server
        self.build = build
        self.told = Told()
        self.restart()

    def restart(self) -> None:
        """A new process: it knows what it lists, and nothing of what was."""
        self.caches = Caches()
        controllers = self.build(self)
        self.queue: OrderedDict[tuple[str, Key], None] = OrderedDict()
        self.due: dict[tuple[str, Key], datetime] = {}
        self.listed = len(self.server.log)
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
                self.told.tell,
                partial(self.may_wait, name),
                clock=lambda: self.now,
            )
        self.heard = dict.fromkeys((resource.plural for resource in self.caches), self.listed)
        for resource, cache in self.caches.items():
            for manifest in self.server.of(resource.plural):
                cache.store(slim(manifest))

    @property
    def now(self) -> datetime:
        return self.server.now

    def hear(self, plural: str | None = None, most: int | None = None) -> bool:
        """Take in what the watches have told, or the first `most` of what that of `plural` has. Whether that was
        anything."""
        news = False
        for resource, cache in self.caches.items():
            if plural not in (None, resource.plural):
                continue
            since = self.heard[resource.plural]
            if since == len(self.server.log):
                continue
            told = [n for n, e in enumerate(self.server.log[since:], since) if e.plural == resource.plural][:most]
            for number in told:
                _take(cache, self.server.log[number])
            self.heard[resource.plural] = told[-1] + 1 if told and most else len(self.server.log)
            news = news or bool(told)
        return news

    def hear_again(self, number: int) -> None:
        """Take in once more what was told before, as after a watch that broke off."""
        for resource, cache in self.caches.items():
            told = [
                e for e in self.server.log[self.listed : self.heard[resource.plural]] if e.plural == resource.plural
            ]
            if told:
                _take(cache, told[number % len(told)])

    async def step(self) -> bool:
        """Reconcile the key that has waited longest. Whether there was one."""
        if not self.queue:
            return False
        (name, key), _ = self.queue.popitem(last=False)
        self.due.pop((name, key), None)
        try:
            again = await self.reconcilers[name].reconcile(key)
        except (ApiError, StillThere):
            self.queue[name, key] = None
        else:
            if again is not None:
                self.due[name, key] = self.now + timedelta(seconds=again)
        return True

    async def settle(self) -> None:
        """Hear, reconcile and let the cluster act until nothing is left to do at this time."""
        await self.live_until(self.now)

    async def live(self, **span: float) -> None:
        """Let this time pass, with all that happens meanwhile."""
        await self.live_until(self.now + timedelta(**span))

    async def live_until(self, end: datetime) -> None:
        while True:
            await self.come_to_rest()
            if self.now >= end:
                return
            self.pass_time(until=min([end, *self.due.values()]))

    async def come_to_rest(self) -> None:
        for _ in range(ROUNDS):
            self.hear()
            if not await self.step() and not self.server.act() and not self.hear():
                return
        raise AssertionError(f"it never comes to rest: {self.server.writes[-10:]}")

    def may_wait(self, name: str, key: Key) -> bool:
        """Whether a status is left to the next reconcile; only where there will be one."""
        return False

    def enqueue_all(self) -> None:
        """What a resync of everything would do."""
        for name, reconciler in self.reconcilers.items():
            for manifest in reconciler._cache:
                self.queue[name, key_of(manifest)] = None

    def pass_time(self, until: datetime) -> None:
        self.server.now = max(until, self.now)
        for waiting in [waiting for waiting, due in self.due.items() if due <= self.now]:
            self.queue[waiting] = None

    def state(self) -> dict[str, Manifest]:
        """All objects without what differs between two runs of the same: uids, versions and times."""
        aliases = self.server.aliases()
        names = re.compile("|".join(sorted(map(re.escape, aliases), key=len, reverse=True)) or "(?!)")
        return {
            "/".join(place): _masked(_stripped(seen), lambda text: names.sub(lambda found: aliases[found[0]], text))
            for place, manifest in sorted(self.server.objects.items())
            if (seen := self.server.seen(place[0], manifest))
        }

    def _listen(self, name: str, resource: Resource, keys: Callable[[Manifest], Any]) -> None:
        def enqueue(change: Change) -> None:
            for manifest in (change.new, change.old):
                if manifest is not None:
                    for key in keys(manifest):
                        self.queue[name, key] = None

        self.caches.of(resource).listen(enqueue)


Build = Callable[[Installation], Controllers]
"""Makes the controllers over an installation's caches."""


def _take(cache: Cache, event: Event) -> None:
    if event.type == "DELETED":
        cache.discard(event.manifest)
    else:
        cache.store(slim(event.manifest))


def _stripped(manifest: Manifest) -> Manifest:
    metadata = {k: v for k, v in manifest["metadata"].items() if k not in VOLATILE}
    # The digest of what was asked for has the owner's uid in it.
    metadata["annotations"] = {k: v for k, v in metadata.get("annotations", {}).items() if k != "perennial.dev/applied"}
    return manifest | {"metadata": metadata}


def _masked(value: Any, named: Callable[[str], str]) -> Any:
    if isinstance(value, dict):
        return {named(k): _masked(v, named) for k, v in value.items()}
    if isinstance(value, list):
        return [_masked(v, named) for v in value]
    return _TIME.sub("a time", named(value)) if isinstance(value, str) else value
