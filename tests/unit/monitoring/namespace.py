"""A namespace in memory for the monitoring room's controller: caches, server pods that keep their epochs, and time."""

from __future__ import annotations

import asyncio
import copy
import itertools
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec
import numpy as np
from prometheus_client import CollectorRegistry

from perennial.api.resources import DRIFTMONITORS, MODELDEPLOYMENTS, TRAININGJOBS
from perennial.kube.cache import Caches
from perennial.kube.plan import Key, Mode, Plan, Resource
from perennial.kube.podclient import PodUnreachable
from perennial.kube.resources import PODS
from perennial.monitoring.controller import MonitoringController
from perennial.settings import Settings
from perennial.wire.counts import EPOCHS_PATH, REFERENCE_PATH, Epoch, Epochs, ModelCounts, Take
from perennial.wire.journal import JOURNAL_PATH, Keep, Kept
from perennial.wire.reference import Reference

from . import worlds

KEY = Key("team-a", "flights")
AnswerT = TypeVar("AnswerT")
START = 1_700_000_000.0


class ServerPod:
    """A server pod's control port, as `wire/counts.py` has it."""

    def __init__(self, uid: str, reference: Reference | None, model: str = worlds.MODEL) -> None:
        self.uid = uid
        self.reference = reference
        self.model = model
        self.served = 0
        self.number = 0
        self.open = 0
        self.kept: list[Epoch] = []
        self.ended = False
        """Whether it answers no more requests."""
        self.asked = 0
        self.key: str | None = None
        self.told: list[str | None] = []
        self.columns = reference.columns if reference else []
        self.shift: dict[str, float] = {}
        """By which columns are moved, by name."""
        self.rng = np.random.default_rng(len(uid))

    def serve(self, rows: int) -> None:
        self.served += rows
        self.open += rows

    def take(self, take: Take, now: float) -> Epochs:
        self.asked += 1
        if not take.close:
            return self._answer()
        if take.incarnation == self.uid:
            self.kept = [epoch for epoch in self.kept if epoch.number > take.acknowledge]
        if self.open:
            self.number += 1
            cells = [
                cell
                for column in self.columns
                for cell in worlds.draw(column, self.rng, self.open, shift=self.shift.get(column.name, 0.0))
            ]
            self.kept.append(Epoch(self.number, now - 15, now, {self.model: ModelCounts(self.open, cells)}))
            self.open = 0
        return self._answer()

    def _answer(self) -> Epochs:
        return Epochs(self.uid, self.model, list(self.kept), self.ended, self.served - self.open, self.key)

    def keep(self, key: str | None) -> None:
        self.key = key
        self.told.append(key)


