"""Volumes and mounts by the rules of `wire/places.py`: claims and ConfigMaps by URI, Secrets as files, scratch space.

A `Mount` is one volume at one path. Several URIs may name one claim (data and store, model and companion): `unique`
keeps one volume for it, writable when any of them writes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from perennial.kube.plan import Manifest
from perennial.wire import places

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Mount:
    """One volume, mounted at `path`. `source` is the volume without its name: {"persistentVolumeClaim": {...}}."""

    name: str
    path: str
    source: Manifest
    read_only: bool = True

    @property
    def volume(self) -> Manifest:
        return {"name": self.name, **self.source}

    @property
    def volume_mount(self) -> Manifest:
        mount: Manifest = {"name": self.name, "mountPath": self.path}
        return mount | {"readOnly": True} if self.read_only else mount


def uri_mount(uri: str, *, read_only: bool = True) -> Mount | None:
    """The mount that a `pvc://` or `configmap://` URI needs; None for what is read over the network."""
    if claim := places.claim_of(uri):
        # Read-only is said on the mount and not on the volume: one claim may be mounted both ways.
        source: Manifest = {"persistentVolumeClaim": {"claimName": claim}}
        return Mount(_volume_name("pvc", claim), f"{places.PVC_ROOT}/{claim}", source, read_only)
    if configmap := places.configmap_of(uri):
        source = {"configMap": {"name": configmap}}
        return Mount(_volume_name("configmap", configmap), f"{places.CONFIGMAP_ROOT}/{configmap}", source)
    return None


def secret_mount(secret: str, path: str) -> Mount:
    """A Secret of the user's as files below `path`, readable by the pod's group only."""
    role = path.rsplit("/", 1)[-1]
    return Mount(f"perennial-secret-{role}", path, {"secret": {"secretName": secret, "defaultMode": 0o440}})


def scratch_mount() -> Mount:
    """Writable /tmp under a read-only root file system."""
    return empty_mount("perennial-scratch", places.SCRATCH)


def empty_mount(name: str, path: str) -> Mount:
    """A folder that lives as long as the pod, also across restarts of a container."""
    return Mount(name, path, {"emptyDir": {}}, read_only=False)


def unique(mounts: Iterable[Mount | None]) -> tuple[Mount, ...]:
    """One mount for each volume, writable when any of them is, in order of first use; absent ones are dropped."""
    chosen: dict[str, Mount] = {}
    for mount in mounts:
        if mount is None:
            continue
        known = chosen.get(mount.name)
        if known is None or known.read_only:
            chosen[mount.name] = mount
    return tuple(chosen.values())


def _volume_name(kind: str, name: str) -> str:
    """A volume's name is a DNS label, a claim's may be longer and hold dots."""
    readable = f"perennial-{kind}-{name}"
    if _LABEL.fullmatch(readable):
        return readable
    return f"perennial-{kind}-{hashlib.sha256(name.encode()).hexdigest()[:10]}"
