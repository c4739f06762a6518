"""The digest of a definition: a run starts when it changes, so it covers what affects training and nothing else.

It is taken from the spec as it is stored, over the fields listed here with the defaults listed here dropped. Neither a
new field nor a new default of a later release changes it, so that an upgrade of the operator starts no run.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from perennial.kube.plan import Manifest

ALGORITHM = "v2"

_FIELDS: dict[str, Any] = {
    "sklearn.estimator": None,
    "sklearn.parameters": {},
    "sklearn.preprocessing": "Auto",
    "sklearn.steps": [],
    "sklearn.calibration": None,
    "sklearn.search.metric": None,
    "sklearn.search.space": None,
    "sklearn.search.method": "Random",
    "sklearn.search.trials": 20,
    "sklearn.search.folds": 3,
    "sklearn.refit": True,
    "data.uri": None,
    "data.target": None,
    "data.features": [],
    "data.time": None,
    "data.window": None,
    "data.test.fraction": 0.25,
    "data.test.split": "Random",
    "data.test.group": None,
    "data.test.folds": None,
    "data.expect": None,
    "seed": 0,
    "acceptance.metrics": [],
    "acceptance.champion.metric": None,
    "acceptance.champion.margin": 0,
    "acceptance.slices": [],
}
_CONTAINER_FIELDS: dict[str, Any] = {
    "image": None,
    "command": [],
    "args": [],
    "workingDir": None,
    "env": [],
    "volumeMounts": [],
}
_AROUND_A_CONTAINER: dict[str, Any] = {"pod.env": [], "pod.volumes": []}
"""What an own container is given besides, a script in a ConfigMap say. The built-in trainer reads none of it."""


def definition_digest(spec: Manifest) -> str:
    """`v2:` and the sha256 of the canonical JSON of the training-relevant part of a TrainingJob's spec."""
    covered = _covered(spec, _FIELDS)
    containers = _at(spec, "template.spec.containers") or []
    if containers:
        covered["template"] = [_covered(container, _CONTAINER_FIELDS) for container in containers]
        covered |= _covered(spec, _AROUND_A_CONTAINER)
    text = json.dumps(covered, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return f"{ALGORITHM}:{hashlib.sha256(text.encode()).hexdigest()}"


def is_comparable(digest: str | None) -> bool:
    """Whether the digest is of this release's algorithm. One of another release says nothing of a change."""
    return digest is not None and digest.startswith(f"{ALGORITHM}:")


def _covered(tree: Manifest, fields: dict[str, Any]) -> Manifest:
    found = {path: _at(tree, path) for path in fields}
    return {path: value for path, value in found.items() if value is not None and value != fields[path]}


def _at(tree: Any, path: str) -> Any:
    for key in path.split("."):
        if not isinstance(tree, dict):
            return None
        tree = tree.get(key)
    return tree
