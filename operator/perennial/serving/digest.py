"""The digest of what a server's pods are made of: the listed fields of the spec, defaults dropped, the algorithm named.

It says whether a change of the spec needs new pods. It must say the same in every release: so it reads the stored
object, not our models, and has its own frozen list of defaults, which the schema may leave behind. A field that a later
release adds comes with a new algorithm; an algorithm that is not known here (the operator was downgraded) is adopted.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from perennial.kube.plan import Manifest

_V1_FIELDS = ("pod", "resources")
_V1_DEFAULTS: Mapping[str, Any] = {"resources": {"requests": {"cpu": "100m", "memory": "256Mi"}}}
_V2_DEFAULTS: Mapping[str, Any] = {"port": 8000}
_V2_CONTAINER_DEFAULTS: Mapping[str, Any] = {"name": "own"}


def _v1(spec: Manifest) -> str:
    """Of the built-in server."""
    return _hash(_v1_said(spec))


def _v2(spec: Manifest) -> str:
    """Of a server of the user's own."""
    template = _without_empty(spec["template"])
    containers = [_but(_V2_CONTAINER_DEFAULTS, container) for container in template["spec"]["containers"]]
    said = _but(_V2_DEFAULTS, template) | {"spec": {"containers": containers}}
    return _hash(_v1_said(spec) | {"template": said})


def _v1_said(spec: Manifest) -> dict[str, Any]:
    fields = {name: _without_empty(spec.get(name)) for name in _V1_FIELDS}
    return {name: value for name, value in _but(_V1_DEFAULTS, fields).items() if value}


def _but(defaults: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value != defaults.get(name)}


def _hash(said: Mapping[str, Any]) -> str:
    canonical = json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


_ALGORITHMS: Mapping[str, Callable[[Manifest], str]] = {"v1": _v1, "v2": _v2}


def server_digest(spec: Manifest) -> str:
    """`v1:<sha256>` of the stored spec, `v2:` where it has a template."""
    algorithm = "v2" if spec.get("template") else "v1"
    return f"{algorithm}:{_ALGORITHMS[algorithm](spec)}"


def is_known(digest: str) -> bool:
    return digest.partition(":")[0] in _ALGORITHMS


def means_the_same(spec: Manifest, digest: str, adopted: str | None) -> bool:
    """Whether pods made for `digest` are what the spec asks for.

    An algorithm that is not known here is believed the first time, `adopted` None; from then on `adopted`, the spec's
    digest at that time, stands for it.
    """
    if is_known(digest):
        return server_digest(spec) == digest
    return adopted in (None, server_digest(spec))


def _without_empty(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {key: _without_empty(item) for key, item in value.items()}
        return {key: item for key, item in kept.items() if item not in (None, {}, [])}
    if isinstance(value, list):
        return [_without_empty(item) for item in value]
    return value
