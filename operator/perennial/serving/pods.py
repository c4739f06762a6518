"""Server pods as the plan sees them: ready for long enough or not, and in whose words not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from perennial.api.labels import REVISION
from perennial.kube.plan import Manifest
from perennial.pods.creation import QUIET, awaited
from perennial.pods.statuses import holding

from .builders.deployment import MIN_READY_SECONDS
from .fleet import Group


@dataclass(frozen=True, slots=True)
class ServerPod:
    """One pod. `ready_since` is None while it is not ready; `trouble` is what keeps it from it, where it says so, and
    `awaited` what it waits for while its containers are not created."""

    uid: str
    name: str
    revision: str
    created: datetime
    ip: str | None = None
    ready_since: datetime | None = None
    ending: bool = False
    trouble: str | None = None
    awaited: str | None = None

    def is_counted_on(self, now: datetime) -> bool:
        return self._serves and self.ready_since is not None and now - self.ready_since >= _LONG_ENOUGH

    def counted_on_in(self, now: datetime) -> timedelta | None:
        """How long until a ready pod is counted on; None where time alone changes nothing."""
        if self.ready_since is None or self.ending or self.is_counted_on(now):
            return None
        return _LONG_ENOUGH - (now - self.ready_since)

    def trouble_at(self, now: datetime) -> str | None:
        """What keeps it from being ready: every pod waits for its containers, but not for long."""
        return self.trouble or (self.awaited if now - self.created >= QUIET else None)

    def told_in(self, now: datetime) -> timedelta | None:
        """How long until what the pod waits for is worth a word; None where time alone changes nothing."""
        quiet = self.created + QUIET - now
        return quiet if self.awaited and not self.ending and quiet > timedelta(0) else None

    @property
    def _serves(self) -> bool:
        return not self.ending and self.ip is not None


_LONG_ENOUGH = timedelta(seconds=MIN_READY_SECONDS)
_CREATING = ("ContainerCreating", "PodInitializing")


def read_pod(manifest: Manifest) -> ServerPod:
    metadata, status = manifest["metadata"], manifest.get("status") or {}
    ready = holding(manifest, "Ready")
    ended = status.get("phase") in ("Succeeded", "Failed")
    return ServerPod(
        uid=metadata["uid"],
        name=metadata["name"],
        revision=(metadata.get("labels") or {}).get(REVISION, ""),
        created=_time(metadata["creationTimestamp"]),
        ip=status.get("podIP"),
        ready_since=_time(ready["lastTransitionTime"]) if ready else None,
        ending=ended or "deletionTimestamp" in metadata,
        trouble=None if ready else _trouble(manifest),
        awaited=awaited(manifest) if _is_being_created(status) else None,
    )


def group(pods: Iterable[ServerPod], asked: int, now: datetime) -> Group:
    """The pods of one revision, counted."""
    living = [pod for pod in pods if not pod.ending]
    counted_on = [pod for pod in living if pod.is_counted_on(now)]
    return Group(
        asked,
        len(living),
        len(counted_on),
        max((pod.ready_since for pod in counted_on if pod.ready_since), default=None),
    )


def _trouble(manifest: Manifest) -> str | None:
    if scheduled := holding(manifest, "PodScheduled", "False"):
        return f"{scheduled.get('reason', 'Unschedulable')}: {scheduled.get('message', '')}".strip()
    status = manifest.get("status") or {}
    for container in status.get("initContainerStatuses") or []:
        if trouble := _trouble_of(container):
            return f"container {container['name']}: {trouble}"
    return next(filter(None, map(_trouble_of, status.get("containerStatuses") or [])), None)


def _trouble_of(container: dict[str, Any]) -> str | None:
    state = container.get("state") or {}
    last = (container.get("lastState") or {}).get("terminated") or state.get("terminated")
    if (state.get("terminated") or {}).get("reason") == "Completed":
        return None
    if last and (last.get("message") or last.get("reason")):
        return _ended(last)
    waiting = state.get("waiting")
    if waiting and waiting.get("reason") not in (None, *_CREATING):
        return f"{waiting['reason']}: {waiting.get('message', '')}".strip()
    return None


def _ended(last: dict[str, Any]) -> str:
    reason = last.get("reason", "Error")
    words = _last_words(last.get("message"))
    if reason == "OOMKilled":
        words = words or "raise spec.resources.limits.memory"
    cause = f"{reason} (exit code {last.get('exitCode')})"
    return f"{cause}: {words}" if words else cause


def _is_being_created(status: dict[str, Any]) -> bool:
    containers = status.get("containerStatuses") or []
    return any((one.get("state") or {}).get("waiting", {}).get("reason") in _CREATING for one in containers)


def _last_words(log: str | None) -> str:
    """The last line that says something: the message of a container that leaves none is the end of its log."""
    return next((line.strip() for line in reversed((log or "").splitlines()) if line.strip()), "")


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
