"""The Job of a run. It is made once and never rendered again: a queue may write to it, an upgrade changes nothing.

The built-in trainer is one container. A container of the user's own is the last init container, and the publisher,
which uploads, gates and seals what it left, is the main one: its termination message is the run's result in both cases.
"""

from __future__ import annotations

from typing import Any

import msgspec

from perennial.api.trainingjob import ColumnExpectation, Data, TrainingJobSpec
from perennial.kube.ownership import owner_reference
from perennial.kube.plan import Child, Manifest, Mode
from perennial.kube.resources import JOBS
from perennial.pods.jobs import BAD_INPUT, DISRUPTION_RULE, INTERNAL, exit_code_rule
from perennial.pods.mounts import Mount, empty_mount, scratch_mount, secret_mount, uri_mount
from perennial.pods.template import container, own_container, pod_template
from perennial.settings import Settings
from perennial.wire import places
from perennial.wire import run as wire

from .names import PUBLISHER, TRAINER, Identity
from .origin import Origin, to_annotation
from .progress import PORT_NAME

COMMAND = ("python", "-m", "perennial.runtime.trainer")
_COMPUTE = ("cpu", "memory", "ephemeral-storage")


def run_job(
    spec: TrainingJobSpec,
    origin: Origin,
    identity: Identity,
    owner: Manifest,
    settings: Settings,
    champion: wire.Accepted | None = None,
) -> Child:
    """The Job of this run of this definition, with the version that it has to stand up to."""
    run = _wire_run(spec, origin, identity, settings, champion)
    template = _own_container_pod(spec, origin, identity, settings, run) if spec.template else None
    template = template or _built_in_pod(spec, origin, identity, settings, run)
    job_spec: Manifest = {
        "backoffLimit": spec.backoff_limit,
        "podFailurePolicy": {"rules": _failure_rules(spec)},
        "template": template,
    }
    if spec.active_deadline_seconds:
        job_spec["activeDeadlineSeconds"] = spec.active_deadline_seconds
    return job_child(identity.run_job(origin.version), TRAINER, job_spec, identity, owner, to_annotation(origin))


def job_child(
    name: str, role: str, spec: Manifest, identity: Identity, owner: Manifest, annotations: dict[str, str]
) -> Child:
    """A Job that the TrainingJob owns, created once."""
    spec["template"]["spec"]["restartPolicy"] = "Never"
    manifest: Manifest = {
        "apiVersion": JOBS.api_version,
        "kind": JOBS.kind,
        "metadata": {
            "name": name,
            "namespace": identity.namespace,
            "labels": identity.labels(role),
            "annotations": annotations,
            "ownerReferences": [owner_reference(owner)],
        },
        "spec": spec,
    }
    return Child(JOBS, manifest, Mode.CREATE)


def _failure_rules(spec: TrainingJobSpec) -> list[Manifest]:
    if spec.template is None:
        return [exit_code_rule(TRAINER, BAD_INPUT, INTERNAL), DISRUPTION_RULE]
    own = spec.template.spec.containers[0].name
    return [exit_code_rule(PUBLISHER, BAD_INPUT, INTERNAL), exit_code_rule(own, BAD_INPUT), DISRUPTION_RULE]


def _built_in_pod(
    spec: TrainingJobSpec, origin: Origin, identity: Identity, settings: Settings, run: wire.Run
) -> Manifest:
    pod = spec.pod.to_manifest()
    mounts = [scratch_mount(), *_data_mounts(spec.data), *_publishing_mounts(spec, origin)]
    trainer = container(
        name=TRAINER,
        image=settings.runtime_image,
        command=COMMAND,
        env=settings.runtime_environment | run_environment(run),
        mounts=mounts,
        pod=pod,
        resources=spec.resources.to_manifest(),
        pull_policy=settings.image_pull_policy,
    )
    if spec.sklearn and spec.sklearn.search:
        trainer["ports"] = [{"name": PORT_NAME, "containerPort": places.CONTROL_PORT, "protocol": "TCP"}]
    return pod_template(labels=identity.labels(TRAINER), containers=[trainer], mounts=mounts, pod=pod)


def _own_container_pod(
    spec: TrainingJobSpec, origin: Origin, identity: Identity, settings: Settings, run: wire.Run
) -> Manifest:
    pod = spec.pod.to_manifest()
    output = empty_mount("perennial-output", places.OUTPUT)
    shared: list[Mount | None] = [scratch_mount(), output, *_data_mounts(spec.data)]
    publishing = [*shared, *_publishing_mounts(spec, origin)]
    publisher = container(
        name=PUBLISHER,
        image=settings.runtime_image,
        command=(*COMMAND, "publish"),
        env=settings.runtime_environment | run_environment(run) | {places.OUTPUT_ENV: places.OUTPUT},
        mounts=publishing,
        pod=pod,
        resources=_compute(spec),
        pull_policy=settings.image_pull_policy,
    )
    return pod_template(
        labels=identity.labels(TRAINER),
        init_containers=[_own_container(spec, shared, _checkpoint(origin, identity), pod)],
        containers=[publisher],
        mounts=publishing,
        pod=pod,
    )


