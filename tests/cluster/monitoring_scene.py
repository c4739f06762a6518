"""A served model and the traffic that it gets: rows with an optional change, sent to every pod, with labels that come
back."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol

from cluster.errors import ClusterError
from cluster.harness import Harness
from perennial.monitoring.checkpoint import Checkpoint, decode
from tests.cluster.operator_process import ROOT

PATIENCE = 300.0
"""Seconds: for a busy machine. What goes wrong is mostly told by a status long before."""
TINY = {"requests": {"cpu": "20m", "memory": "150Mi"}}
CARRIERS = ("AA", "DL", "UA")


class Outside(Protocol):
    """What the outside is like. `columns` are the features with their datatypes; a row has their values and its
    label."""

    columns: ClassVar[dict[str, str]]

    def row(self, draw: random.Random) -> tuple[Any, ...]: ...


@dataclass(frozen=True)
class World:
    """`shift` moves `a`, `empty` is the share of `b` that is missing, `flipped` turns the label around."""

    columns: ClassVar[dict[str, str]] = {"a": "FP64", "b": "FP64", "carrier": "BYTES"}
    shift: float = 0.0
    empty: float = 0.0
    flipped: bool = False

    def row(self, draw: random.Random) -> tuple[float, float | None, str, int]:
        a, b, carrier = draw.gauss(self.shift, 1), draw.gauss(0, 1), draw.choice(CARRIERS)
        late = a + 0.5 * b + (carrier == "UA") + draw.gauss(0, 0.5) > 0.3
        missing = draw.random() < self.empty
        return a, None if missing else b, carrier, int(late != self.flipped)


NORMAL = World()


def table(world: Outside = NORMAL, count: int = 6000, seed: int = 1) -> str:
    draw = random.Random(seed)
    lines = [",".join([*world.columns, "late"])]
    for _ in range(count):
        cells = world.row(draw)
        texts = ("" if cell is None else f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in cells)
        lines.append(",".join(texts))
    return "\n".join(lines)


def training_rows(world: Outside = NORMAL, seed: int = 1) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "rows"},
        "data": {"rows.csv": table(world, seed=seed)},
    }


def resource(kind: str, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "perennial.dev/v1alpha1", "kind": kind, "metadata": {"name": "flights"}, "spec": spec}


TRAININGJOB = resource(
    "TrainingJob",
    sklearn={"estimator": "sklearn.linear_model.LogisticRegression"},
    data={"uri": "configmap://rows/rows.csv", "target": "late"},
    resources=TINY,
)
MODELDEPLOYMENT = resource("ModelDeployment", model={"trainingJob": "flights"}, replicas=2, resources=TINY)


def driftmonitor(**spec: Any) -> dict[str, Any]:
    """Quick windows and a generous allowance, so that a test has its verdict in seconds."""
    usual = {
        "deployment": "flights",
        "falseAlarmEvery": "1d",
        "window": {"minRows": 200, "period": "2s"},
        "baseline": {"from": "Training"},
    }
    return resource("DriftMonitor", **{**usual, **spec})


@dataclass
class Traffic:
    """Sends rows to all ready pods until it is stopped. `sent` counts the rows that were answered, by model version,
    and `unsure` those whose answer was lost: they may have been counted.
    """

    pods: Callable[[], list[str]]
    world: Any = NORMAL
    labelled: bool = False
    sent: Counter[str] = field(default_factory=Counter)
    unsure: int = 0
    rows: int = 20

    def __post_init__(self) -> None:
        self._going = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._draw = random.Random(7)

    def __enter__(self) -> Traffic:
        self._going.set()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Ends when the request under way is answered."""
        self._going.clear()
        self._thread.join(timeout=20)

    def become(self, **changes: Any) -> None:
        self.world = replace(self.world, **changes)

    def _run(self) -> None:
        pods, looked = self.pods(), time.monotonic()
        while self._going.is_set():
            if time.monotonic() - looked > 1:
                # Traffic does not end because a busy API server does not answer.
                with contextlib.suppress(ClusterError):
                    pods, looked = self.pods(), time.monotonic()
            for ip in pods:
                self._send(ip)
            time.sleep(0.1)

    def _send(self, ip: str) -> None:
        rows = [self.world.row(self._draw) for _ in range(self.rows)]
        *columns, labels = zip(*rows, strict=True)
        inputs = [
            {"name": name, "datatype": datatype, "shape": [self.rows], "data": list(values)}
            for (name, datatype), values in zip(self.world.columns.items(), columns, strict=True)
        ]
        answer = _post(
            f"http://{ip}:8080/v2/models/flights/infer", {"parameters": {"receipt": self.labelled}, "inputs": inputs}
        )
        if answer is None:
            self.unsure += self.rows
            return
        if not answer:
            return
        self.sent[str(answer.get("model_version"))] += self.rows
        if self.labelled:
            said = [
                {"receipt": receipt, "label": label}
                for receipt, label in zip(answer["parameters"]["receipts"], labels, strict=True)
            ]
            _post(f"http://{ip}:8081/v2/models/flights/feedback", {"labels": said})


