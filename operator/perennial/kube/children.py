"""Carries out a plan's children: makes what is missing, changes what is ours and differs, leaves alone what is not.

A refusal that the owner's user can do something about is an answer, `Problem`; everything else is raised, and the whole
reconcile is done again from what is then there.
"""

from __future__ import annotations

from collections.abc import Iterable

from .cache import Caches
from .client import FIELD_MANAGER, JSON_PATCH, Client
from .contention import Contention
from .difference import difference, digest
from .errors import AlreadyExists, ApiError, BadRequest, Conflict, Forbidden, Invalid, NotFound
from .ownership import controller_of, is_owned_by, key_of
from .plan import Child, Deletion, Key, Manifest, Mode, Problem, Resource
from .slim import slim, was_created_by_us
from .trials import Trials

DIGEST = "perennial.dev/applied"
"""The annotation with the digest of what was last asked for."""

_REFUSALS = (BadRequest, Forbidden, Invalid)


class StillThere(Exception):
    """A child's name is taken by one that is on its way out: nothing to do but wait."""


class Children:
    """Writes children and keeps the caches up to date with the answers."""

    def __init__(self, client: Client, caches: Caches, contention: Contention | None = None) -> None:
        self._client = client
        self._caches = caches
        self._contention = contention or Contention()
        self._trials = Trials()

    async def carry_out(self, children: Iterable[Child], owner: Manifest) -> tuple[Problem, ...]:
        """In order. A refused child does not keep the following ones from being made. Raises ApiError, StillThere."""
        problems = [await self._carry_out(child, owner) for child in children]
        return tuple(problem for problem in problems if problem)

    async def delete(self, deletions: Iterable[Deletion]) -> None:
        """What is gone already, or is another object by now, is no error."""
        for deletion in deletions:
            cache = self._caches.get(deletion.resource)
            known = cache.get(deletion.namespace, deletion.name) if cache is not None else None
            if known and known["metadata"]["uid"] == deletion.uid and _is_leaving(known):
                continue
            await self._delete(deletion)

    async def _carry_out(self, child: Child, owner: Manifest) -> Problem | None:
        try:
            match child.mode:
                case Mode.TRIAL:
                    return await self._try(child)
                case Mode.ENSURE:
                    await self._ensure(child)
                case Mode.CREATE | Mode.APPLY | Mode.RECORD:
                    return await self._keep(child, owner)
        except _REFUSALS as refusal:
            return _refused(child, refusal)
        return None

    async def _try(self, child: Child) -> Problem | None:
        if (known := self._trials.answer(child)) is not None:
            return known.problem
        problem = None
        try:
            await self._client.create(child.resource, child.manifest, dry_run=True)
        except AlreadyExists:
            pass
        except _REFUSALS as refusal:
            problem = _refused(child, refusal)
        self._trials.note(child, problem)
        return problem

    async def _ensure(self, child: Child) -> None:
        key = key_of(child.manifest)
        if self._known(child.resource, key) is not None:
            return
        try:
            # One that people made carries no label of ours, and so is in no cache.
            await self._client.get(child.resource, key.namespace, key.name)
        except NotFound:
            await self._make(child)

    async def _make(self, child: Child) -> None:
        try:
            self._store(child.resource, await self._client.create(child.resource, child.manifest))
        except AlreadyExists:
            return

    async def _keep(self, child: Child, owner: Manifest) -> Problem | None:
        key = key_of(child.manifest)
        asked = child.manifest if child.mode is Mode.CREATE else with_digest(_unversioned(child.manifest))
        live = self._known(child.resource, key)
        if live is None:
            try:
                self._store(child.resource, await self._client.create(child.resource, asked))
                return None
            except AlreadyExists:
                live = slim(await self._client.get(child.resource, key.namespace, key.name))
        if not is_owned_by(live, owner["metadata"]["uid"]):
            return _taken(child, live, owner)
        if _is_leaving(live):
            raise StillThere(f"{child.resource.kind} {key} is being deleted")
        if live is not self._known(child.resource, key):
            self._store(child.resource, live)
        _check_version(child, live)
        return None if child.mode is Mode.CREATE else await self._apply(child, asked, live)

    async def _apply(self, child: Child, asked: Manifest, live: Manifest) -> Problem | None:
        differs_at = difference(live, asked)
        if differs_at is None:
            return None
        uid, wanted = live["metadata"]["uid"], asked["metadata"]["annotations"][DIGEST]
        if self._contention.is_contended(uid, wanted):
            return _contended(child, differs_at)
        if was_created_by_us(live["metadata"].get("managedFields")):
            live = await self._take_over_fields(child, live)
        # With the uid the request fails on another object of that name, which might be somebody else's.
        only = {"uid": uid}
        if child.mode is Mode.RECORD:
            only["resourceVersion"] = live["metadata"]["resourceVersion"]
        answer = slim(await self._client.apply(child.resource, asked | {"metadata": asked["metadata"] | only}))
        self._store(child.resource, answer)
        undone_at = difference(answer, asked)
        self._contention.applied(uid, wanted, kept=undone_at is None)
        return _contended(child, undone_at) if undone_at else None

    async def _take_over_fields(self, child: Child, live: Manifest) -> Manifest:
        """Turn what we own by having POSTed it into what we own by applying: only that can be taken back. The object as
        it then is."""
        resource, key = child.resource, key_of(live)
        current = await self._client.get(resource, key.namespace, key.name)
        _check_version(child, current)
        metadata = current["metadata"]
        entries = metadata.get("managedFields") or []
        if metadata["uid"] != live["metadata"]["uid"] or not was_created_by_us(entries):
            return live
        applied = any(entry["manager"] == FIELD_MANAGER and entry["operation"] == "Apply" for entry in entries)
        kept = []
        for entry in entries:
            if not was_created_by_us([entry]):
                kept.append(entry)
            elif not applied:
                kept.append(entry | {"operation": "Apply"})
        patch = [
            {"op": "replace", "path": "/metadata/resourceVersion", "value": metadata["resourceVersion"]},
            {"op": "replace", "path": "/metadata/managedFields", "value": kept},
        ]
        taken = await self._client.patch(resource, key.namespace, key.name, patch, JSON_PATCH)
        self._store(resource, taken)
        return taken

    async def _delete(self, deletion: Deletion) -> None:
        try:
            answer = await self._client.delete(deletion.resource, deletion.namespace, deletion.name, deletion.uid)
        except NotFound:
            answer = {"kind": "Status"}
        except Conflict:
            if not await self._is_another(deletion):
                raise
            answer = {"kind": "Status"}
        cache = self._caches.get(deletion.resource)
        if cache is None:
            return
        if answer.get("kind") == "Status":
            cache.discard_uid(deletion.namespace, deletion.name, deletion.uid)
        else:
            cache.store(slim(answer), own=True)

    async def _is_another(self, deletion: Deletion) -> bool:
        try:
            current = await self._client.get(deletion.resource, deletion.namespace, deletion.name)
        except NotFound:
            return True
        return bool(current["metadata"]["uid"] != deletion.uid)

    def _known(self, resource: Resource, key: Key) -> Manifest | None:
        cache = self._caches.get(resource)
        return cache.get(key.namespace, key.name) if cache is not None else None

    def _store(self, resource: Resource, manifest: Manifest) -> None:
        cache = self._caches.get(resource)
        if cache is not None:
            cache.store(slim(manifest), own=True)


