"""The Job that joins a table's labels with predictions: what it is told, and with what it runs.

It has no right in Kubernetes: which pods remember predictions stands in what it is told.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import msgspec

from perennial.api.driftmonitor import LabelTable
from perennial.api.labels import JOINER
from perennial.kube.ownership import owner_reference
from perennial.kube.plan import Child, Manifest, Mode
from perennial.kube.resources import JOBS
from perennial.pods.jobs import BAD_INPUT, DISRUPTION_RULE, INTERNAL, exit_code_rule
from perennial.pods.mounts import scratch_mount, secret_mount, uri_mount
from perennial.pods.template import container, pod_template
from perennial.settings import Settings
from perennial.wire import places
from perennial.wire.join import JOIN_ENV, Join, Server

from .names import Identity

CONTAINER = "labels"
COMMAND = ("python", "-m", "perennial.runtime.joiner")
ATTEMPTS = 2
"""How often a pod is tried again within a Job; a Job that failed is followed by another one."""
TABLE = "perennial.dev/table"
"""On a Job: the digest of the part of the spec that it was made by."""
DEADLINE_SECONDS = 3600
KEPT_SECONDS = 3600
"""How long a Job that ended is kept, for its log."""


def join_job(
    labels: LabelTable,
    asked: Join,
    identity: Identity,
    owner: Manifest,
    settings: Settings,
) -> Child:
    """The Job of this join, made once."""
    pod = labels.pod.to_manifest()
    secret = secret_mount(labels.secret_ref.name, places.DATA_SECRET) if labels.secret_ref else None
    mounts = [scratch_mount(), uri_mount(labels.uri), secret]
    made = container(
        name=CONTAINER,
        image=settings.runtime_image,
        command=COMMAND,
        env={JOIN_ENV: msgspec.json.encode(asked).decode()},
        mounts=mounts,
        pod=pod,
        resources=labels.resources.to_manifest(),
        pull_policy=settings.image_pull_policy,
    )
    template = pod_template(labels=identity.labels(JOINER), containers=[made], mounts=mounts, pod=pod)
    template["spec"]["restartPolicy"] = "Never"
    manifest: Manifest = {
        "apiVersion": JOBS.api_version,
        "kind": JOBS.kind,
        "metadata": {
            "name": identity.join_job(asked.number),
            "namespace": identity.namespace,
            "labels": identity.labels(JOINER),
            "annotations": {TABLE: table_of(labels)},
            "ownerReferences": [owner_reference(owner)],
        },
        "spec": {
            "backoffLimit": ATTEMPTS,
            "activeDeadlineSeconds": DEADLINE_SECONDS,
            "ttlSecondsAfterFinished": KEPT_SECONDS,
            "podFailurePolicy": {"rules": [exit_code_rule(CONTAINER, BAD_INPUT, INTERNAL), DISRUPTION_RULE]},
            "template": template,
        },
    }
    return Child(JOBS, manifest, Mode.CREATE)


def table_of(labels: LabelTable) -> str:
    """A digest of all that is said of the labels."""
    return hashlib.sha256(labels.model_dump_json().encode()).hexdigest()[:16]


def asked_of(labels: LabelTable, deployment: str, number: int, servers: Sequence[Server], joined: bytes) -> Join:
    """What the Job is told."""
    return Join(
        number=number,
        deployment=deployment,
        uri=labels.uri,
        key=labels.key,
        column=labels.column,
        time=labels.time,
        servers=list(servers),
        joined=joined,
        again=labels.every.seconds,
    )


def told_to(job: Manifest) -> Join | None:
    """What a Job was told; None where it is not to be read."""
    [made] = job["spec"]["template"]["spec"]["containers"][:1]
    given = next((entry.get("value", "") for entry in made.get("env", []) if entry["name"] == JOIN_ENV), "")
    try:
        return msgspec.json.decode(given, type=Join)
    except msgspec.MsgspecError:
        return None
