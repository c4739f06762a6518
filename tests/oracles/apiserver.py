"""A small model of an API server in memory, for unit tests and oracles.

It stands behind the real `Client`, in place of the network: paths, parameters and bodies are what goes over the wire.
It keeps the promises that the engine relies on: one growing resourceVersion, uids that never come back, 409 for taken
names, stale versions and foreign uids, status as a subresource, generations, applied fields that are taken back, what
can never be changed, and a garbage collector. It knows no schema and no admission: those are tested on a real cluster.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self
from urllib.parse import parse_qsl

import msgspec

from perennial.kube.client import APPLY_PATCH, JSON, JSON_PATCH, MERGE_PATCH, Client
from perennial.kube.errors import ApiError, from_status
from perennial.kube.plan import Manifest

Place = tuple[str, str, str]
"""Plural, namespace and name."""
START = datetime(2026, 1, 1, tzinfo=UTC)
_IMMUTABLE = {"controllerrevisions": ("data",), "jobs": ("spec", "template"), "deployments": ("spec", "selector")}


@dataclass(frozen=True)
class Write:
    """A request that was to change something."""

    method: str
    plural: str
    name: str
    subresource: str = ""


@dataclass(frozen=True)
class Told:
    """An event for watchers."""

    type: str
    plural: str
    manifest: Manifest


class ApiServer(Client):
    """A client whose server is here, in a cluster where nothing happens but by the operator and by people.

    `before` and `after` are called about each write that is asked for, with it.
    """

    def __init__(self) -> None:
        self.now = START
        self.objects: dict[Place, Manifest] = {}
        self.log: list[Told] = []
        self.writes: list[Write] = []
        self.before: Callable[[Write], None] = lambda _: None
        self.after: Callable[[Write], None] = lambda _: None
        self.refuse: Callable[[Write], ApiError | None] = lambda _: None
        self.admit: Callable[[Manifest], Manifest] = lambda manifest: manifest
        self.version = 0
        self._made: dict[Place, int] = {}
        self._applied: dict[str, Manifest] = {}

    def fork(self) -> Self:
        """Another world that goes on from here."""
        other = copy.copy(self)
        other.go_on_from(self)
        return other

    def go_on_from(self, world: Self) -> None:
        """Forget this world for another one, which is left as it is. What is in it is never changed, but replaced."""
        self.now, self.version = world.now, world.version
        self.objects, self.log, self.writes = dict(world.objects), list(world.log), list(world.writes)
        self._made, self._applied = dict(world._made), dict(world._applied)

    # --- what tests do by hand

    def put(self, plural: str, manifest: Manifest) -> Manifest:
        """Somebody makes or changes an object."""
        place = (plural, manifest["metadata"].get("namespace", ""), manifest["metadata"]["name"])
        old, mine = self.objects.get(place), copy.deepcopy(manifest)
        return self._save(place, mine if old is None else _merged(old, mine))

    def act(self) -> bool:
        """What a cluster's own controllers do next. Whether that was anything."""
        return False

    def seen(self, plural: str, manifest: Manifest) -> Manifest | None:
        """What two worlds must have in common of an object; None for one that comes and goes."""
        return manifest

    def aliases(self) -> dict[str, str]:
        """Names by which two worlds call the same."""
        return {m["metadata"]["uid"]: f"uid of {m['metadata']['name']}" for m in self.objects.values()}

    def remove(self, plural: str, namespace: str, name: str) -> None:
        """Somebody deletes an object; its dependents go too."""
        self._drop((plural, namespace, name))

    def clear_status(self, plural: str, namespace: str, name: str) -> None:
        """What a restore without status leaves."""
        place = (plural, namespace, name)
        self._save(place, self.objects[place] | {"status": {"observedGeneration": -1}})

    def of(self, plural: str) -> list[Manifest]:
        return [self.objects[place] for place in sorted(place for place in self.objects if place[0] == plural)]

    # --- what the client asks

    async def _answer(
        self,
        method: str,
        path: str,
        body: object = None,
        content_type: str = JSON,
        *,
        params: Mapping[str, str] | None = None,
        accept: str = JSON,
        idempotent: bool,
    ) -> bytes:
        plural, namespace, name, subresource = _parsed(path)
        sent: Any = msgspec.json.decode(msgspec.json.encode(body))
        query = dict(parse_qsl("&".join(f"{k}={v}" for k, v in (params or {}).items())))
        if method == "GET":
            found = self._get((plural, namespace, name)) if name else self._list(plural, namespace)
            return msgspec.json.encode(found)
        write = Write(method, plural, name or sent["metadata"]["name"], subresource)
        dry_run = query.get("dryRun") == "All"
        if not dry_run:
            self.before(write)
            self.writes.append(write)
        if refusal := self.refuse(write):
            raise refusal
        answer = self._carry_out(write, namespace, sent, content_type, dry_run=dry_run)
        if not dry_run:
            self.after(write)
        return msgspec.json.encode(answer)

    def _carry_out(self, write: Write, namespace: str, sent: Any, content_type: str, *, dry_run: bool) -> Manifest:
        place = (write.plural, namespace, write.name)
        match write.method:
            case "POST":
                if place in self.objects:
                    raise _error(409, "AlreadyExists", f'{write.plural} "{write.name}" already exists')
                return sent if dry_run else self._create(place, sent)
            case "DELETE":
                return self._delete(place, sent)
            case "PUT":
                return self._replace(place, sent, write.subresource)
            case "PATCH" if content_type == APPLY_PATCH:
                return self._apply(place, sent)
            case "PATCH" if content_type == JSON_PATCH:
                return self._json_patch(place, sent)
            case "PATCH" if content_type == MERGE_PATCH:
                return self._save(place, _merged(self._get(place), sent))
        raise AssertionError(f"not modelled: {write.method} {content_type}")

    def _get(self, place: Place) -> Manifest:
        if place not in self.objects:
            raise _error(404, "NotFound", f"{place[0]} {place[2]} not found")
        return self.objects[place]

    def _list(self, plural: str, namespace: str) -> Manifest:
        items = [m for m in self.of(plural) if not namespace or m["metadata"].get("namespace") == namespace]
        return {"metadata": {"resourceVersion": str(self.version)}, "items": items}

    def _create(self, place: Place, sent: Manifest) -> Manifest:
        by_us = {"managedFields": [{"manager": "perennial", "operation": "Update"}]}
        return self._save(place, sent | {"metadata": sent["metadata"] | by_us})

    def _delete(self, place: Place, options: Manifest) -> Manifest:
        asked = options["preconditions"]["uid"]
        if self._get(place)["metadata"]["uid"] != asked:
            raise _error(409, "Conflict", "the UID in the precondition is another object's")
        self._drop(place)
        return {"kind": "Status", "status": "Success"}

    def _replace(self, place: Place, sent: Manifest, subresource: str) -> Manifest:
        current = self._get(place)
        _expect(current, sent["metadata"])
        if subresource == "status":
            return self._save(place, current | {"status": sent["status"]})
        return self._save(place, current | {key: sent[key] for key in sent.keys() - {"status"}})

    def _apply(self, place: Place, sent: Manifest) -> Manifest:
        current = self.objects.get(place)
        uid = sent["metadata"].get("uid")
        if uid and (current is None or current["metadata"]["uid"] != uid):
            raise _error(409, "Conflict", "the UID in the precondition is another object's")
        if current is None:
            return self._save(place, sent)
        _expect(current, sent["metadata"])
        owned = self._applied.get(current["metadata"]["uid"], {})
        wanted = _merged(_without(current, owned, sent), sent)
        self._applied[current["metadata"]["uid"]] = sent
        return self._save(place, wanted)

    def _json_patch(self, place: Place, operations: list[Manifest]) -> Manifest:
        wanted = copy.deepcopy(self._get(place))
        for operation in operations:
            *parents, last = operation["path"].strip("/").split("/")
            node = wanted
            for parent in parents:
                node = node[parent]
            node[last] = operation["value"]
        _expect(self._get(place), wanted["metadata"])
        if any(entry["operation"] == "Apply" for entry in wanted["metadata"].get("managedFields", [])):
            self._applied.setdefault(wanted["metadata"]["uid"], wanted)
        return self._save(place, wanted)

    def _save(self, place: Place, wanted: Manifest) -> Manifest:
        # What was told before stays as it was told, also where it is made into what is saved now.
        metadata = dict(wanted["metadata"])
        wanted = self.admit({**wanted, "metadata": metadata})
        current = self.objects.get(place)
        if current is None:
            self._made[place] = self._made.get(place, 0) + 1
            uid = f"uid-{'-'.join(place)}-{self._made[place]}"
            metadata |= {"uid": uid, "generation": 1, "creationTimestamp": f"{self.now:%Y-%m-%dT%H:%M:%SZ}"}
        elif _essence(current) == _essence(wanted):
            return current
        else:
            changed = current.get("spec") != wanted.get("spec")
            metadata |= {name: current["metadata"][name] for name in ("uid", "creationTimestamp")}
            metadata["generation"] = current["metadata"]["generation"] + changed
            if (path := _IMMUTABLE.get(place[0])) and _at(current, path) != _at(wanted, path):
                raise _error(422, "Invalid", f"{'.'.join(path)}: field is immutable")
        metadata["resourceVersion"] = self._next_version()
        self.objects[place] = wanted
        self.log.append(Told("ADDED" if current is None else "MODIFIED", place[0], wanted))
        if current is None and not self._has_owner(wanted):
            self._drop(place)
        return wanted

    def _has_owner(self, manifest: Manifest) -> bool:
        owners = {reference["uid"] for reference in manifest["metadata"].get("ownerReferences", [])}
        return not owners or any(other["metadata"]["uid"] in owners for other in self.objects.values())

    def _drop(self, place: Place) -> None:
        gone = self.objects.pop(place)
        gone = gone | {"metadata": gone["metadata"] | {"resourceVersion": self._next_version()}}
        self.log.append(Told("DELETED", place[0], gone))
        uid = gone["metadata"]["uid"]
        for other in [p for p, m in self.objects.items() if _is_owned(m, uid)]:
            self._collect(other)

    def _next_version(self) -> str:
        self.version += 1
        return str(self.version)

    def _collect(self, place: Place) -> None:
        """What the garbage collector does with an object that has lost its owner."""
        self._drop(place)


