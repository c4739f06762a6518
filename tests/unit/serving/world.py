"""A cluster in memory for one ModelDeployment: what the API server keeps, what Deployments and nodes do with it.

Writes go through one by one, so that a test can stop after any of them, and each is checked: no ready pod may be taken
that is needed.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from perennial.kube.plan import Child, Deletion, Event, Manifest, Plan, Problem
from perennial.serving.autoscaler import Load, Sample
from perennial.serving.observe import Observed, observe
from perennial.serving.plan import is_measured, plan
from perennial.serving.readings import Readings
from perennial.serving.scaling import remembered
from perennial.settings import Settings
from perennial.wire.stats import Challenger, Comparison, Pairs, Stats, Stretch

NAMESPACE = "team"
STORE = "pvc://perennial-models"


@dataclass
class Pod:
    """A pod of the simulated node, with its counters."""

    name: str
    uid: str
    revision: str
    created: datetime
    ready_since: datetime | None = None
    stats: Stats = field(default_factory=lambda: Stats("i", "m", 0.0))

    def manifest(self) -> Manifest:
        ready = {
            "type": "Ready",
            "status": "True" if self.ready_since else "False",
            "lastTransitionTime": (self.ready_since or self.created).isoformat(),
        }
        return {
            "metadata": {
                "name": self.name,
                "uid": self.uid,
                "creationTimestamp": self.created.isoformat(),
                "labels": {"perennial.dev/revision": self.revision},
            },
            "status": {"podIP": "10.0.0.1", "conditions": [ready]},
        }


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


class World:
    """`spec` is the ModelDeployment's; the TrainingJob `flights` has the versions that `accept` made."""

    def __init__(self, spec: dict[str, Any] | None = None, settings: Settings | None = None) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.settings = settings or Settings()
        self.manifest: Manifest = {
            "apiVersion": "perennial.dev/v1alpha1",
            "kind": "ModelDeployment",
            "metadata": {
                "name": "flights",
                "namespace": NAMESPACE,
                "uid": "md-uid",
                "generation": 1,
                "annotations": {},
            },
            "spec": {"model": {"trainingJob": "flights"}, **(spec or {})},
            "status": {"observedGeneration": -1},
        }
        self.trainingjob: Manifest | None = {
            "metadata": {"name": "flights", "namespace": NAMESPACE, "uid": "tj-uid"},
            "status": {},
        }
        self.versions: dict[int, Manifest] = {}
        self.objects: dict[tuple[str, str], Manifest] = {}
        self.pods: list[Pod] = []
        self.events: list[Event] = []
        self.log: tuple[Sample, ...] = ()
        self.load: Load = Load()
        self.monitors: list[Manifest] = []
        self.broken: set[str] = set()
        """Revisions whose pods never become ready."""
        self.writes = 0
        self.check: Callable[[World, str, int], None] = lambda world, revision, replicas: None
        self._serial = 0

    # ---- what people and the other controllers do ----

    def accept(
        self, version: int, trigger: str = "Requested", outcome: str = "Accepted", name: str | None = None
    ) -> str:
        """A version of the TrainingJob; the answer is its sha256."""
        digest = sha(name or f"model {version}")
        assert self.trainingjob is not None
        self.versions[version] = {
            "metadata": {"name": f"flights-v{version}"},
            "revision": version,
            "data": {
                "result": {
                    "version": version,
                    "outcome": outcome,
                    "model": {
                        "uri": f"{STORE}/{NAMESPACE}/flights/v{version}",
                        "sha256": digest,
                        "seal": sha(f"seal {version}"),
                        "size": 1000,
                        "engine": "onnx",
                    },
                },
                "trigger": {"type": trigger},
                "store": {"uri": STORE},
            },
        }
        status = self.trainingjob["status"]
        status["latestVersion"] = version
        if outcome == "Accepted":
            status["acceptedVersion"] = version
        return digest

    def respec(self, **fields: Any) -> None:
        self.manifest["spec"] = {**self.manifest["spec"], **fields}
        self.manifest["metadata"]["generation"] += 1

    def annotate(self, verb: str, token: str) -> None:
        self.manifest["metadata"]["annotations"][f"perennial.dev/{verb}"] = token

    def lose_status(self) -> None:
        self.manifest["status"] = {"observedGeneration": -1}

    def ask_to_go_back(self, request: str, **changes: Any) -> None:
        """A DriftMonitor has proof that the version before would do better."""
        stable, before = self.status.get("stable", {}), self.status.get("previous", {})
        asked = {
            "id": request,
            "action": "Rollback",
            "deployment": "flights",
            "model": stable.get("sha256"),
            "previous": {"sha256": before.get("sha256", sha("nothing"))},
            "reason": "Harm: the loss is 0.4, that of the version before 0.1",
            "createdAt": self.now.isoformat(),
            "expiresAt": (self.now + timedelta(hours=1)).isoformat(),
            "state": "Pending",
            **changes,
        }
        metadata = {"name": "flights", "namespace": NAMESPACE, "uid": "dm-uid"}
        self.monitors = [{"metadata": metadata, "status": {"observedGeneration": 1, "requests": [asked]}}]

    def serve(self, revision: str, requests: int, errors: int = 0, **pairs: float) -> None:
        """Requests that the first pod of a revision answers; `pairs` are fields of Comparison."""
        pod = next(pod for pod in self.pods if pod.revision == revision)
        stable = self.status["stable"]["sha256"]
        before = pod.stats.comparison or Comparison(companion=stable)
        compared = msgspec.structs.replace(
            before, companion=stable, **{name: getattr(before, name) + more for name, more in pairs.items()}
        )
        pod.stats = Stats(
            "i",
            "m",
            0.0,
            requests=pod.stats.requests + requests,
            errors=pod.stats.errors + errors,
            comparison=compared if pairs or pod.stats.comparison else None,
        )

    def challenge(self, revision: str, challenger: str, moments: dict[int, Pairs]) -> None:
        """Labels of another model's that came to the first pod of a stable revision, by the second of their rows."""
        pod = next(pod for pod in self.pods if pod.revision == revision)
        stable = self.status["stable"]["sha256"]
        stretches = {moment: Stretch(moment, moment, pairs) for moment, pairs in moments.items()}
        pod.stats = msgspec.structs.replace(pod.stats, model=stable, challengers={challenger: Challenger(stretches)})

    # ---- what Kubernetes does ----

    def settle_pods(self) -> None:
        """Deployments make and remove pods; the node makes pods ready."""
        self.run_deployments()
        self.make_ready()

    def run_deployments(self) -> None:
        for deployment in self.deployments().values():
            revision = deployment["metadata"]["labels"]["perennial.dev/revision"]
            pods = [pod for pod in self.pods if pod.revision == revision]
            surplus = len(pods) - deployment["spec"]["replicas"]
            for _ in range(-surplus):
                self._serial += 1
                self.pods.append(Pod(f"pod-{self._serial}", f"pod-{self._serial}", revision, self.now))
            # The ReplicaSet controller takes what is not ready first.
            for pod in sorted(pods, key=lambda pod: pod.ready_since is not None)[: max(0, surplus)]:
                self.pods.remove(pod)
        owned = {d["metadata"]["labels"]["perennial.dev/revision"] for d in self.deployments().values()}
        self.pods = [pod for pod in self.pods if pod.revision in owned]

    def make_ready(self) -> None:
        for pod in self.pods:
            if pod.ready_since is None and pod.revision not in self.broken:
                pod.ready_since = self.now

    def pass_time(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    # ---- the engine ----

    def observe(self) -> Observed:
        of_kind = {
            kind: [copy.deepcopy(m) for (k, _), m in self.objects.items() if k == kind]
            for kind in ("ControllerRevision", "Deployment")
        }
        model = self.manifest["spec"]["model"]
        accepted = (self.trainingjob or {}).get("status", {}).get("acceptedVersion")
        observed = observe(
            copy.deepcopy(self.manifest),
            settings=self.settings,
            revisions=of_kind["ControllerRevision"],
            deployments=of_kind["Deployment"],
            pods=[pod.manifest() for pod in self.pods],
            trainingjob=self.trainingjob if model.get("trainingJob") else None,
            version_record=self.versions.get(model.get("version") or accepted or 0) if self.trainingjob else None,
            monitors=self.monitors,
        )
        if not is_measured(observed) or observed.spec is None:
            return observed
        stats: dict[str, list[Stats]] = {}
        for pod in self.pods:
            stats.setdefault(pod.revision, []).append(pod.stats)
        readings = Readings(stats=stats, load=self.load)
        self.log = remembered(observed, observed.spec, self.log, readings, self.now)
        return replace(observed, readings=readings, scaling_log=self.log)

    def reconcile(self, problems: tuple[Problem, ...] = (), stop_after: int | None = None) -> Plan:
        """One reconcile. The operator dies after `stop_after` writes."""
        planned = plan(self.observe(), problems, self.now)
        self._apply(planned, stop_after)
        return planned

    def _apply(self, planned: Plan, stop_after: int | None) -> None:
        left = 10**6 if stop_after is None else stop_after
        writes: list[Child | Deletion] = [*planned.children, *planned.deletions]
        for write in writes:
            if not self._differs(write):
                continue
            if not left:
                return
            left -= 1
            self.writes += 1
            self._write(write)
        if not left:
            return
        if planned.status is not None and planned.status != self.manifest["status"]:
            self.writes += 1
            self.manifest["status"] = copy.deepcopy(planned.status)
        self.events.extend(planned.events)

    def _differs(self, write: Child | Deletion) -> bool:
        if isinstance(write, Deletion):
            return (write.resource.kind, write.name) in self.objects
        manifest = write.manifest
        known = self.objects.get((manifest["kind"], manifest["metadata"]["name"]))
        return known is None or _without_uid(known) != manifest

    def _write(self, write: Child | Deletion) -> None:
        if isinstance(write, Deletion):
            gone = self.objects.pop((write.resource.kind, write.name))
            assert gone["metadata"]["uid"] == write.uid
            return
        manifest = copy.deepcopy(write.manifest)
        key = (manifest["kind"], manifest["metadata"]["name"])
        known = self.objects.get(key)
        if manifest["kind"] == "ControllerRevision" and known:
            assert known["data"] == manifest["data"], "the data of a ControllerRevision is immutable"
        if manifest["kind"] == "Deployment":
            revision = manifest["metadata"]["labels"]["perennial.dev/revision"]
            if known:
                assert known["spec"]["template"] == manifest["spec"]["template"], "a running template was changed"
            self.check(self, revision, manifest["spec"]["replicas"])
        self._serial += 1
        manifest["metadata"]["uid"] = known["metadata"]["uid"] if known else f"uid-{self._serial}"
        self.objects[key] = manifest

    def run(self, rounds: int = 60, seconds: float = 3) -> None:
        """Reconcile, let Kubernetes act, let time pass, until nothing is written any more."""
        for _ in range(rounds):
            before = self.writes
            self.reconcile()
            pods = [(pod.name, pod.ready_since) for pod in self.pods]
            self.settle_pods()
            self.pass_time(seconds)
            if self.writes == before and pods == [(pod.name, pod.ready_since) for pod in self.pods]:
                return

    # ---- what a test asks ----

    @property
    def status(self) -> Manifest:
        status: Manifest = self.manifest["status"]
        return status

    def deployments(self) -> dict[str, Manifest]:
        return {name: manifest for (kind, name), manifest in self.objects.items() if kind == "Deployment"}

    def replicas(self) -> dict[int | None, int]:
        """Replicas by version."""
        by_version: dict[int | None, int] = {}
        for deployment in self.deployments().values():
            revision = deployment["metadata"]["labels"]["perennial.dev/revision"]
            by_version[self.version_of(revision)] = deployment["spec"]["replicas"]
        return by_version

    def version_of(self, revision: str) -> int | None:
        record = self.objects.get(("ControllerRevision", f"flights-{revision}"))
        version: int | None = json.loads(record["data"]["model"]).get("version") if record else None
        return version

    def condition(self, kind: str) -> Manifest | None:
        return next((one for one in self.status.get("conditions", []) if one["type"] == kind), None)

    def message(self, kind: str) -> str:
        return str((self.condition(kind) or {}).get("message", ""))

    def says(self, kind: str) -> tuple[str, str] | None:
        found = self.condition(kind)
        return (found["status"], found["reason"]) if found else None

    def stable(self) -> int | None:
        version: int | None = self.status.get("stable", {}).get("version")
        return version

    def candidate(self) -> str:
        revision: str = self.status["candidate"]["revision"]
        return revision


def _without_uid(manifest: Manifest) -> Manifest:
    metadata = {key: value for key, value in manifest["metadata"].items() if key != "uid"}
    return {**manifest, "metadata": metadata}