def _check_version(child: Child, live: Manifest) -> None:
    """Raises Conflict for a record that was changed since the plan was made, or was not there then."""
    planned_on = child.manifest["metadata"].get("resourceVersion")
    if child.mode is Mode.RECORD and live["metadata"]["resourceVersion"] != planned_on:
        raise Conflict(409, "Conflict", f"{child.resource.kind} {key_of(live)} was changed since it was read")


def _unversioned(manifest: Manifest) -> Manifest:
    return manifest | {"metadata": {k: v for k, v in manifest["metadata"].items() if k != "resourceVersion"}}


def with_digest(manifest: Manifest) -> Manifest:
    metadata = manifest["metadata"]
    annotations = {**(metadata.get("annotations") or {}), DIGEST: digest(manifest)}
    return manifest | {"metadata": {**metadata, "annotations": annotations}}


def _is_leaving(manifest: Manifest) -> bool:
    return "deletionTimestamp" in manifest["metadata"]


def _taken(child: Child, live: Manifest, owner: Manifest) -> Problem:
    theirs = controller_of(live)
    name = owner["metadata"]["name"]
    if theirs and (theirs["kind"], theirs["name"]) == (owner["kind"], name):
        # The garbage collector is about to take it: the owner was deleted and made again.
        raise StillThere(f"{child.resource.kind} {key_of(live)} belongs to a predecessor of {owner['kind']} {name}")
    holder = f"{theirs['kind']} {theirs['name']}" if theirs else "somebody else"
    return _problem(child, "NameTaken", f"there is one of {holder} already, which is left alone: delete or rename it")


def _contended(child: Child, path: str) -> Problem:
    return _problem(
        child,
        "Contended",
        f"{path} is changed back each time: find the webhook or controller that does it (metadata.managedFields)",
    )


def _refused(child: Child, refusal: ApiError) -> Problem:
    return _problem(child, _reason(refusal), refusal.message)


def _problem(child: Child, reason: str, message: str) -> Problem:
    return Problem(reason, child.resource.kind, child.manifest["metadata"]["name"], message)


def _reason(refusal: ApiError) -> str:
    if not isinstance(refusal, Forbidden):
        return "Invalid"
    return "QuotaExceeded" if "exceeded quota" in refusal.message else "Forbidden"