def _parsed(path: str) -> tuple[str, str, str, str]:
    parts = path.strip("/").split("/")
    parts = parts[3:] if parts[0] == "apis" else parts[2:]
    namespace = ""
    if parts[0] == "namespaces" and len(parts) > 2:
        namespace, parts = parts[1], parts[2:]
    plural, name, subresource = (*parts, "", "")[:3]
    return plural, namespace, name, subresource


def _expect(current: Manifest, sent: Manifest) -> None:
    for field in ("uid", "resourceVersion"):
        if sent.get(field) and sent[field] != current["metadata"][field]:
            raise _error(
                409, "Conflict", "the object has been modified; please apply your changes to the latest version"
            )


def _error(code: int, reason: str, message: str) -> ApiError:
    return from_status({"code": code, "reason": reason, "message": message})


def _is_owned(manifest: Manifest, uid: str) -> bool:
    return any(reference["uid"] == uid for reference in manifest["metadata"].get("ownerReferences", []))


def _at(manifest: Manifest, path: tuple[str, ...]) -> Any:
    found: Any = manifest
    for key in path:
        found = found.get(key) if isinstance(found, dict) else None
    return found


def _essence(manifest: Manifest) -> Manifest:
    given = ("resourceVersion", "generation", "uid", "creationTimestamp")
    metadata = {k: v for k, v in manifest["metadata"].items() if k not in given}
    return manifest | {"metadata": metadata}


def _merged(base: Manifest, changes: Manifest) -> Manifest:
    result = dict(base)
    for key, value in changes.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = _merged(result[key], value)
        else:
            result[key] = value
    return result


def _without(current: Manifest, owned: Manifest, asked: Manifest) -> Manifest:
    """`current` without what was applied before and is not any more."""
    result = dict(current)
    for key, value in owned.items():
        if key in ("apiVersion", "kind", "uid", "resourceVersion", "generation", "name", "namespace", "managedFields"):
            continue
        if key not in asked:
            result.pop(key, None)
        elif isinstance(value, dict) and isinstance(result.get(key), dict) and isinstance(asked[key], dict):
            result[key] = _without(result[key], value, asked[key])
    return result
