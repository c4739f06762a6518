"""A toy kind with every mode of child: a Shelf holds books that are kept as asked, a catalogue that is made once, and a
cellar that outlives it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from perennial.kube.cache import Caches
from perennial.kube.controller import Controller, Duty, Watch
from perennial.kube.ownership import controller_keys, owner_reference
from perennial.kube.plan import Child, Deletion, Event, Key, Manifest, Mode, Plan, Problem, Resource
from perennial.kube.resources import CONFIGMAPS, CONTROLLERREVISIONS, PERSISTENTVOLUMECLAIMS

from .installation import Installation

SHELVES = Resource("toys.perennial.dev", "v1", "shelves", "Shelf")
LABELS = {"app.kubernetes.io/managed-by": "perennial"}


@dataclass(frozen=True)
class Seen:
    shelf: Manifest
    books: tuple[Manifest, ...]


class ShelfController:
    """spec: {books: {title: text}}. status: the titles that are there, and what is wrong."""

    primary = SHELVES
    duties: Sequence[Duty] = ()

    def __init__(self, caches: Caches) -> None:
        self._shelves = caches.of(SHELVES)
        self._books = caches.of(CONFIGMAPS)
        self.watches: Sequence[Watch] = (
            Watch(CONFIGMAPS, lambda book: controller_keys(book, SHELVES.kind)),
            Watch(CONTROLLERREVISIONS, lambda revision: controller_keys(revision, SHELVES.kind)),
        )

    async def observe(self, key: Key) -> Seen | None:
        shelf = self._shelves.get(key.namespace, key.name)
        if shelf is None or "deletionTimestamp" in shelf["metadata"]:
            return None
        return Seen(shelf, tuple(self._books.owned_by(shelf["metadata"]["uid"])))

    def plan(self, seen: Seen, problems: tuple[Problem, ...], now: datetime) -> Plan:
        wanted: dict[str, str] = (seen.shelf.get("spec") or {}).get("books") or {}
        name = seen.shelf["metadata"]["name"]
        there = {book["metadata"]["name"] for book in seen.books}
        names = {f"{name}-{title}" for title in wanted}
        status: dict[str, Any] = {
            "observedGeneration": seen.shelf["metadata"]["generation"],
            "books": sorted(there & names),
            "problems": [f"{p.reason} {p.kind} {p.name}" for p in problems],
        }
        return Plan(
            children=(
                _cellar(seen.shelf),
                *(_book(seen.shelf, title, text) for title, text in wanted.items()),
                _catalogue(seen.shelf),
            ),
            deletions=tuple(_deletion(book) for book in seen.books if book["metadata"]["name"] not in names),
            status=status,
            events=(Event("Normal", "Arranged", f"{len(there & names)} books"),),
        )


def shelves(installation: Installation) -> Mapping[str, Controller[Any]]:
    return {"shelf": ShelfController(installation.caches)}


def shelf(name: str, namespace: str = "library", **books: str) -> Manifest:
    return {
        "apiVersion": SHELVES.api_version,
        "kind": SHELVES.kind,
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"books": books},
    }


def _child(resource: Resource, shelf: Manifest, name: str, **content: Any) -> Manifest:
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {
            "namespace": shelf["metadata"]["namespace"],
            "name": name,
            "labels": dict(LABELS),
            "ownerReferences": [owner_reference(shelf)],
        },
        **content,
    }


def _book(shelf: Manifest, title: str, text: str) -> Child:
    name = f"{shelf['metadata']['name']}-{title}"
    return Child(CONFIGMAPS, _child(CONFIGMAPS, shelf, name, data=dict.fromkeys(text.split(","), "text")))


def _catalogue(shelf: Manifest) -> Child:
    manifest = _child(
        CONTROLLERREVISIONS, shelf, f"{shelf['metadata']['name']}-catalogue", revision=1, data={"edition": 1}
    )
    return Child(CONTROLLERREVISIONS, manifest, Mode.CREATE)


def _cellar(shelf: Manifest) -> Child:
    manifest = _child(
        PERSISTENTVOLUMECLAIMS,
        shelf,
        "cellar",
        spec={"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
    )
    del manifest["metadata"]["ownerReferences"]
    return Child(PERSISTENTVOLUMECLAIMS, manifest, Mode.ENSURE)


def _deletion(book: Manifest) -> Deletion:
    metadata = book["metadata"]
    return Deletion(CONFIGMAPS, metadata["namespace"], metadata["name"], metadata["uid"])
