"""The trainer as a restricted pod: data from a ConfigMap, the store on a claim, and its last word to Kubernetes."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from cluster.harness import Harness
from perennial.wire.places import CONFIGMAP_ROOT, DEFAULT_CLAIM, PVC_ROOT, RUN_ENV, SCRATCH
from perennial.wire.result import Result
from perennial.wire.run import Bound, Data, Run, Sklearn

ROWS = "late,carrier,distance\n" + "".join(
    f"{i % 2},{'AB'[i % 3 % 2]}{i % 5},{i * 37 % 100 + 200 * (i % 2)}\n" for i in range(200)
)


class TrainerPods:
    """Pods of the trainer in one namespace, each run to its end."""

    def __init__(self, cluster: Harness, namespace: str, image: str) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._image = image
        self._apply("ConfigMap", "flights", data={"flights.csv": ROWS})
        spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "64Mi"}}}
        self._apply("PersistentVolumeClaim", DEFAULT_CLAIM, spec=spec)

    def run(self, target: str = "late") -> Run:
        return Run(
            namespace=self._namespace,
            name="flights",
            uid="7f0c",
            version=1,
            store=f"pvc://{DEFAULT_CLAIM}",
            path=f"{self._namespace}/flights-abc123/v1",
            image=self._image,
            definition="v1:0",
            trigger="FirstRun",
            data=Data("configmap://flights/flights.csv", target),
            sklearn=Sklearn("sklearn.ensemble.HistGradientBoostingClassifier", {"max_iter": 5, "min_samples_leaf": 5}),
            metrics=[Bound("accuracy", min=0.9)],
        )

    def execute(self, name: str, run: Run, *arguments: str, memory: str = "1Gi") -> tuple[int, Result, str]:
        """Exit code, the Result of the termination message, and the log."""
        self._apply("Pod", name, spec=self._pod(run, arguments, memory))
        status = "jsonpath={.status.containerStatuses[0].state.terminated}"
        self._kubectl("wait", f"pod/{name}", "--for", f"{status[:-1]}.reason}}", "--timeout=180s")
        ended = json.loads(self._kubectl("get", "pod", name, "--output", status))
        log = self._kubectl("logs", name)
        return ended["exitCode"], msgspec.json.decode(ended["message"].encode(), type=Result), log

    def _pod(self, run: Run, arguments: tuple[str, ...], memory: str) -> dict[str, Any]:
        container = {
            "name": "trainer",
            "image": self._image,
            "imagePullPolicy": "IfNotPresent",
            "command": ["python", "-m", "perennial.runtime.trainer", *arguments],
            "env": [{"name": RUN_ENV, "value": msgspec.json.encode(run).decode()}],
            "resources": {"requests": {"cpu": "20m", "memory": "64Mi"}, "limits": {"memory": memory}},
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            },
            "volumeMounts": [
                {"name": "data", "mountPath": f"{CONFIGMAP_ROOT}/flights", "readOnly": True},
                {"name": "store", "mountPath": f"{PVC_ROOT}/{DEFAULT_CLAIM}", "readOnly": "report" in arguments},
                {"name": "scratch", "mountPath": SCRATCH},
            ],
        }
        return {
            "restartPolicy": "Never",
            "containers": [container],
            "securityContext": {"runAsNonRoot": True, "fsGroup": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
            "volumes": [
                {"name": "data", "configMap": {"name": "flights"}},
                {"name": "store", "persistentVolumeClaim": {"claimName": DEFAULT_CLAIM}},
                {"name": "scratch", "emptyDir": {}},
            ],
        }

    def _apply(self, kind: str, name: str, **content: Any) -> None:
        metadata = {"name": name, "namespace": self._namespace}
        self._cluster.apply({"apiVersion": "v1", "kind": kind, "metadata": metadata, **content})

    def _kubectl(self, *arguments: str) -> str:
        return self._cluster.kubectl("--namespace", self._namespace, *arguments)


@pytest.fixture
def pods(cluster: Harness, images: list[str], namespace: str) -> TrainerPods:
    return TrainerPods(cluster, namespace, images[1])


def test_a_run_publishes_and_a_report_finds_what_it_published(pods: TrainerPods) -> None:
    run = pods.run()
    code, result, log = pods.execute("train", run)
    assert code == 0, log
    assert result.outcome == "Accepted"
    assert result.model is not None
    assert result.model.engine == "onnx"
    assert "configmap://flights/flights.csv: 200 rows" in log

    bare = msgspec.structs.replace(run, data=None, sklearn=None, metrics=[])
    assert pods.execute("report", bare, "report")[:2] == (0, result)
    code, again, log = pods.execute("again", run)
    assert (code, again) == (0, result)
    assert "published by an earlier attempt" in log


def test_what_is_wrong_is_told_by_exit_code_and_message(pods: TrainerPods) -> None:
    code, result, _ = pods.execute("column", pods.run(target="lateness"))
    assert code == 64
    assert result.failure is not None
    assert (result.failure.reason, "did you mean late?" in result.failure.message) == ("MissingColumn", True)

    code, result, _ = pods.execute("memory", pods.run(), memory="256Mi")
    assert code == 64
    assert result.failure is not None
    assert result.failure.reason == "DataTooLarge"
    assert "the container has 256 MiB" in result.failure.message

    code, result, _ = pods.execute("nothing", pods.run(), "report")
    assert (code, result.outcome) == (66, "Failed")
