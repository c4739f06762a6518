"""What the Jobs of all rooms have in common: which ends of a pod end the Job, and a trial of the pod that it gets none
of.

Pod Security and quotas act on pods. The Job controller keeps their refusals to itself, but for Events that no component
should have to read.
"""

from __future__ import annotations

from perennial.kube.plan import Child, Manifest, Mode
from perennial.kube.resources import PODS

BAD_INPUT = 64
"""Exit code of a container whose input is wrong: another attempt would find the same."""
INTERNAL = 65
"""Exit code of a failure of ours that another attempt would repeat."""

DISRUPTION_RULE: Manifest = {
    "action": "Ignore",
    "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
}
"""A pod that was preempted or drained says nothing about its work: it is not counted among the attempts."""


def exit_code_rule(name: str, *codes: int) -> Manifest:
    """Exit codes of a container that fail the Job at once."""
    return {"action": "FailJob", "onExitCodes": {"containerName": name, "operator": "In", "values": list(codes)}}


def trial_pod(job: Manifest) -> Child:
    """The pod that the Job's controller would make, under the Job's name: asked of the API server as a trial, so that
    its refusal can be told."""
    metadata, template = job["metadata"], job["spec"]["template"]
    manifest: Manifest = {
        "apiVersion": PODS.api_version,
        "kind": PODS.kind,
        "metadata": {**template.get("metadata", {}), "name": metadata["name"], "namespace": metadata["namespace"]},
        "spec": template["spec"],
    }
    return Child(PODS, manifest, Mode.TRIAL)