class Cluster:
    """Caches, pods and time. It carries out a plan's writes, as many as the operator lives for."""

    def __init__(self, settings: Settings | None = None, **spec: Any) -> None:
        self.settings = settings or Settings()
        self.versions = itertools.count(1)
        self.now = START
        self.objects: dict[tuple[Resource, str], dict[str, Any]] = {}
        self.pods: dict[str, ServerPod] = {}
        self.unreachable: set[str] = set()
        rng = np.random.default_rng(5)
        columns = [worlds.numeric(name, rng) for name in ("x", "y", "(score)")]
        self.reference = worlds.reference(columns, loss=worlds.loss(0.1))
        self.restart()
        self.put(DRIFTMONITORS, "flights", spec={"deployment": "flights", "baseline": {"from": "Training"}, **spec})
        self.put(
            MODELDEPLOYMENTS,
            "flights",
            spec={"model": {"trainingJob": "flights"}},
            status={"stable": {"revision": "rev1", "version": 3, "sha256": worlds.MODEL}},
        )
        self.put(TRAININGJOBS, "flights", status={"accepted": {"version": 3, "uri": "u", "sha256": worlds.MODEL}})

    def restart(self) -> None:
        """Another operator, which knows what the API server has and nothing else."""
        self.caches = Caches()
        self.registry = CollectorRegistry()
        self.controller = MonitoringController(self.caches, self.settings, self, self.registry)
        self.controller._watcher._clock = lambda: self.now
        for (resource, _), manifest in self.objects.items():
            self.caches.of(resource).store(manifest)

    def put(self, resource: Resource, name: str, **parts: Any) -> None:
        before = self.objects.get((resource, name), {})
        manifest = {"apiVersion": resource.api_version, "kind": resource.kind, **before, **copy.deepcopy(parts)}
        metadata = {"uid": f"uid-{name}", "creationTimestamp": "2023-11-14T12:00:00Z", "generation": 1}
        metadata |= before.get("metadata", {}) | parts.get("metadata", {})
        manifest["metadata"] = metadata | {
            "namespace": "team-a",
            "name": name,
            "resourceVersion": str(next(self.versions)),
        }
        self.objects[resource, name] = manifest
        self.caches.of(resource).store(manifest)

    def add_pod(self, uid: str, revision: str = "rev1", **metadata: Any) -> ServerPod:
        labels = {"perennial.dev/modeldeployment": "flights", "perennial.dev/revision": revision}
        self.pods.setdefault(uid, ServerPod(uid, self.reference))
        status = {"phase": "Running", "podIP": uid, "conditions": [{"type": "Ready", "status": "True"}]}
        self.put(PODS, f"flights-{uid}", metadata={"uid": uid, "labels": labels, **metadata}, status=status)
        return self.pods[uid]

    def end_pod(self, uid: str) -> None:
        """It is told to end, and has its grace; it serves on for a while."""
        (manifest,) = [m for (_, name), m in self.objects.items() if name == f"flights-{uid}"]
        leaving = {"deletionTimestamp": "2026-03-01T13:00:00Z", "deletionGracePeriodSeconds": 30}
        self.put(PODS, f"flights-{uid}", metadata=manifest["metadata"] | leaving)

    def remove_pod(self, uid: str) -> None:
        manifest = self.objects.pop((PODS, f"flights-{uid}"))
        self.caches.of(PODS).discard_uid("team-a", manifest["metadata"]["name"], uid)
        del self.pods[uid]

    async def get_json(self, ip: str, port: int, path: str, answer: type[AnswerT]) -> AnswerT:
        assert (port, path) == (8081, REFERENCE_PATH)
        reference = self._pod(ip).reference
        if reference is None:
            raise PodUnreachable(f"http://{ip}:8081{path}: answered 404: no reference", 404)
        return msgspec.json.decode(msgspec.json.encode(reference), type=answer)

    async def post_json(self, ip: str, port: int, path: str, body: object, answer: type[AnswerT]) -> AnswerT:
        assert port == 8081
        if path == JOURNAL_PATH:
            assert isinstance(body, Keep)
            self._pod(ip).keep(body.key)
            return msgspec.json.decode(msgspec.json.encode(Kept(body.key)), type=answer)
        assert path == EPOCHS_PATH
        take = msgspec.json.decode(msgspec.json.encode(body), type=Take)
        return msgspec.json.decode(msgspec.json.encode(self._pod(ip).take(take, self.now)), type=answer)

    def _pod(self, uid: str) -> ServerPod:
        if uid in self.unreachable:
            raise PodUnreachable(f"http://{uid} does not answer")
        return self.pods[uid]

    def reconcile(self, *, writes: int = 9, name: str = "flights") -> Plan:
        """Observe, plan and write: the first write is the checkpoint, the last the status."""
        observed = asyncio.run(self.controller.observe(Key("team-a", name)))
        assert observed is not None
        plan = self.controller.plan(observed, (), datetime.fromtimestamp(self.now, UTC))
        for child in plan.children[:writes]:
            name_ = child.manifest["metadata"]["name"]
            manifest = {key: value for key, value in child.manifest.items() if key not in ("apiVersion", "kind")}
            if child.mode is not Mode.TRIAL:
                self.put(child.resource, name_, **manifest)
        if writes > len(plan.children):
            self.put(DRIFTMONITORS, name, status=plan.status)
        return plan

    def parts(self, resource: Resource, name: str) -> dict[str, Any]:
        manifest = self.objects[resource, name]
        return {part: manifest[part] for part in ("spec", "status") if part in manifest}

    @property
    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = self.objects[DRIFTMONITORS, "flights"]["status"]
        return status
