"""A namespace in memory: it carries out a TrainingJob's plans one write at a time, and lets Jobs run, end and get lost.

It stands in for the engine and the API server under unit tests alone; what it does not know (admission, scheduling) is
tested on a real cluster.
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import itertools
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from perennial.kube.plan import Child, Deletion, Mode, Plan, Problem
from perennial.settings import Settings
from perennial.training.observe import Observed, is_for_everyone, observe
from perennial.training.plan import plan
from perennial.wire.result import Model, Result

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SETTINGS = Settings(
    operator_namespace="perennial-system",
    runtime_image="perennial-runtime:1",
    store_uri=None,
    store_size="1Gi",
    storage_class=None,
    store_access_mode="ReadWriteOnce",
    image_pull_policy="IfNotPresent",
)
SPEC: dict[str, Any] = {
    "sklearn": {"estimator": "sklearn.linear_model.LogisticRegression", "parameters": {}},
    "data": {"uri": "configmap://rows/rows.csv", "target": "late"},
}


class Killed(Exception):
    """The operator dies here."""


class World:
    """One TrainingJob `flights` with all that belongs to it."""

    def __init__(self, spec: dict[str, Any] | None = None, **settings: Any) -> None:
        self.now = START
        self.uids = itertools.count(1)
        self.settings = dataclasses.replace(SETTINGS, **settings)
        self.trainingjob: dict[str, Any] = {
            "apiVersion": "perennial.dev/v1alpha1",
            "kind": "TrainingJob",
            "metadata": {
                "namespace": "team-a",
                "name": "flights",
                "uid": "uid-flights",
                "generation": 1,
                "annotations": {},
            },
            "spec": copy.deepcopy(spec or SPEC),
            "status": {"observedGeneration": -1},
        }
        self.objects: dict[tuple[str, str], dict[str, Any]] = {}
        self.monitors: dict[str, dict[str, Any]] = {}
        self.deployments: list[dict[str, Any]] = []
        self.nodes: list[dict[str, Any]] = [{"metadata": {"name": "n1"}, "spec": {}}]
        self.refusals: dict[tuple[str, str], Problem] = {}
        self.tried: list[str] = []
        self.events: list[str] = []
        self.last: Plan = Plan()
        self.starts: list[str] = []
        self.leaving: list[str] = []

    # --- the engine's part

    def observe(self) -> Observed:
        def kind(name: str) -> list[dict[str, Any]]:
            return [manifest for (of, _), manifest in self.objects.items() if of == name]

        uid = self.trainingjob["metadata"]["uid"]
        revisions = kind("ControllerRevision")
        return observe(
            self.trainingjob,
            settings=self.settings,
            jobs=[job for job in kind("Job") if owned(job, uid)],
            pods=kind("Pod"),
            revisions=[revision for revision in revisions if owned(revision, uid)],
            orphans=[revision for revision in revisions if not revision["metadata"].get("ownerReferences")],
            monitors=list(self.monitors.values()),
            deployments=self.deployments,
            schedulable_nodes=sum(is_for_everyone(node) for node in self.nodes),
        )

    def reconcile(self, writes: int | None = None) -> int:
        """One pass of the engine, which dies after so many writes. Returns how many it made."""
        observed = self.observe()
        for name in self.leaving:
            self.remove("Job", name)
        self.leaving.clear()
        problems: list[Problem] = []
        made = plan(observed, (), self.now)
        count = 0

        def write() -> None:
            nonlocal count
            if writes is not None and count >= writes:
                raise Killed
            count += 1

        try:
            for child in made.children:
                problem = self.refusals.get((child.manifest["kind"], child.manifest["metadata"]["name"]))
                if problem:
                    problems.append(problem)
                    continue
                if self._is_missing(child):
                    write()
                    self._create(child)
            if problems:
                made = plan(observed, tuple(problems), self.now)
            for deletion in made.deletions:
                write()
                self._delete(deletion)
            if made.status is not None and made.status != self.trainingjob["status"]:
                write()
                self.trainingjob["status"] = copy.deepcopy(made.status)
                self.events += [f"{event.type} {event.reason}" for event in made.events]
        except Killed:
            return count
        self.last = made
        return count

    def settle(self, rounds: int = 20) -> None:
        """Reconcile until nothing is written."""
        for _ in range(rounds):
            leaving = bool(self.leaving)
            if not self.reconcile() and not leaving:
                return
        raise AssertionError("it never comes to rest")

    def _is_missing(self, child: Child) -> bool:
        if child.mode is Mode.TRIAL:
            self.tried.append(child.manifest["metadata"]["name"])
            return False
        return (child.manifest["kind"], child.manifest["metadata"]["name"]) not in self.objects

    def _create(self, child: Child) -> None:
        manifest = copy.deepcopy(child.manifest)
        manifest["metadata"] |= {"uid": f"uid-{next(self.uids)}", "creationTimestamp": text(self.now)}
        self.objects[manifest["kind"], manifest["metadata"]["name"]] = manifest
        if manifest["kind"] == "Job":
            self.starts.append(manifest["metadata"]["name"])

    def _delete(self, deletion: Deletion) -> None:
        found = self.objects.get((deletion.resource.kind, deletion.name))
        if not found or found["metadata"]["uid"] != deletion.uid:
            return
        if deletion.resource.kind == "Job":
            found["metadata"]["deletionTimestamp"] = text(self.now)
            self.leaving.append(deletion.name)  # its controller takes a finalizer off first
        else:
            self.remove(deletion.resource.kind, deletion.name)

    # --- the cluster's part

    def remove(self, kind: str, name: str) -> None:
        gone = self.objects.pop((kind, name))
        for key in [key for key, child in self.objects.items() if owned(child, gone["metadata"]["uid"])]:
            del self.objects[key]

    def jobs(self, *, unfinished: bool = False) -> list[dict[str, Any]]:
        found = [manifest for (kind, _), manifest in self.objects.items() if kind == "Job"]
        return [job for job in found if not job.get("status", {}).get("conditions")] if unfinished else found

    def job(self, version: int, suffix: str = "") -> dict[str, Any]:
        return next(job for job in self.jobs() if job["metadata"]["name"].endswith(f"-v{version}{suffix}"))

    def pod(self, job: dict[str, Any], status: dict[str, Any], **spec: Any) -> dict[str, Any]:
        """A pod of the Job, in this state."""
        pods = [p for (kind, _), p in self.objects.items() if kind == "Pod" and owned(p, job["metadata"]["uid"])]
        name = f"{job['metadata']['name']}-{len(pods)}"
        manifest = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": name,
                "namespace": "team-a",
                "uid": f"uid-{next(self.uids)}",
                "creationTimestamp": text(self.now),
                "ownerReferences": [{"uid": job["metadata"]["uid"], "kind": "Job", "name": job["metadata"]["name"]}],
            },
            "spec": {**job["spec"]["template"]["spec"], **spec},
            "status": status,
        }
        self.objects["Pod", name] = manifest
        return manifest

    def run_pod(self, job: dict[str, Any]) -> dict[str, Any]:
        name = main_container(job)
        return self.pod(
            job, {"phase": "Running", "containerStatuses": [{"name": name, "state": {"running": {}}}]}, nodeName="n1"
        )

    def end_pod(self, job: dict[str, Any], *, code: int = 0, message: str = "", reason: str | None = None) -> None:
        """The Job's pod has ended."""
        ended = {
            "exitCode": code,
            "message": message,
            "reason": reason or ("Completed" if code == 0 else "Error"),
            "startedAt": text(self.now - timedelta(seconds=60)),
            "finishedAt": text(self.now),
        }
        statuses = [{"name": main_container(job), "state": {"terminated": ended}}]
        phase = "Succeeded" if code == 0 else "Failed"
        self.pod(job, {"phase": phase, "containerStatuses": statuses}, nodeName="n1")

    def end_job(self, job: dict[str, Any], *, failed: str | None = None, message: str = "") -> None:
        """The Job has finished: Complete, or failed for this reason."""
        condition = {
            "type": "Failed" if failed else "Complete",
            "status": "True",
            "reason": failed or "CompletionsReached",
            "message": message,
            "lastTransitionTime": text(self.now),
        }
        job["status"] = {"conditions": [condition], "startTime": job["metadata"]["creationTimestamp"]}

    def finish(self, version: int, result: Result | None = None) -> None:
        """The run ends as told: with this result, or accepted."""
        job = self.job(version)
        self.end_pod(job, message=encoded(result or accepted(version)))
        self.end_job(job)

    # --- people's part

    def annotate(self, token: str) -> None:
        self.trainingjob["metadata"]["annotations"]["perennial.dev/run"] = token

    def edit(self, **spec: Any) -> None:
        self.trainingjob["spec"] |= spec
        self.trainingjob["metadata"]["generation"] += 1

    def monitor(self, name: str, *, requests: Iterable[tuple[str, int]] = (), fault: bool = False) -> None:
        """A DriftMonitor with these requests (id, accepted version that it knew), the last one the newest."""
        condition = {
            "type": "DataFault",
            "status": "True" if fault else "False",
            "observedGeneration": 1,
            "lastTransitionTime": text(self.now),
            "reason": "ValuesMissing",
            "message": "carrier is missing in 40% of the rows.",
        }
        listed = [
            {
                "id": request,
                "trainingJob": "flights",
                "model": digest("served"),
                "acceptedVersion": version,
                "reason": "Harm",
                "createdAt": text(self.now + timedelta(seconds=index)),
                "expiresAt": text(self.now + timedelta(hours=6)),
                "state": "Open",
            }
            for index, (request, version) in enumerate(requests)
        ]
        self.monitors[name] = {
            "metadata": {"name": name, "namespace": "team-a", "uid": f"uid-{name}"},
            "status": {"trainingJob": "flights", "requests": listed, "conditions": [condition]},
        }

    # --- what can be seen

    @property
    def status(self) -> dict[str, Any]:
        return dict(self.trainingjob["status"])

    def condition(self, kind: str) -> dict[str, Any] | None:
        return next((c for c in self.status.get("conditions", []) if c["type"] == kind), None)

    def state(self, version: int) -> str:
        return next(str(run["state"]) for run in self.status["runs"] if run["version"] == version)

    def said(self, kind: str) -> tuple[str, str] | None:
        found = self.condition(kind)
        return (found["status"], found["reason"]) if found else None

    def message(self, kind: str) -> str:
        found = self.condition(kind)
        assert found is not None
        return str(found["message"])

    def records(self) -> list[dict[str, Any]]:
        return [manifest for (kind, _), manifest in self.objects.items() if kind == "ControllerRevision"]

    def pass_time(self, **span: float) -> None:
        self.now += timedelta(**span)


def owned(manifest: dict[str, Any], uid: str) -> bool:
    return any(reference["uid"] == uid for reference in manifest["metadata"].get("ownerReferences", []))


def main_container(job: dict[str, Any]) -> str:
    return str(job["spec"]["template"]["spec"]["containers"][0]["name"])


def text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def encoded(result: Result) -> str:
    return msgspec.json.encode(result).decode()


def digest(of: object) -> str:
    return hashlib.sha256(str(of).encode()).hexdigest()


def accepted(version: int, model: str | None = None) -> Result:
    """An accepted result; of a model of its own, unless it is said to be another's."""
    path = f"pvc://perennial-models/team-a/flights/v{version}"
    made = Model(uri=path, sha256=digest(model or version), seal=digest("seal"), size=1000, engine="sklearn")
    return Result(version=version, outcome="Accepted", model=made, metrics={"roc_auc": 0.75})
