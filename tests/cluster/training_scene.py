"""What the cluster tests of TrainingJobs say and ask: manifests, data, and patient questions to the API server."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cluster.harness import Harness

TINY = {"requests": {"cpu": "20m", "memory": "150Mi"}}
PATIENCE = 300.0
"""Seconds: for a busy machine. What goes wrong is mostly told by a status long before."""
FIT = """
import os
import pandas, skops.io
from sklearn.linear_model import LogisticRegression
model = LogisticRegression().fit(pandas.DataFrame({"a": [0.0, 1.0, 2.0, 3.0]}), [0, 0, 1, 1])
skops.io.dump(model, os.path.join(os.environ["PERENNIAL_OUTPUT"], "model.skops"))
"""
"""A container of one's own that leaves the least there can be: a model."""
_ENDED = ("Succeeded", "Unchanged", "Rejected", "Failed")


def rows(seed: int = 1, count: int = 400) -> str:
    """A table that can be learned, but not perfectly."""
    draw = random.Random(seed)
    lines = ["a,b,carrier,late"]
    for _ in range(count):
        a, b, carrier = draw.gauss(0, 1), draw.gauss(0, 1), draw.choice(["UA", "DL", "AA"])
        late = int(a + 0.5 * b + (carrier == "UA") + draw.gauss(0, 0.7) > 0.3)
        lines.append(f"{a:.3f},{b:.3f},{carrier},{late}")
    return "\n".join(lines)


def configmap(name: str, **files: str) -> dict[str, Any]:
    data = {key.replace("_", "."): text for key, text in files.items()}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def trainingjob(name: str, **spec: Any) -> dict[str, Any]:
    """A TrainingJob on the ConfigMap `rows`; None takes a field away."""
    base: dict[str, Any] = {
        "sklearn": {"estimator": "sklearn.linear_model.LogisticRegression"},
        "data": {"uri": "configmap://rows/rows.csv", "target": "late"},
        "resources": TINY,
        "backoffLimit": 0,
    }
    merged = {key: value for key, value in {**base, **spec}.items() if value is not None}
    return {"apiVersion": "perennial.dev/v1alpha1", "kind": "TrainingJob", "metadata": {"name": name}, "spec": merged}


def own(image: str, code: str | None = None, **container: Any) -> dict[str, Any]:
    """The part of a spec that trains in a container of one's own, with a line of Python."""
    command = {"command": ["python", "-c", code]} if code else {}
    made = {"name": "fit", "image": image, "imagePullPolicy": "IfNotPresent", **command, **container}
    return {"sklearn": None, "data": None, "template": {"spec": {"containers": [made]}}}


@dataclass(frozen=True)
class Scene:
    """A namespace with an operator in charge of it."""

    cluster: Harness
    namespace: str

    def apply(self, *manifests: dict[str, Any]) -> None:
        self.cluster.apply(list(manifests), self.namespace)

    def kubectl(self, *arguments: str) -> str:
        return self.cluster.kubectl("--namespace", self.namespace, *arguments)

    def status(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.cluster.get("trainingjob", name, namespace=self.namespace)["status"]
        return found

    def run(self, name: str, version: int = 1) -> dict[str, Any]:
        """The run as the status tells it; empty where it does not."""
        runs = self.status(name).get("runs", [])
        return next((run for run in runs if run["version"] == version), {})

    def condition(self, name: str, kind: str) -> dict[str, Any]:
        conditions = self.status(name).get("conditions", [])
        return next((condition for condition in conditions if condition["type"] == kind), {})

    def jobs(self, name: str, role: str = "trainer") -> list[str]:
        selector = f"perennial.dev/trainingjob={name},app.kubernetes.io/name={role}"
        listed = self.cluster.get("jobs", namespace=self.namespace, selector=selector)["items"]
        return sorted(job["metadata"]["name"] for job in listed)

    def wait_for(self, what: Callable[[], Any], why: str, patience: float = PATIENCE) -> Any:
        """The first answer that holds."""
        deadline = time.monotonic() + patience
        while True:
            if found := what():
                return found
            if time.monotonic() > deadline:
                told = self.kubectl("get", "trainingjobs,jobs,pods", "-o", "wide")
                raise AssertionError(f"{why}: not within {patience:.0f} s\n{told}")
            time.sleep(0.5)

    def wait_for_state(self, name: str, *states: str, version: int = 1, patience: float = PATIENCE) -> dict[str, Any]:
        """The run in one of these states. Raises AssertionError as soon as it has ended in another."""
        awaited = {*states, *_ENDED}
        why = f"{name} v{version} is {' or '.join(states)}"
        found: dict[str, Any] = self.wait_for(
            lambda: run if (run := self.run(name, version)).get("state") in awaited else None, why, patience
        )
        assert found["state"] in states, f"{why}: {found}"
        return found
