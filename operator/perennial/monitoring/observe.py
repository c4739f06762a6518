"""Putting together what a plan is decided on, from the caches and the pods."""

from __future__ import annotations

from perennial.api.driftmonitor import DriftMonitorSpec
from perennial.api.driftmonitor_status import DriftMonitorStatus
from perennial.api.labels import MODELDEPLOYMENT
from perennial.api.modeldeployment_status import ModelDeploymentStatus
from perennial.api.resources import DRIFTMONITORS, MODELDEPLOYMENTS, TRAININGJOBS
from perennial.api.trainingjob_status import TrainingJobStatus
from perennial.api.validation import InvalidSpecError, parse_spec, parse_status, text_at, value_at
from perennial.kube.cache import Caches
from perennial.kube.ownership import is_owned_by
from perennial.kube.plan import Key, Manifest
from perennial.kube.resources import CONFIGMAPS, JOBS, PODS
from perennial.settings import Settings
from perennial.wire.join import Server

from .checkpoint import Checkpoint, UnreadableCheckpointError, decode
from .look import Question, Watcher, askable
from .names import Identity
from .observed import Deployment, Look, Observed

BY_DEPLOYMENT = "monitoring/deployment"
"""The index of DriftMonitors by the deployment that they watch and of pods by the one they serve, as
namespace/name."""


def watches_deployment(manifest: Manifest) -> list[str]:
    """The deployment that a DriftMonitor watches."""
    name = text_at(manifest, "spec", "deployment")
    return [f"{manifest['metadata']['namespace']}/{name}"] if name else []


def serves_deployment(manifest: Manifest) -> list[str]:
    """The deployment that a pod is of."""
    metadata = manifest["metadata"]
    name = (metadata.get("labels") or {}).get(MODELDEPLOYMENT)
    return [f"{metadata['namespace']}/{name}"] if name else []


async def observe(key: Key, caches: Caches, watcher: Watcher, settings: Settings) -> Observed | None:
    """The record of a DriftMonitor; None when it is gone."""
    manifest = caches[DRIFTMONITORS].get(key.namespace, key.name)
    if manifest is None:
        return None
    spec, invalid = _spec(manifest)
    identity = Identity(key.namespace, key.name, manifest["metadata"]["uid"])
    stored = _stored(caches, identity)
    status = parse_status(DriftMonitorStatus, manifest)
    checkpoint, unreadable = _checkpoint(stored, identity, is_known=status.model is not None)
    deployment = _deployment(caches, key.namespace, spec.deployment) if spec else None
    rival = _rival(caches, manifest)
    look = Look()
    pods = caches[PODS].by(BY_DEPLOYMENT, f"{key.namespace}/{spec.deployment}") if spec else ()
    if spec and deployment and not spec.suspend and (question := _question(spec, deployment, acts=rival is None)):
        look = await watcher.look(key, question, pods, checkpoint)
    job = _join_job(caches, identity, checkpoint)
    return Observed(
        identity=identity,
        manifest=manifest,
        spec=spec,
        invalid=invalid,
        status=status,
        checkpoint=checkpoint,
        stored=stored,
        unreadable=unreadable,
        deployment=deployment,
        training=_training(caches, key.namespace, deployment),
        rival=rival,
        look=look,
        servers=tuple(Server(pod.uid, pod.name, pod.ip) for pod in askable(pods)),
        join_job=job,
        join_pods=_pods_of(caches, job) if job else (),
        settings=settings,
    )


def _join_job(caches: Caches, identity: Identity, checkpoint: Checkpoint) -> Manifest | None:
    job = caches[JOBS].get(identity.namespace, identity.join_job(checkpoint.joins.number + 1))
    return job if job and is_owned_by(job, identity.uid) else None


def _pods_of(caches: Caches, job: Manifest) -> tuple[Manifest, ...]:
    pods = caches[PODS].owned_by(job["metadata"]["uid"])
    return tuple(sorted(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp", ""))))


def _spec(manifest: Manifest) -> tuple[DriftMonitorSpec | None, str | None]:
    try:
        return parse_spec(DriftMonitorSpec, manifest), None
    except InvalidSpecError as error:
        return None, str(error)


def _stored(caches: Caches, identity: Identity) -> Manifest | None:
    stored = caches[CONFIGMAPS].get(identity.namespace, identity.checkpoint)
    return stored if stored and is_owned_by(stored, identity.uid) else None


def _checkpoint(stored: Manifest | None, identity: Identity, *, is_known: bool) -> tuple[Checkpoint, str | None]:
    """What is remembered, and why it is nothing though the status tells of something."""
    if stored is None:
        return Checkpoint(), f"ConfigMap {identity.checkpoint} is gone" if is_known else None
    try:
        return decode(stored), None
    except UnreadableCheckpointError as error:
        return Checkpoint(), str(error)


def _deployment(caches: Caches, namespace: str, name: str) -> Deployment | None:
    manifest = caches[MODELDEPLOYMENTS].get(namespace, name)
    if manifest is None:
        return None
    status = parse_status(ModelDeploymentStatus, manifest)
    training_job = status.training_job or text_at(manifest, "spec", "model", "trainingJob")
    pinned = value_at(manifest, "spec", "model", "version")
    suspended = value_at(manifest, "spec", "suspend") is True
    return Deployment(status, training_job, pinned if isinstance(pinned, int) else None, suspended)


def _training(caches: Caches, namespace: str, deployment: Deployment | None) -> TrainingJobStatus | None:
    if deployment is None or deployment.training_job is None:
        return None
    manifest = caches[TRAININGJOBS].get(namespace, deployment.training_job)
    return parse_status(TrainingJobStatus, manifest) if manifest else None


def _rival(caches: Caches, manifest: Manifest) -> str | None:
    """The monitor that acts instead: of those of one deployment the oldest that is not suspended, of two made within
    the same second the first by name.
    """
    monitors = [
        other
        for place in watches_deployment(manifest)
        for other in caches[DRIFTMONITORS].by(BY_DEPLOYMENT, place)
        if not value_at(other, "spec", "suspend")
    ]
    oldest = min(monitors, key=_age, default=manifest)
    return None if oldest["metadata"]["uid"] == manifest["metadata"]["uid"] else str(oldest["metadata"]["name"])


def _age(manifest: Manifest) -> tuple[str, str]:
    metadata = manifest["metadata"]
    return str(metadata.get("creationTimestamp", "")), str(metadata["name"])


def _question(spec: DriftMonitorSpec, deployment: Deployment, *, acts: bool) -> Question | None:
    stable = deployment.status.stable
    if stable is None:
        return None
    return Question(
        stable=stable.revision,
        model=stable.sha256,
        period=float(spec.window.period.seconds),
        acts=acts,
        key=spec.labels.key if spec.labels else None,
    )