@dataclass(frozen=True)
class Scene:
    """A namespace with an operator in charge of it."""

    cluster: Harness
    namespace: str

    def apply(self, *manifests: dict[str, Any]) -> None:
        self.cluster.apply(list(manifests), self.namespace)

    def kubectl(self, *arguments: str) -> str:
        return self.cluster.kubectl("--namespace", self.namespace, *arguments)

    def perennial(self, *arguments: str) -> str:
        """`kubectl perennial`, as kubectl finds it: by an executable of that name."""
        with tempfile.TemporaryDirectory() as folder:
            plugin = Path(folder) / "kubectl-perennial"
            plugin.write_text(f'#!/bin/sh\nexec {sys.executable} -m perennial.cli "$@"\n')
            plugin.chmod(0o755)
            done = subprocess.run(
                [str(self.cluster.cluster.kubectl), "perennial", *arguments, "--namespace", self.namespace],
                env={
                    **os.environ,
                    "KUBECONFIG": str(self.cluster.kubeconfig),
                    "PATH": f"{folder}:{os.environ['PATH']}",
                    "PYTHONPATH": str(ROOT / "operator"),
                },
                capture_output=True,
                text=True,
                timeout=PATIENCE,
                check=False,
            )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def get(self, kind: str) -> dict[str, Any]:
        found: dict[str, Any] = self.cluster.get(kind, "flights", namespace=self.namespace)
        return found

    @property
    def status(self) -> dict[str, Any]:
        """Of the DriftMonitor."""
        status: dict[str, Any] = self.get("driftmonitor")["status"]
        return status

    def condition(self, kind: str) -> dict[str, str]:
        conditions = self.status.get("conditions", [])
        return next((condition for condition in conditions if condition["type"] == kind), {})

    def verdict(self, state: str) -> dict[str, Any]:
        return next((verdict for verdict in self.status.get("verdicts", []) if verdict["state"] == state), {})

    def events(self) -> set[str]:
        listed = self.cluster.get("events", namespace=self.namespace)["items"]
        return {event["reason"] for event in listed if event["involvedObject"]["kind"] == "DriftMonitor"}

    def pods(self) -> list[str]:
        """Addresses of the pods that are ready."""
        return [pod["status"]["podIP"] for pod in self._pods() if _is_ready(pod)]

    def names(self) -> list[str]:
        """Names of the pods that are ready."""
        return [pod["metadata"]["name"] for pod in self._pods() if _is_ready(pod)]

    def kill_a_server(self) -> bool:
        """As the kernel kills what takes too much memory. False where no such process is on this machine."""
        pod = self.names()[0]
        for environment in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):
                if f"HOSTNAME={pod}".encode() not in environment.read_bytes().split(b"\0"):
                    continue
                if b"perennial.runtime.server" in (environment.parent / "cmdline").read_bytes():
                    os.kill(int(environment.parent.name), signal.SIGKILL)
                    self.wait_for(lambda: self._restarts(pod), f"{pod} starts again")
                    return True
        return False

    def _restarts(self, pod: str) -> int:
        found = next(each for each in self._pods() if each["metadata"]["name"] == pod)
        return sum(container["restartCount"] for container in found["status"]["containerStatuses"])

    def checkpoint(self) -> Checkpoint:
        """What the monitor remembers."""
        return decode(self.cluster.get("configmap", "flights-drift", namespace=self.namespace))

    def has_settled(self, pods: int) -> bool:
        """So many pods are ready, and none is ending."""
        return len(self._pods()) == len(self.pods()) == pods

    def _pods(self) -> list[dict[str, Any]]:
        selector = "perennial.dev/modeldeployment=flights,app.kubernetes.io/name=server"
        pods: list[dict[str, Any]] = self.cluster.get("pods", namespace=self.namespace, selector=selector)["items"]
        return pods

    def wait_for(self, what: Callable[[], Any], why: str, patience: float = PATIENCE) -> Any:
        """The first answer that holds."""
        deadline = time.monotonic() + patience
        while True:
            if found := what():
                return found
            if time.monotonic() > deadline:
                monitor = self.kubectl("get", "driftmonitor", "flights", "-o", "yaml")
                others = self.kubectl("get", "trainingjobs,modeldeployments,jobs,pods", "-o", "wide")
                raise AssertionError(f"{why}: not within {patience:.0f} s\n{monitor}\n{others}")
            time.sleep(0.5)

    def wait_for_condition(self, kind: str, status: str, patience: float = PATIENCE) -> dict[str, str]:
        found: dict[str, str] = self.wait_for(
            lambda: held if (held := self.condition(kind)).get("status") == status else None,
            f"{kind} is {status}",
            patience,
        )
        return found

    def wait_for_windows(self, more: int) -> None:
        """So many more windows are judged."""
        before = self.status["windows"]["count"]
        self.wait_for(lambda: self.status["windows"]["count"] >= before + more, f"{more} more windows")

    def release(self, token: str) -> None:
        """What is served now is normal: verdicts go."""
        self.kubectl("annotate", "--overwrite", "driftmonitor", "flights", f"perennial.dev/release={token}")
        self.wait_for(lambda: self.status.get("handled", {}).get("release") == token, "the release is taken")


def _is_ready(pod: dict[str, Any]) -> bool:
    if "deletionTimestamp" in pod["metadata"]:
        return False
    conditions = pod.get("status", {}).get("conditions", [])
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def _post(url: str, body: dict[str, Any]) -> dict[str, Any] | None:
    """The answer, None where it was lost, an empty one where the pod took nothing: it may be ending."""
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=5) as response:
            answer: dict[str, Any] = json.load(response)
            return answer
    except urllib.error.HTTPError:
        return {}
    except urllib.error.URLError as error:
        return {} if isinstance(error.reason, ConnectionRefusedError) else None
    except (OSError, http.client.HTTPException):
        return None
