"""What the API server is known to have, by resource: the only place that controllers observe from.

A cache is fed by a watch, by lists and by the answers to the operator's own writes ("read your own writes"), in any
order. So it takes an object only when it is newer than what it has, and a deletion leaves a tombstone: neither an event
that was overtaken by a write nor a late answer to a write brings an old state back.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from .ownership import owner_uids
from .plan import Manifest, Resource

IndexFunction = Callable[[Manifest], Iterable[str]]
_Place = tuple[str, str]

TOMBSTONE_SECONDS = 600.0
"""How long a deletion is remembered: longer than any answer can be under way."""


@dataclass(frozen=True, slots=True)
class Change:
    """What became different: `old` is None for a new object, `new` for one that is gone. `own` tells that this
    operator wrote it."""

    resource: Resource
    old: Manifest | None
    new: Manifest | None
    own: bool = False


Listener = Callable[[Change], None]


class Cache:
    """The objects of one resource. What it answers is shared: never to be mutated."""

    def __init__(
        self,
        resource: Resource,
        indexes: Mapping[str, IndexFunction] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.resource = resource
        self._functions: dict[str, IndexFunction] = {
            "owner": owner_uids,
            "namespace": lambda manifest: (manifest["metadata"].get("namespace") or "",),
            **(indexes or {}),
        }
        self._indexes: dict[str, dict[str, set[_Place]]] = {name: defaultdict(set) for name in self._functions}
        self._objects: dict[_Place, Manifest] = {}
        self._tombstones: dict[str, tuple[float, float]] = {}
        self._listeners: list[Listener] = []
        self._clock = clock

    def __len__(self) -> int:
        return len(self._objects)

    def __iter__(self) -> Iterator[Manifest]:
        return iter(tuple(self._objects.values()))

    def get(self, namespace: str, name: str) -> Manifest | None:
        return self._objects.get((namespace, name))

    def owned_by(self, uid: str) -> list[Manifest]:
        """The objects with an owner reference to this uid."""
        return self.by("owner", uid)

    def in_namespace(self, namespace: str) -> list[Manifest]:
        return self.by("namespace", namespace)

    def by(self, index: str, value: str) -> list[Manifest]:
        """The objects for which the index function of that name yields `value`, in order of namespace and name."""
        places = self._indexes[index].get(value, ())
        return [self._objects[place] for place in sorted(places)]

    def count(self, index: str, value: str) -> int:
        """How many objects `by` would give."""
        return len(self._indexes[index].get(value, ()))

    def add_index(self, name: str, function: IndexFunction) -> None:
        """Another named index, over what is there already too. The same name twice must mean the same function."""
        if self._functions.get(name, function) is not function:
            raise ValueError(f"{self.resource.plural} has an index {name} already")
        self._functions[name] = function
        self._indexes[name] = defaultdict(set)
        for place, manifest in self._objects.items():
            for value in function(manifest):
                self._indexes[name][value].add(place)

    def listen(self, listener: Listener) -> None:
        """Call `listener` after each change, within the call that made it."""
        self._listeners.append(listener)

    def store(self, manifest: Manifest, *, own: bool = False) -> bool:
        """Take an object that was read or (`own`) written. False where it is no news: not newer, or deleted since."""
        place = _place(manifest)
        old = self._objects.get(place)
        version = version_of(manifest)
        if old is not None and version <= version_of(old):
            return False
        _, buried = self._tombstones.get(manifest["metadata"].get("uid", ""), (0.0, -1))
        if version <= buried:
            return False
        if old is not None:
            self._unindex(place, old)
        self._objects[place] = manifest
        self._index(place, manifest)
        self._notify(Change(self.resource, old, manifest, own))
        return True

    def discard(self, manifest: Manifest) -> bool:
        """Take a deletion that a watch told: the object as it last was, with the resourceVersion of its deletion."""
        return self._bury(_place(manifest), manifest["metadata"].get("uid", ""), version_of(manifest))

    def discard_uid(self, namespace: str, name: str, uid: str) -> bool:
        """Take a deletion that the API server confirmed: this uid never comes back."""
        return self._bury((namespace, name), uid, math.inf)

    def replace(self, listed: Iterable[Manifest], resource_version: int, namespace: str | None = None) -> None:
        """Take a full list, of one namespace or (None) of all, as of `resource_version`.

        What the list lacks is gone, unless it is newer than the list.
        """
        places = set()
        for manifest in listed:
            places.add(_place(manifest))
            self.store(manifest)
        for place in self._objects.keys() - places:
            manifest = self._objects[place]
            if (namespace is None or place[0] == namespace) and version_of(manifest) <= resource_version:
                self._bury(place, manifest["metadata"].get("uid", ""), resource_version)

    def _bury(self, place: _Place, uid: str, version: float) -> bool:
        self._tombstones[uid] = (self._clock(), version)
        self._forget_old_tombstones()
        old = self._objects.get(place)
        if old is None or old["metadata"].get("uid", "") != uid or version_of(old) > version:
            return False
        self._unindex(place, old)
        del self._objects[place]
        self._notify(Change(self.resource, old, None))
        return True

    def _forget_old_tombstones(self) -> None:
        horizon = self._clock() - TOMBSTONE_SECONDS
        while self._tombstones:
            uid = next(iter(self._tombstones))
            if self._tombstones[uid][0] > horizon:
                return
            del self._tombstones[uid]

    def _index(self, place: _Place, manifest: Manifest) -> None:
        for name, function in self._functions.items():
            for value in function(manifest):
                self._indexes[name][value].add(place)

    def _unindex(self, place: _Place, manifest: Manifest) -> None:
        for name, function in self._functions.items():
            index = self._indexes[name]
            for value in function(manifest):
                places = index.get(value)
                if places is None:
                    continue
                places.discard(place)
                if not places:
                    del index[value]

    def _notify(self, change: Change) -> None:
        for listener in tuple(self._listeners):
            listener(change)


class Caches(Mapping[Resource, Cache]):
    """A cache for each resource that anybody asked for."""

    def __init__(self, caches: Iterable[Cache] = ()) -> None:
        self._caches = {cache.resource: cache for cache in caches}

    def __getitem__(self, resource: Resource) -> Cache:
        return self._caches[resource]

    def __iter__(self) -> Iterator[Resource]:
        return iter(self._caches)

    def __len__(self) -> int:
        return len(self._caches)

    def of(self, resource: Resource) -> Cache:
        """The cache of a resource, made where it is missing: how a controller says that it needs one."""
        return self._caches.setdefault(resource, Cache(resource))


def version_of(manifest: Manifest) -> int:
    """The resourceVersion as a number: Kubernetes guarantees that those of one resource can be compared."""
    return int(manifest["metadata"].get("resourceVersion") or 0)


def _place(manifest: Manifest) -> _Place:
    metadata = manifest["metadata"]
    return (metadata.get("namespace") or "", metadata["name"])
