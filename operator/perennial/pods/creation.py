"""What a pod waits for whose containers are not created: a node says in Events alone which volume is missing, so what
the pod needs of its namespace is named instead. Both kinds of pods that the operator has made can be told so.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from perennial.kube.plan import Manifest

QUIET = timedelta(seconds=15)
"""How long any pod may take to start before it is worth a word."""


def awaited(pod: Manifest) -> str:
    """A sentence that names what a pod needs, and where the node's own words are."""
    needs = ", ".join([*_needs(pod), "its images"])
    look = f"kubectl describe pod {pod['metadata']['name']}"
    return f"its containers are not created yet: it needs {needs} ({look} has the node's words)"


def _needs(pod: Manifest) -> Iterable[str]:
    for volume in pod["spec"].get("volumes", []):
        if secret := volume.get("secret"):
            yield f"Secret {secret['secretName']}"
        if configmap := volume.get("configMap"):
            yield f"ConfigMap {configmap['name']}"
        if claim := volume.get("persistentVolumeClaim"):
            yield f"PersistentVolumeClaim {claim['claimName']}"
