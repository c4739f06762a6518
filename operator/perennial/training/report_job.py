"""The Job that reads a run's result from the store when its last words were lost with a pod, a Job or an operator.

It asks for little and for no particular node, so that what kept the run itself from a node does not keep it as well.
"""

from __future__ import annotations

from perennial.api.trainingjob import TrainingJobSpec
from perennial.kube.plan import Child, Manifest
from perennial.pods.jobs import DISRUPTION_RULE, INTERNAL, exit_code_rule
from perennial.pods.mounts import scratch_mount
from perennial.pods.template import container, pod_template
from perennial.settings import Settings
from perennial.wire import run as wire

from .intake import NO_MANIFEST
from .names import REPORT, Identity
from .origin import Origin, to_annotation
from .run_job import COMMAND, job_child, run_environment, store_mounts

_PLACING = ("nodeSelector", "affinity")
_REQUESTS = {"cpu": "50m", "memory": "256Mi"}
_LIMITS = {"cpu": "1", "memory": "512Mi"}
_ATTEMPTS = 10
"""With the Job controller's doubling pauses, a store that does not answer is asked for most of an hour."""


def report_job(
    spec: TrainingJobSpec | None, origin: Origin, identity: Identity, owner: Manifest, settings: Settings
) -> Child:
    """The report Job of a run. `spec` is today's: its pod settings reach the store where the run's own are lost."""
    pod = {key: value for key, value in (spec.pod.to_manifest() if spec else {}).items() if key not in _PLACING}
    mounts = [scratch_mount(), *store_mounts(origin, read_only=True)]
    reader = container(
        name=REPORT,
        image=settings.runtime_image,
        command=(*COMMAND, "report"),
        env=run_environment(_wire_run(origin, identity, settings)),
        mounts=mounts,
        pod=pod,
        resources={"requests": _REQUESTS, "limits": _LIMITS},
        pull_policy=settings.image_pull_policy,
    )
    job_spec: Manifest = {
        "backoffLimit": _ATTEMPTS,
        "podFailurePolicy": {"rules": [exit_code_rule(REPORT, INTERNAL, NO_MANIFEST), DISRUPTION_RULE]},
        "template": pod_template(labels=identity.labels(REPORT), containers=[reader], mounts=mounts, pod=pod),
    }
    return job_child(identity.report_job(origin.version), REPORT, job_spec, identity, owner, to_annotation(origin))


def _wire_run(origin: Origin, identity: Identity, settings: Settings) -> wire.Run:
    return wire.Run(
        namespace=identity.namespace,
        name=identity.name,
        uid=identity.uid,
        version=origin.version,
        store=origin.store.uri,
        path=identity.path(origin.version),
        image=settings.runtime_image,
        definition=origin.definition,
        trigger=origin.trigger.type,
    )