def _checkpoint(origin: Origin, identity: Identity) -> Manifest | None:
    """The mount of a folder that outlives the run's pods: of the store's claim it sees no more, since versions are not
    an own container's to touch."""
    claim = uri_mount(origin.store.uri)
    folder = places.checkpoint_of(f"{origin.store.uri.rstrip('/')}/{identity.path(origin.version)}")
    return {"name": claim.name, "mountPath": places.CHECKPOINT, "subPath": folder} if claim and folder else None


def _own_container(
    spec: TrainingJobSpec, mounts: list[Mount | None], checkpoint: Manifest | None, pod: Manifest
) -> Manifest:
    """The user's container with what the operator gives it: data, a place for its output, and the pod's settings."""
    assert spec.template is not None
    own = spec.template.spec.containers[0]
    env = {places.OUTPUT_ENV: places.OUTPUT}
    if spec.data:
        env[places.DATA_ENV] = places.mounted_path(spec.data.uri) or spec.data.uri
    if checkpoint:
        env[places.CHECKPOINT_ENV] = places.CHECKPOINT
    said = {"name": own.name} | own.to_manifest()
    made = own_container(said, env=env, mounts=mounts, pod=pod, resources=spec.resources.to_manifest())
    return made | {"volumeMounts": made["volumeMounts"] + ([checkpoint] if checkpoint else [])}


def run_environment(run: wire.Run) -> dict[str, str]:
    return {places.RUN_ENV: msgspec.json.encode(run).decode()}


def store_mounts(origin: Origin, *, read_only: bool) -> list[Mount | None]:
    secret = secret_mount(origin.store.secret, places.STORE_SECRET) if origin.store.secret else None
    return [uri_mount(origin.store.uri, read_only=read_only), secret]


def _publishing_mounts(spec: TrainingJobSpec, origin: Origin) -> list[Mount | None]:
    """What it takes to publish a version and to tell the tracker of it: nothing that an own container is given."""
    secret = spec.tracking.mlflow.secret_ref if spec.tracking else None
    tracking = secret_mount(secret.name, places.TRACKING_SECRET) if secret else None
    return [*store_mounts(origin, read_only=False), tracking]


def _data_mounts(data: Data | None) -> list[Mount | None]:
    if data is None:
        return []
    secret = secret_mount(data.secret_ref.name, places.DATA_SECRET) if data.secret_ref else None
    return [uri_mount(data.uri), secret]


def _compute(spec: TrainingJobSpec) -> Manifest:
    """The publisher runs after the container that trains, so that asking for as much reserves nothing more."""
    said: dict[str, dict[str, Any]] = spec.resources.to_manifest()
    return {kind: {name: amounts[name] for name in _COMPUTE if name in amounts} for kind, amounts in said.items()}


def _wire_run(
    spec: TrainingJobSpec, origin: Origin, identity: Identity, settings: Settings, champion: wire.Accepted | None
) -> wire.Run:
    rule = spec.acceptance.champion
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
        data=_wire_data(spec.data) if spec.data else None,
        sklearn=_wire_sklearn(spec),
        container=_wire_container(spec),
        seed=spec.seed,
        refit=spec.sklearn.refit if spec.sklearn else False,
        metrics=[wire.Bound(bound.name, bound.min, bound.max) for bound in spec.acceptance.metrics],
        slices=[wire.Slices(each.column, each.metric, each.max_gap) for each in spec.acceptance.slices],
        champion=wire.Champion(rule.metric, rule.margin, champion) if rule else None,
        before=champion,
        mlflow=_wire_mlflow(spec),
    )


def _wire_mlflow(spec: TrainingJobSpec) -> wire.Mlflow | None:
    return wire.Mlflow(spec.tracking.mlflow.uri, spec.tracking.mlflow.experiment) if spec.tracking else None


def _wire_container(spec: TrainingJobSpec) -> wire.Container | None:
    if spec.template is None:
        return None
    own = spec.template.spec.containers[0]
    return wire.Container(own.image, list(own.command), list(own.args))


def _wire_data(data: Data) -> wire.Data:
    return wire.Data(
        uri=data.uri,
        target=data.target or "",
        features=list(data.features),
        time=data.time,
        window_seconds=data.window.seconds if data.window else None,
        test=wire.Test(data.test.fraction, data.test.split, data.test.group, data.test.folds),
        expect={name: _wire_expectation(column) for name, column in data.expect.columns.items()} if data.expect else {},
    )


def _wire_expectation(column: ColumnExpectation) -> wire.Expectation:
    return wire.Expectation(
        type=column.type,
        values=None if column.values is None else list(column.values),
        min=column.min,
        max=column.max,
        nulls=None if column.nulls is None else column.nulls.fraction,
        unique=bool(column.unique),
    )


def _wire_sklearn(spec: TrainingJobSpec) -> wire.Sklearn | None:
    if spec.sklearn is None:
        return None
    said = spec.sklearn
    return wire.Sklearn(
        said.estimator,
        said.parameters,
        said.preprocessing,
        said.calibration,
        wire.Search(**said.search.model_dump()) if said.search else None,
        [wire.Step(step.transformer, step.parameters) for step in said.steps],
    )
