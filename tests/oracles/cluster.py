"""What a cluster does with Jobs, Deployments and their pods, on the model of an API server.

Just as much of the Job and the Deployment controller, of scheduler and kubelet as our rooms rely on: pods are made for
Jobs and taken up, run and end with a termination message, are tried again or fail the Job; replicas are made and
become ready, and linger when they are taken. Each call moves every object by one phase, so that an operator can look
in between. How a run goes is scripted by version; a run that published is in the store, whatever becomes of its pod.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Literal, Self

import msgspec

from perennial.kube.plan import Manifest
from perennial.monitoring.checkpoint import decode
from perennial.wire import places
from perennial.wire.result import Failure, Gate, Model, Result
from perennial.wire.run import Run
from perennial.wire.serve import Serve

from .apiserver import ApiServer, Place
from .ports import Port, Ports

Attempt = Literal["accepted", "same", "rejected", "crashed", "bad data", "silent", "lost"]
"""What one pod of a run comes to. `same`: the model of the version before. `silent`: published, its message lost.
`lost`: deleted by somebody while it ran."""

SERVES_ON, GRACE = timedelta(seconds=3), timedelta(seconds=8)
"""How long a server pod serves on when it is taken, and how long it waits at most until its counts are."""
BAD_INPUT, NO_MANIFEST = 64, 66
_FATAL = {BAD_INPUT, 65, NO_MANIFEST}


class Cluster(ApiServer):
    """`attempts` are by version: what its pods come to, one after the other; a run that they do not name is accepted.
    `broken` are versions whose server pods never become ready."""

    def __init__(self) -> None:
        super().__init__()
        self.attempts: dict[int, list[Attempt]] = {}
        self.broken: set[int] = set()
        self.store: dict[str, Result] = {}
        self.ports = Ports().fork(self._seconds)
        self.admit = _defaulted
        self._pods_made: dict[str, int] = {}

    def go_on_from(self, world: Self) -> None:
        super().go_on_from(world)
        self.attempts, self.broken, self.store = dict(world.attempts), set(world.broken), dict(world.store)
        self.ports = world.ports.fork(self._seconds)
        self._pods_made = dict(world._pods_made)

    def seen(self, plural: str, manifest: Manifest) -> Manifest | None:
        """Pods are named by chance, and how many looks at them a checkpoint took is nobody's concern."""
        if plural == "pods":
            return None
        return manifest | {"binaryData": _counted(manifest)} if plural == "configmaps" else manifest

    def aliases(self) -> dict[str, str]:
        """Verdicts and requests are named by the moment at which they were made."""
        return super().aliases() | {
            entry["id"]: f"{kind} {number} of {monitor['metadata']['name']}"
            for monitor in self.of("driftmonitors")
            for kind in ("verdicts", "requests")
            for number, entry in enumerate(reversed(monitor["status"].get(kind, [])))
        }

    def act(self) -> bool:
        before = len(self.log)
        for job in self.of("jobs"):
            self._run(job)
        for deployment in self.of("deployments"):
            self._scale(deployment)
        for pod in self.of("pods"):
            self._end(pod)
        return len(self.log) > before

    def pods_of(self, owner: Manifest) -> list[Manifest]:
        uid = owner["metadata"]["uid"]
        return [p for p in self.of("pods") if any(r["uid"] == uid for r in p["metadata"]["ownerReferences"])]

    # --- Jobs

    def _run(self, job: Manifest) -> None:
        status = job.get("status", {})
        if status.get("conditions") or job["spec"].get("suspend"):
            return
        if "startTime" not in status:
            self._tell(job, startTime=_text(self.now))
            return
        pods = self.pods_of(job)
        if not pods or (_ended(pods[-1]) and not self._is_over(job, pods)):
            self._make_pod(job, job["spec"]["template"], "Job")
        elif not _ended(pods[-1]):
            self._go_on(job, pods[-1])
        elif code := _exit_code(pods[-1]):
            self._finish(job, "Failed", "PodFailurePolicy" if code in _FATAL else "BackoffLimitExceeded")
        else:
            self._finish(job, "Complete", "CompletionsReached")

    def _is_over(self, job: Manifest, pods: list[Manifest]) -> bool:
        code = _exit_code(pods[-1])
        return code == 0 or code in _FATAL or len(pods) > job["spec"]["backoffLimit"]

    def _go_on(self, job: Manifest, pod: Manifest) -> None:
        """A pod is bound and started, then ends."""
        main = job["spec"]["template"]["spec"]["containers"][0]
        if pod["status"]["phase"] == "Pending":
            running = {"name": main["name"], "state": {"running": {"startedAt": _text(self.now)}}}
            self._tell(pod, {"nodeName": "n1"}, phase="Running", containerStatuses=[running])
            return
        run = msgspec.json.decode(_environment(main)[places.RUN_ENV], type=Run)
        if main["name"] == "report":
            found = self.store.get(run.path)
            self._end_pod(pod, main["name"], 0 if found else NO_MANIFEST, found)
            return
        attempt = self._attempt(job, run)
        if attempt == "lost":
            self.remove("pods", pod["metadata"]["namespace"], pod["metadata"]["name"])
            return
        code, result = _outcome(attempt, run)
        if code == 0 and result:
            self.store[run.path] = result
        self._end_pod(pod, main["name"], code, None if attempt == "silent" else result)

    def _attempt(self, job: Manifest, run: Run) -> Attempt:
        script = self.attempts.get(run.version, [])
        number = self._pods_made[job["metadata"]["uid"]] - 1
        return script[number] if number < len(script) else "accepted"

    def _end_pod(self, pod: Manifest, container: str, code: int, result: Result | None) -> None:
        ended = {
            "exitCode": code,
            "reason": "Error" if code else "Completed",
            "message": msgspec.json.encode(result).decode() if result else "",
            "startedAt": _text(self.now),
            "finishedAt": _text(self.now),
        }
        statuses = [{"name": container, "state": {"terminated": ended}}]
        self._tell(pod, phase="Failed" if code else "Succeeded", containerStatuses=statuses)

    def _finish(self, job: Manifest, kind: str, reason: str) -> None:
        at = _text(self.now)
        condition = {"type": kind, "status": "True", "reason": reason, "message": reason, "lastTransitionTime": at}
        status: Manifest = {"conditions": [condition]} | ({"completionTime": at} if kind == "Complete" else {})
        self._tell(job, **status)

    # --- Deployments. Their ReplicaSets are left out: the rooms find server pods by label.

    def _scale(self, deployment: Manifest) -> None:
        pods = [pod for pod in self.pods_of(deployment) if "deletionTimestamp" not in pod["metadata"]]
        surplus = len(pods) - deployment["spec"]["replicas"]
        for _ in range(-surplus):
            self._make_pod(deployment, deployment["spec"]["template"], "ReplicaSet")
        # The ReplicaSet controller takes what is not ready first.
        by_need = sorted(pods, key=_is_ready)
        for pod in by_need[: max(surplus, 0)]:
            self._take(pod)
        for pod in by_need[max(surplus, 0) :]:
            self._serve(pod)
        living = [pod for pod in self.pods_of(deployment) if "deletionTimestamp" not in pod["metadata"]]
        counted: Manifest = {"replicas": len(living), "readyReplicas": sum(map(_is_ready, living))}
        if counted.items() - deployment.get("status", {}).items():
            self._tell(deployment, **counted)

    def _serve(self, pod: Manifest) -> None:
        if _is_ready(pod):
            return
        serve = msgspec.json.decode(_environment(pod["spec"]["containers"][0])[places.SERVE_ENV], type=Serve)
        if serve.model.version in self.broken:
            return
        ready = {"type": "Ready", "status": "True", "lastTransitionTime": _text(self.now)}
        ip = pod["metadata"]["uid"]
        self.ports[ip] = Port(ip, serve, self._seconds())
        self._tell(pod, {"nodeName": "n1"}, phase="Running", podIP=ip, conditions=[ready])

    def _end(self, pod: Manifest) -> None:
        gone = pod["metadata"].get("deletionTimestamp")
        if gone is None:
            return
        port = self.ports.get(pod["status"].get("podIP", ""))
        left = datetime.fromisoformat(gone) - self.now
        told_all = port is None or (port.said_last and not port.kept)
        if told_all or left <= timedelta():
            self.remove("pods", pod["metadata"]["namespace"], pod["metadata"]["name"])

    def serving(self, version: int) -> list[Port]:
        """The control ports of the ready pods of a version, in the order of their making."""
        found = (self.ports.get(pod["status"].get("podIP", "")) for pod in self.of("pods") if _is_ready(pod))
        return [port for port in found if port and port.serve.model.version == version and not port.draining]

    def _collect(self, place: Place) -> None:
        if place[0] == "pods" and self.objects[place]["status"].get("podIP") in self.ports:
            self._take(self.objects[place])
        else:
            super()._collect(place)

    def _take(self, pod: Manifest) -> None:
        """A server pod is deleted, and has its grace."""
        if "deletionTimestamp" not in pod["metadata"]:
            leaving = {
                "deletionTimestamp": _text(self.now + GRACE),
                "deletionGracePeriodSeconds": int(GRACE.total_seconds()),
            }
            self.put("pods", {"metadata": _named(pod) | leaving})
        if (port := self.ports.get(pod["status"].get("podIP", ""))) and not port.draining:
            port.draining = True
            port.serves_until = self._seconds() + SERVES_ON.total_seconds()

    # --- both

    def _make_pod(self, owner: Manifest, template: Manifest, kind: str) -> None:
        metadata = owner["metadata"]
        number = self._pods_made.get(metadata["uid"], 0)
        self._pods_made[metadata["uid"]] = number + 1
        reference = {"apiVersion": "v1", "kind": kind, "name": metadata["name"], "uid": metadata["uid"]}
        self.put(
            "pods",
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {
                    "namespace": metadata["namespace"],
                    "name": f"{metadata['name']}-{number:03}",
                    "labels": template["metadata"].get("labels", {}),
                    "ownerReferences": [{**reference, "controller": True}],
                },
                "spec": template["spec"],
                "status": {"phase": "Pending"},
            },
        )

    def _seconds(self) -> float:
        return self.now.timestamp()

    def _tell(self, manifest: Manifest, spec: Manifest | None = None, **status: Any) -> None:
        # A binding or a status changes no generation.
        plural = f"{manifest['kind'].lower()}s"
        self.put(plural, {"metadata": _named(manifest), "status": status, **({"spec": spec} if spec else {})})


