"""What the Jobs of all rooms have in common: which ends of a pod end the Job, how it ended, and a trial of the pod that
it gets none of.

Pod Security and quotas act on pods. The Job controller keeps their refusals to itself, but for Events that no component
should have to read.
"""

from __future__ import annotations

from perennial.kube.plan import Child, Manifest, Mode
from perennial.kube.resources import PODS

from .statuses import holding

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


def finished(job: Manifest) -> bool:
    return succeeded(job) or failed(job) is not None


def succeeded(job: Manifest) -> bool:
    return holding(job, "Complete") is not None


def failed(job: Manifest) -> Manifest | None:
    """The condition by which the Job failed."""
    return holding(job, "Failed")


def ended_at(job: Manifest) -> str | None:
    """When the Job finished."""
    if moment := job.get("status", {}).get("completionTime"):
        return str(moment)
    end = holding(job, "Complete") or failed(job)
    return str(end["lastTransitionTime"]) if end else None


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
