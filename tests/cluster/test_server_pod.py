"""The built-in server as a restricted pod, and what of its counts survives the container's crash."""

from __future__ import annotations

import base64
import contextlib
import importlib.util
import json
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from cluster.errors import ClusterError
from cluster.harness import Harness
from cluster.paths import REPOSITORY
from perennial.wire.places import CONFIGMAP_ROOT, COUNTS, SERVE_ENV
from perennial.wire.serve import Serve, ServedModel

NAME = "flights"
BODY = {
    "inputs": [{"name": "x", "shape": [2, 2], "datatype": "FP64", "data": [0.75, 1, 0.25, None]}],
    "parameters": {"receipt": True},
}
KILL = """
import os, pathlib
for entry in pathlib.Path("/proc").iterdir():
    if entry.name.isdigit() and b"perennial.runtime.server" in (entry / "cmdline").read_bytes().split(b"\\0"):
        os.kill(int(entry.name), 9)
"""


class ServerPod:
    """A server pod, asked through the API server so that it does not matter where its network is."""

    def __init__(self, cluster: Harness, namespace: str) -> None:
        self._cluster = cluster
        self._namespace = namespace

    def kubectl(self, *arguments: str, given: str | None = None) -> str:
        return self._cluster.kubectl("--namespace", self._namespace, *arguments, stdin=given)

    def get(self, port: int, path: str) -> Any:
        return json.loads(self.kubectl("get", "--raw", self._path(port, path)))

    def post(self, port: int, path: str, body: Any) -> Any:
        return json.loads(self.kubectl("create", "--raw", self._path(port, path), "-f", "-", given=json.dumps(body)))

    def wait_ready(self) -> None:
        self.kubectl("wait", "--for=condition=Ready", f"pod/{NAME}", "--timeout=90s")

    def restarts(self) -> int:
        path = "jsonpath={.status.containerStatuses[0].restartCount}"
        return int(self.kubectl("get", "pod", NAME, "--output", path) or 0)

    def _path(self, port: int, path: str) -> str:
        return f"/api/v1/namespaces/{self._namespace}/pods/{NAME}:{port}/proxy{path}"


def manifest(image: str, model: ServedModel) -> dict[str, Any]:
    serve = msgspec.json.encode(Serve(NAME, ServedModel("configmap://model", model.sha256, 1, model.seal)))
    container = {
        "name": "server",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "-m", "perennial.runtime.server"],
        "env": [{"name": SERVE_ENV, "value": serve.decode()}],
        "readinessProbe": {"httpGet": {"path": f"/v2/models/{NAME}/ready", "port": 8080}, "periodSeconds": 1},
        "livenessProbe": {"httpGet": {"path": "/v2/health/live", "port": 8080}, "initialDelaySeconds": 10},
        "resources": {"requests": {"cpu": "20m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "model", "mountPath": f"{CONFIGMAP_ROOT}/model", "readOnly": True},
            {"name": "counts", "mountPath": COUNTS},
        ],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": NAME},
        "spec": {
            "containers": [container],
            # So that the server is not process 1, which nothing in the pod could kill.
            "shareProcessNamespace": True,
            "securityContext": {"runAsNonRoot": True, "fsGroup": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
            "volumes": [{"name": "model", "configMap": {"name": "model"}}, {"name": "counts", "emptyDir": {}}],
        },
    }


@pytest.fixture
def pod(cluster: Harness, images: list[str], namespace: str, tmp_path: Path) -> ServerPod:
    spec = importlib.util.spec_from_file_location("models", REPOSITORY / "tests/unit/runtime/server/models.py")
    assert spec is not None
    assert spec.loader is not None
    models = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(models)
    model = models.binary(tmp_path / "model")
    files = {path.name: base64.b64encode(path.read_bytes()).decode() for path in (tmp_path / "model").iterdir()}
    metadata = {"name": "model", "namespace": namespace}
    cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "binaryData": files})
    document = manifest(images[1], model)
    document["metadata"]["namespace"] = namespace
    cluster.apply(document)
    served = ServerPod(cluster, namespace)
    served.wait_ready()
    return served


def test_a_crash_of_the_container_loses_no_count_and_no_label(pod: ServerPod) -> None:
    answer = pod.post(8080, f"/v2/models/{NAME}/infer", BODY)
    assert answer["outputs"][0]["data"] == ["yes", "no"]
    first, second = answer["parameters"]["receipts"]
    labels = {"labels": [{"receipt": first, "label": "no"}]}
    assert pod.post(8081, f"/v2/models/{NAME}/feedback", labels)["accepted"] == 1
    before = pod.get(8081, "/perennial/v1/stats")
    with contextlib.suppress(ClusterError):  # The command may end with its container before it can say that it did.
        pod.kubectl("exec", NAME, "--", "python", "-c", KILL)
    for _ in range(100):
        if pod.restarts():
            break
        time.sleep(0.2)
    pod.wait_ready()
    after = pod.get(8081, "/perennial/v1/stats")
    kept = ("incarnation", "model", "requests", "rows", "labels", "loss", "latency")
    assert {key: after[key] for key in kept} == {key: before[key] for key in kept}
    labels["labels"].append({"receipt": second, "label": "no"})
    verdict = pod.post(8081, f"/v2/models/{NAME}/feedback", labels)
    assert (verdict["accepted"], verdict["duplicates"]) == (1, 1)
    [epoch] = pod.post(8081, "/perennial/v1/epochs", {})["epochs"]
    counts = epoch["models"][after["model"]]
    assert (counts["rows"], np.sum(list(counts["labels"]["loss"].values()), axis=0).tolist()) == (2, [1, 1])
