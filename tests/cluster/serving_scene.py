"""What the cluster tests of ModelDeployments say and ask: manifests, a counting load, patient questions."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.harness import Harness

TINY = {"requests": {"cpu": "10m", "memory": "100Mi"}}
PATIENCE = 300.0
"""Seconds: for a busy machine. What goes wrong is mostly told by a status long before."""
LOAD = Path(__file__).with_name("load.py")


def modeldeployment(name: str, **spec: Any) -> dict[str, Any]:
    """Version 1 of the TrainingJob `flights`, on one small pod."""
    base = {"model": {"trainingJob": "flights", "version": 1}, "resources": TINY}
    return {
        "apiVersion": "perennial.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": name},
        "spec": {**base, **spec},
    }


def pinned(version: int) -> dict[str, Any]:
    return {"trainingJob": "flights", "version": version}


@dataclass(frozen=True)
class Scene:
    """A namespace with an operator in charge of it."""

    cluster: Harness
    namespace: str
    runtime: str

    def apply(self, *manifests: dict[str, Any]) -> None:
        self.cluster.apply(list(manifests), self.namespace)

    def kubectl(self, *arguments: str) -> str:
        return self.cluster.kubectl("--namespace", self.namespace, *arguments)

    def get(self, kind: str, name: str = "", *, selector: str = "") -> Any:
        return self.cluster.get(kind, name, namespace=self.namespace, selector=selector)

    def status(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.get("modeldeployment", name)["status"]
        return found

    def condition(self, name: str, kind: str) -> tuple[str, str] | None:
        conditions = self.status(name).get("conditions", [])
        return next(((one["status"], one["reason"]) for one in conditions if one["type"] == kind), None)

    def pods(self, name: str) -> set[str]:
        """The pods that serve and are not ending."""
        listed = self.get("pods", selector=f"perennial.dev/modeldeployment={name}")["items"]
        return {pod["metadata"]["name"] for pod in listed if "deletionTimestamp" not in pod["metadata"]}

    def patch(self, name: str, **spec: Any) -> None:
        self.kubectl("patch", "modeldeployment", name, "--type=merge", "-p", json.dumps({"spec": spec}))

    def annotate(self, name: str, verb: str, token: str) -> None:
        self.kubectl("annotate", "--overwrite", "modeldeployment", name, f"perennial.dev/{verb}={token}")

    def wait_for(self, what: Callable[[], Any], why: str, patience: float = PATIENCE) -> Any:
        """The first answer that holds."""
        deadline = time.monotonic() + patience
        while True:
            if found := what():
                return found
            if time.monotonic() > deadline:
                told = self.kubectl("get", "trainingjobs,modeldeployments,pods,modeldeployments", "-o", "wide")
                status = json.dumps([one.get("status") for one in self.get("modeldeployments")["items"]], indent=1)
                raise AssertionError(f"{why}: not within {patience:.0f} s\n{told}\n{status}")
            time.sleep(0.5)

    def wait_stable(self, name: str, version: int, replicas: int = 1, patience: float = PATIENCE) -> dict[str, Any]:
        """Until the version serves on so many pods and nothing else does."""

        def serves() -> dict[str, Any] | None:
            status = self.status(name)
            stable = status.get("stable", {})
            alone = "candidate" not in status and status.get("replicas") == replicas
            is_there = stable.get("version") == version and stable.get("ready") == replicas
            return status if alone and is_there and self.condition(name, "Ready") == ("True", "Ready") else None

        found: dict[str, Any] = self.wait_for(serves, f"{name} serves version {version} on {replicas} pods", patience)
        return found

    @contextmanager
    def load(self, name: str, pod: str = "load", **options: float | bool) -> Iterator[dict[str, Any]]:
        """A counting load against the Service for as long as the context lasts; what it counted is in the yielded
        dict afterwards."""
        arguments = [f"--host={name}.{self.namespace}.svc", f"--model={name}"]
        for option, value in options.items():
            arguments.append(f"--{option}" if value is True else f"--{option}={value}")
        self.apply(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": pod}, "data": {"load.py": LOAD.read_text()}},
            _load_pod(pod, self.runtime, arguments),
        )
        counted: dict[str, Any] = {}
        try:
            self.kubectl("wait", "--for=condition=Ready", f"pod/{pod}", "--timeout=60s")
            yield counted
            self.kubectl("exec", pod, "--", "python", "-c", "import os; os.kill(1, 15)")
            self.wait_for(
                lambda: self.get("pod", pod)["status"]["phase"] == "Succeeded", "the load ends and tells its counts"
            )
            counted.update(json.loads(self.kubectl("logs", pod).strip().splitlines()[-1]))
        finally:
            self.kubectl("delete", "pod", pod, "--grace-period=1", "--wait=false")


def _load_pod(name: str, image: str, arguments: list[str]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [
                {
                    "name": "load",
                    "image": image,
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["python", "/load/load.py", *arguments],
                    "resources": {"requests": {"cpu": "10m", "memory": "50Mi"}},
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                    "volumeMounts": [{"name": "load", "mountPath": "/load"}],
                }
            ],
            "volumes": [{"name": "load", "configMap": {"name": name}}],
        },
    }


def assert_nothing_lost(counted: dict[str, Any], at_least: int) -> None:
    assert counted["sent"] >= at_least, counted
    assert counted["lost"] == {}, counted
    assert counted["statuses"] == {"200": counted["sent"]}, counted
