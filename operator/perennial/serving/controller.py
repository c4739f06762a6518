"""The room's door to the engine: which events concern which ModelDeployment, and what is gathered before a plan.

What the meter remembers is the only state, and it is a cache: without it a rollout waits for the next readings.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from perennial.api.labels import MODELDEPLOYMENT, TRAININGJOB
from perennial.api.resources import DRIFTMONITORS, MODELDEPLOYMENTS, TRAININGJOBS
from perennial.api.validation import text_at, value_at
from perennial.kube.cache import Caches
from perennial.kube.controller import Duty, Watch
from perennial.kube.ownership import controller_keys
from perennial.kube.plan import Key, Manifest, Plan, Problem, Resource
from perennial.kube.podclient import PodClient
from perennial.kube.resources import (
    CONTROLLERREVISIONS,
    DEPLOYMENTS,
    NETWORKPOLICIES,
    PODDISRUPTIONBUDGETS,
    PODS,
    SERVICES,
)
from perennial.settings import Settings

from .autoscaler import Sample
from .meter import Meter
from .observe import Observed, observe
from .plan import is_measured, plan
from .scaling import remembered
from .source import version_name, wanted_version

_BY_TRAININGJOB = "serving.trainingjob"
_BY_DEPLOYMENT = "serving.modeldeployment"
"""The index of pods by the deployment that they are of, and of DriftMonitors by those that they ask something of."""


@dataclass(slots=True)
class _Memory:
    """What is remembered of one ModelDeployment between reconciles."""

    uid: str
    meter: Meter = field(default_factory=Meter)
    scaling_log: tuple[Sample, ...] = ()


class ServingController:
    """ModelDeployments."""

    primary: Resource = MODELDEPLOYMENTS
    duties: Sequence[Duty] = ()

    def __init__(
        self,
        caches: Caches,
        settings: Settings,
        pods: PodClient,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._caches = caches
        self._settings = settings
        self._pods = pods
        self._clock = clock
        self._monotonic = monotonic
        self._memories: dict[Key, _Memory] = {}
        caches.of(MODELDEPLOYMENTS).add_index(_BY_TRAININGJOB, _trainingjob_of)
        caches.of(PODS).add_index(_BY_DEPLOYMENT, _deployment_of)
        caches.of(DRIFTMONITORS).add_index(_BY_DEPLOYMENT, _deployments_asked)
        self.watches: Sequence[Watch] = (
            *(Watch(resource, _owner) for resource in (DEPLOYMENTS, SERVICES, PODDISRUPTIONBUDGETS, NETWORKPOLICIES)),
            Watch(CONTROLLERREVISIONS, self._revision_keys),
            Watch(PODS, _pod_keys),
            Watch(TRAININGJOBS, self._followers),
            Watch(DRIFTMONITORS, _asked_keys),
        )

    async def observe(self, key: Key) -> Observed | None:
        manifest = self._caches.of(MODELDEPLOYMENTS).get(key.namespace, key.name)
        if manifest is None or "deletionTimestamp" in manifest["metadata"]:
            self._memories.pop(key, None)
            return None
        uid = manifest["metadata"]["uid"]
        trainingjob = self._trainingjob(manifest)
        observed = observe(
            manifest,
            settings=self._settings,
            revisions=self._caches.of(CONTROLLERREVISIONS).owned_by(uid),
            deployments=self._caches.of(DEPLOYMENTS).owned_by(uid),
            pods=self._caches.of(PODS).by(_BY_DEPLOYMENT, str(key)),
            trainingjob=trainingjob,
            version_record=self._version_record(manifest, trainingjob),
            monitors=self._caches.of(DRIFTMONITORS).by(_BY_DEPLOYMENT, str(key)),
        )
        if not is_measured(observed):
            # A revision that comes back later is not judged by what its former pods counted.
            self._memories.pop(key, None)
            return observed
        return await self._measured(key, uid, observed)

    def plan(self, observed: Observed, problems: tuple[Problem, ...], now: datetime) -> Plan:
        return plan(observed, problems, now)

    async def _measured(self, key: Key, uid: str, observed: Observed) -> Observed:
        memory = self._memories.get(key)
        if memory is None or memory.uid != uid:
            memory = self._memories[key] = _Memory(uid)
        readings = await memory.meter.read(self._pods, observed.pods, judging(observed), self._monotonic())
        assert observed.spec is not None
        memory.scaling_log = remembered(observed, observed.spec, memory.scaling_log, readings, self._clock())
        return replace(observed, readings=readings, scaling_log=memory.scaling_log)

    def _trainingjob(self, manifest: Manifest) -> Manifest | None:
        name = text_at(manifest, "spec", "model", "trainingJob")
        return self._caches.of(TRAININGJOBS).get(manifest["metadata"]["namespace"], name) if name else None

    def _version_record(self, manifest: Manifest, trainingjob: Manifest | None) -> Manifest | None:
        version = wanted_version(value_at(manifest, "spec", "model", "version"), trainingjob)
        if trainingjob is None or version is None:
            return None
        namespace = trainingjob["metadata"]["namespace"]
        return self._caches.of(CONTROLLERREVISIONS).get(namespace, version_name(trainingjob, version))

    def _revision_keys(self, manifest: Manifest) -> Iterable[Key]:
        """The owner of one of ours; the followers of the TrainingJob whose version it tells of."""
        trainingjob = (manifest["metadata"].get("labels") or {}).get(TRAININGJOB)
        if trainingjob is None:
            return _owner(manifest)
        return self._followers_of(manifest["metadata"]["namespace"], trainingjob)

    def _followers(self, trainingjob: Manifest) -> Iterable[Key]:
        return self._followers_of(trainingjob["metadata"]["namespace"], trainingjob["metadata"]["name"])

    def _followers_of(self, namespace: str, trainingjob: str) -> Iterable[Key]:
        following = self._caches.of(MODELDEPLOYMENTS).by(_BY_TRAININGJOB, f"{namespace}/{trainingjob}")
        return [Key(namespace, manifest["metadata"]["name"]) for manifest in following]


def judging(observed: Observed) -> frozenset[str]:
    """The revisions by whose pods a candidate is judged, those that are gone among them: its own, and all that serve
    the stable model, to which labels of its predictions come."""
    if observed.candidate is None:
        return frozenset()
    stable = observed.stable.model.sha256 if observed.stable else None
    companions = (name for name, revision in observed.revisions.items() if revision.model.sha256 == stable)
    return frozenset((observed.candidate.name, *companions))


def _owner(manifest: Manifest) -> Iterable[Key]:
    return controller_keys(manifest, MODELDEPLOYMENTS.kind)


def _pod_keys(manifest: Manifest) -> Iterable[Key]:
    name = (manifest["metadata"].get("labels") or {}).get(MODELDEPLOYMENT)
    return (Key(manifest["metadata"]["namespace"], name),) if name else ()


def _deployment_of(manifest: Manifest) -> Iterable[str]:
    return (str(key) for key in _pod_keys(manifest))


def _asked_keys(monitor: Manifest) -> Iterable[Key]:
    """The deployments that a DriftMonitor's requests are for."""
    requests = value_at(monitor, "status", "requests")
    names = {text_at(request, "deployment") for request in requests} if isinstance(requests, list) else set()
    return [Key(monitor["metadata"]["namespace"], name) for name in sorted(filter(None, names))]


def _deployments_asked(monitor: Manifest) -> Iterable[str]:
    return (str(key) for key in _asked_keys(monitor))


def _trainingjob_of(manifest: Manifest) -> Iterable[str]:
    name = text_at(manifest, "spec", "model", "trainingJob")
    return (f"{manifest['metadata']['namespace']}/{name}",) if name else ()
