"""The pod of a Job that gets none: asked of the API server as a trial, so that its refusal can be told.

Pod Security and quotas act on pods. The Job controller keeps their refusals to itself, but for Events that no component
should have to read.
"""

from __future__ import annotations

from perennial.kube.plan import Child, Manifest, Mode
from perennial.kube.resources import PODS


def trial_pod(job: Manifest) -> Child:
    """The pod that the Job's controller would make, under the Job's name."""
    metadata, template = job["metadata"], job["spec"]["template"]
    manifest: Manifest = {
        "apiVersion": PODS.api_version,
        "kind": PODS.kind,
        "metadata": {**template.get("metadata", {}), "name": metadata["name"], "namespace": metadata["namespace"]},
        "spec": template["spec"],
    }
    return Child(PODS, manifest, Mode.TRIAL)
