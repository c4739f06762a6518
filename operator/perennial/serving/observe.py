"""Everything that a ModelDeployment's plan is decided on, as one immutable record."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from perennial.api.driftmonitor_status import ActionRequest
from perennial.api.labels import REVISION
from perennial.api.modeldeployment import ModelDeploymentSpec
from perennial.api.modeldeployment_status import ModelDeploymentStatus
from perennial.api.requests import MonitorSeen, newest, seen
from perennial.api.validation import InvalidSpecError, parse_spec, parse_status
from perennial.kube.plan import Manifest
from perennial.settings import Settings

from .autoscaler import Sample
from .digest import means_the_same, server_digest
from .moves import roles
from .names import Identity
from .pods import ServerPod, read_pod
from .readings import Readings
from .revision import Revision, read, recovered, revision_for
from .rollback import follows, stand_in
from .situation import Target
from .source import Awaited, model_of, source_of


@dataclass(frozen=True, slots=True)
class Observed:
    """The ModelDeployment and what concerns it. `spec` is None where `invalid` says what is wrong with it; `target` is
    the revision that the spec asks for, or why there is none. `unreadable` ControllerRevisions are left as they are.
    `requests` are the newest of each DriftMonitor that asks something of it."""

    identity: Identity
    manifest: Manifest
    settings: Settings
    spec: ModelDeploymentSpec | None
    invalid: str | None
    status: ModelDeploymentStatus
    target: Target | Awaited | None = None
    revisions: Mapping[str, Revision] = field(default_factory=dict)
    deployments: Mapping[str, Manifest] = field(default_factory=dict)
    pods: tuple[ServerPod, ...] = ()
    readings: Readings = field(default_factory=Readings)
    scaling_log: tuple[Sample, ...] = ()
    requests: tuple[tuple[MonitorSeen, ActionRequest], ...] = ()

    @property
    def generation(self) -> int:
        return int(self.manifest["metadata"].get("generation", 0))

    @property
    def annotations(self) -> Mapping[str, str]:
        return self.manifest["metadata"].get("annotations") or {}

    @property
    def stable(self) -> Revision | None:
        return roles(self.revisions)[0]

    @property
    def candidate(self) -> Revision | None:
        return roles(self.revisions)[1]

    @property
    def handled(self) -> frozenset[tuple[str, str]]:
        """Requests of DriftMonitors that were taken, by the monitor's uid. Records tell of those that no status came to
        tell of."""
        recorded = (revision.record.taken for revision in self.revisions.values())
        return frozenset(
            [*self.status.handled.monitors.items(), *((taken.monitor, taken.request) for taken in recorded if taken)]
        )

    def asked(self, revision: str) -> int:
        """The replicas of a revision's Deployment, 0 where there is none."""
        deployment = self.deployments.get(revision)
        return int(deployment["spec"].get("replicas", 1)) if deployment else 0


def observe(
    manifest: Manifest,
    *,
    settings: Settings,
    revisions: Iterable[Manifest] = (),
    deployments: Iterable[Manifest] = (),
    pods: Iterable[Manifest] = (),
    trainingjob: Manifest | None = None,
    version_record: Manifest | None = None,
    monitors: Iterable[Manifest] = (),
) -> Observed:
    """The record of a ModelDeployment, before anything is measured. Revisions and Deployments are those that carry its
    uid as owner, `monitors` the DriftMonitors that ask something of it."""
    metadata = manifest["metadata"]
    identity = Identity(metadata["namespace"], metadata["name"], metadata["uid"], manifest)
    spec, invalid = _spec(manifest)
    by_revision = {_revision_of(deployment): deployment for deployment in deployments}
    known = _revisions(revisions, by_revision)
    target: Target | Awaited | None = None
    if spec:
        target = _target(manifest["spec"], spec, known, trainingjob, version_record)
    return Observed(
        identity=identity,
        manifest=manifest,
        settings=settings,
        spec=spec,
        invalid=invalid,
        status=parse_status(ModelDeploymentStatus, manifest),
        target=target,
        revisions=known,
        deployments=by_revision,
        pods=tuple(sorted((read_pod(pod) for pod in pods), key=lambda pod: pod.name)),
        requests=newest(seen(monitors), lambda request: request.deployment == identity.name),
    )


def _spec(manifest: Manifest) -> tuple[ModelDeploymentSpec | None, str | None]:
    try:
        return parse_spec(ModelDeploymentSpec, manifest), None
    except InvalidSpecError as error:
        return None, str(error)


def _revision_of(manifest: Manifest) -> str:
    return str((manifest["metadata"].get("labels") or {}).get(REVISION, ""))


def _revisions(manifests: Iterable[Manifest], deployments: Mapping[str, Manifest]) -> dict[str, Revision]:
    """The revisions by name: those that are kept, and those of which somebody deleted the ControllerRevision while
    their pods run."""
    kept = {revision.name: revision for manifest in manifests if (revision := read(manifest))}
    newest = max(kept.values(), key=lambda revision: revision.record.promotion, default=None)
    stable_is_lost = newest is None or newest.name not in deployments
    promotion = (newest.record.promotion if newest else 0) + 1 if stable_is_lost else 0
    lost = [recovered(deployment, promotion) for name, deployment in deployments.items() if name not in kept]
    return kept | {revision.name: revision for revision in lost if revision}


def _target(
    stored: Manifest,
    spec: ModelDeploymentSpec,
    revisions: Mapping[str, Revision],
    trainingjob: Manifest | None,
    record: Manifest | None,
) -> Target | Awaited:
    model = model_of(spec, trainingjob, record)
    digest, source = _digest(stored, revisions), source_of(spec.model)
    wanted = None if isinstance(model, Awaited) else model
    if follows(spec.model) and (other := stand_in(wanted, source, digest, roles(revisions)[0], revisions)):
        instead, of = other
        return Target(revision_for(instead, digest, revisions), digest, source, instead, instead_of=of)
    if isinstance(model, Awaited):
        return model
    return Target(revision_for(model, digest, revisions), digest, source, model)


def _digest(stored: Manifest, revisions: Mapping[str, Revision]) -> str:
    """The server's digest of the spec, in the words of a revision that runs where it means the same."""
    for running in roles(revisions):
        if running and means_the_same(stored, running.digest, running.record.adopted):
            return running.digest
    return server_digest(stored)