def _defaulted(manifest: Manifest) -> Manifest:
    """The one default of our schemas that a plan looks at."""
    if not manifest["apiVersion"].startswith("perennial.dev/"):
        return manifest
    return {"status": {"observedGeneration": -1}, **manifest}


def _counted(configmap: Manifest) -> Manifest:
    """What a monitor's checkpoint comes to."""
    found = decode(configmap)
    return {
        "model": found.model.sha256 if found.model else None,
        "tallies": {sha256: [tally.rows, tally.labels, tally.lost] for sha256, tally in found.tallies.items()},
        "windows": found.windows,
        "verdicts": [[verdict.state, verdict.n] for verdict in found.triage.verdicts],
        "retrains": found.governor.retrains,
        "rollbacks": found.governor.rollbacks,
        "pairs": {sha256: pairs.labelled for sha256, pairs in found.tally.pairs.items()},
        "requests": [[request.id, request.model, request.state] for request in found.governor.requests],
    }


def sha256_of(text: object) -> str:
    return hashlib.sha256(str(text).encode()).hexdigest()


def model_of(path: str, version: int) -> str:
    """The digest of a version's model."""
    return sha256_of(f"{path} {version}")


def _outcome(attempt: Attempt, run: Run) -> tuple[int, Result | None]:
    match attempt:
        case "crashed":
            return 1, None
        case "bad data":
            said = Failure("ColumnMissing", "column late is not there")
            return BAD_INPUT, Result(run.version, "Failed", failure=said)
        case "rejected":
            missed = Gate("roc_auc", "min", 0.7, 0.6, False)
            return 0, Result(run.version, "Rejected", _model(run, run.version), {"roc_auc": 0.6}, [missed])
    number = run.version - 1 if attempt == "same" else run.version
    return 0, Result(run.version, "Accepted", _model(run, number), {"roc_auc": 0.75})


def _model(run: Run, number: int) -> Model:
    uri = f"{run.store}/{run.path}"
    stem = run.path.rpartition("/")[0]
    return Model(uri, model_of(stem, number), sha256_of(f"seal of {uri}"), 1000, "onnx")


def _environment(container: Manifest) -> dict[str, str]:
    return {entry["name"]: entry.get("value", "") for entry in container.get("env", [])}


def _terminated(pod: Manifest) -> Iterator[Manifest]:
    for status in pod["status"].get("containerStatuses", []):
        if ended := status["state"].get("terminated"):
            yield ended


def _ended(pod: Manifest) -> bool:
    return pod["status"]["phase"] in ("Succeeded", "Failed")


def _exit_code(pod: Manifest) -> int:
    return next((int(ended["exitCode"]) for ended in _terminated(pod)), 0)


def _is_ready(pod: Manifest) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))


def _named(manifest: Manifest) -> Manifest:
    return {"namespace": manifest["metadata"]["namespace"], "name": manifest["metadata"]["name"]}


def _text(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
