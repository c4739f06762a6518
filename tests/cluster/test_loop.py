"""The whole loop, on the demonstration's real flights, while the operator is killed again and again.

One story in order: the loop goes round under ten kills; then another build of the operator takes over and nothing
moves; then the three resources are deleted and nothing is left but the store.
"""

from __future__ import annotations

import json
import random
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cluster.harness import Harness
from cluster.paths import REPOSITORY
from demo import flights, scene
from demo.kubectl import Kubectl
from tests.cluster.operator_process import OperatorProcess

pytestmark = pytest.mark.xdist_group("loop")

PACE_SECONDS = 4.5
KILLS = 10
KILLING_SECONDS = 120.0
SETTLING_SECONDS = 60.0
LAST_WINDOW_SECONDS = 5.0
CHILDREN = (
    "jobs,pods,deployments,replicasets,services,configmaps,controllerrevisions,poddisruptionbudgets,networkpolicies"
)
OURS = "app.kubernetes.io/managed-by=perennial"


@dataclass(frozen=True)
class Loop:
    """The played loop: where it is, who works on it, what the airport saw."""

    kubectl: Kubectl
    operator: OperatorProcess
    weeks: list[dict[str, Any]]

    def status(self, kind: str) -> dict[str, Any]:
        found = self.kubectl.get(kind, "flights")
        assert found is not None, f"{kind} flights is not there"
        return dict(found["status"])

    def children(self) -> list[str]:
        return self.kubectl.run("get", CHILDREN, f"--selector={OURS}", "--output=name").split()


class Killer(threading.Thread):
    """Kills the operator at random moments, and starts it anew a moment later, until it has done so often enough."""

    def __init__(self, operator: OperatorProcess, seconds: float) -> None:
        super().__init__(daemon=True)
        self._operator = operator
        self._pauses = [random.uniform(0.3, 1.7) * seconds / KILLS for _ in range(KILLS)]
        self.done = 0

    def run(self) -> None:
        for pause in self._pauses:
            time.sleep(pause)
            self._operator.kill()
            time.sleep(random.uniform(0.0, 1.0))
            self._operator.start()
            self.done += 1


def eventually(true: Callable[[], bool], seconds: float = SETTLING_SECONDS) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if true():
            return True
        time.sleep(0.5)
    return true()


def cured(loop: Loop) -> list[int]:
    """The accepted versions that the DriftMonitor asked for."""
    runs = loop.status("trainingjob")["runs"]
    return [run["version"] for run in runs if run["trigger"] == "DriftMonitor" and run["state"] == "Succeeded"]


@pytest.fixture(scope="module")
def loop(cluster: Harness, images: list[str], crds: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loop]:
    log = tmp_path_factory.mktemp("loop") / "operator.log"
    operator = OperatorProcess(cluster, "flights", images[1], log)
    kubectl = Kubectl(cluster.cluster.kubectl, cluster.kubeconfig, "flights")
    scene.clear(kubectl)
    scene.open_airport(kubectl, flights.prepared(), images[1])
    operator.start()
    try:
        played = Loop(kubectl, operator, [])
        killer = Killer(operator, KILLING_SECONDS)
        killer.start()
        scene.apply_resources(kubectl)
        scene.wait_until_served(kubectl)
        for week in scene.fly(kubectl, scene.calendar(kubectl, operator.is_at_work), PACE_SECONDS):
            played.weeks.append(week)
            if not killer.is_alive() and cured(played) and scene.has_settled(kubectl):
                break
        killer.join()
        assert killer.done == KILLS
        # Its process would fly on after its caller has gone, and change what the following tests look at.
        kubectl.run("delete", "pod", "airport", "--now")
        time.sleep(LAST_WINDOW_SECONDS)
        yield played
    finally:
        operator.stop()
        print(log.read_text()[-4000:])
        scene.clear(kubectl)


def test_ten_kills_change_nothing_in_the_outcome(loop: Loop) -> None:
    assert eventually(lambda: scene.has_settled(loop.kubectl)), loop.status("modeldeployment")
    training, serving = loop.status("trainingjob"), loop.status("modeldeployment")
    runs = {run["version"]: run for run in training["runs"]}
    assert sorted(runs) == list(range(1, len(runs) + 1)), "a run was lost or started twice"
    assert runs[1]["trigger"] == "FirstRun"
    assert all(run["trigger"] == "DriftMonitor" for version, run in runs.items() if version > 1)
    assert cured(loop), "the year's change was not found, or its cure was not accepted"
    promoted = [entry["version"] for entry in serving["history"] if entry["outcome"] == "Promoted"]
    assert max(cured(loop)) in promoted
    assert not serving.get("quarantined")


def test_no_request_was_lost_and_the_cure_helped(loop: Loop) -> None:
    assert loop.weeks[-1]["failed_requests"] == 0
    answered = {version for week in loop.weeks for version in week["versions"]}
    assert len(answered) > 1, "all requests were answered by the first version"


def test_each_request_of_the_monitor_made_one_run(loop: Loop) -> None:
    training, monitoring = loop.status("trainingjob"), loop.status("driftmonitor")
    by_monitor = [run for run in training["runs"] if run["trigger"] == "DriftMonitor"]
    assert len(by_monitor) == len({request["id"] for request in monitoring["requests"]})


def test_another_build_of_the_operator_moves_nothing(
    loop: Loop, cluster: Harness, images: list[str], tmp_path: Path
) -> None:
    assert eventually(lambda: scene.has_settled(loop.kubectl))
    before, pods = loop.status("trainingjob")["runs"], server_pods(loop)
    assert pods
    loop.operator.stop()
    following = OperatorProcess(cluster, "flights", images[1], tmp_path / "next.log", changed_source(tmp_path))
    cluster.kubectl(
        "apply", "--server-side", "--force-conflicts", "--field-manager=helm", "--filename", str(tmp_path / "crds")
    )
    following.start()
    try:
        time.sleep(15)
        log = (tmp_path / "next.log").read_text()
        assert "Traceback" not in log, log
        assert server_pods(loop) == pods, "the upgrade replaced pods"
        assert [run["version"] for run in loop.status("trainingjob")["runs"]] == [run["version"] for run in before]
    finally:
        following.stop()
        cluster.kubectl(
            "apply",
            "--server-side",
            "--force-conflicts",
            "--field-manager=helm",
            "--filename",
            str(REPOSITORY / "crds"),
        )
        loop.operator.start()


def server_pods(loop: Loop) -> set[str]:
    """The uids of those that are not ending."""
    selector = "--selector=perennial.dev/modeldeployment=flights"
    found = json.loads(loop.kubectl.run("get", "pods", selector, "--output=json"))["items"]
    return {pod["metadata"]["uid"] for pod in found if "deletionTimestamp" not in pod["metadata"]}


def changed_source(folder: Path) -> Path:
    """This tree with other builders and other defaults, as a later release might have them, and its CRDs in `crds`."""
    source = folder / "operator"
    shutil.copytree(REPOSITORY / "operator", source, ignore=shutil.ignore_patterns("__pycache__"))
    edit(source / "perennial/serving/builders/server_container.py", "period=2, timeout=2", "period=3, timeout=3")
    edit(source / "perennial/serving/builders/template.py", "GRACE_SECONDS = 30", "GRACE_SECONDS = 40")
    token = '"automountServiceAccountToken": bool(account),'
    edit(source / "perennial/pods/template.py", token, f'"hostname": "later", {token}')
    shutil.copytree(REPOSITORY / "crds", folder / "crds")
    training, serving = source / "perennial/api/trainingjob.py", source / "perennial/api/modeldeployment.py"
    edit(training, "= 24", "= 12")
    # What the digests cover: a stored object has the old default, which is left out of them for ever.
    edit(training, "fraction: Annotated[float, Gt(0), Lt(1)] = 0.25", "fraction: Annotated[float, Gt(0), Lt(1)] = 0.5")
    edit(serving, 'requests={"cpu": "100m", "memory": "256Mi"}', 'requests={"cpu": "120m", "memory": "300Mi"}')
    kinds = folder / "crds/perennial.dev_trainingjobs.yaml"
    edit(kinds, "default: 24", "default: 12")
    edit(kinds, "default: 0.25", "default: 0.5")
    edit(kinds, "fraction: 0.25", "fraction: 0.5")
    deployments = folder / "crds/perennial.dev_modeldeployments.yaml"
    edit(deployments, "cpu: 100m", "cpu: 120m")
    edit(deployments, "memory: 256Mi", "memory: 300Mi")
    return source


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text, f"{path.name} has no {old!r} to change any more: choose something else"
    path.write_text(text.replace(old, new))


def test_deleting_the_three_leaves_nothing_but_the_store(loop: Loop) -> None:
    loop.kubectl.run("delete", "trainingjob,modeldeployment,driftmonitor", "flights", "--wait=false")
    assert eventually(lambda: not loop.children(), 90), loop.children()
    claims = loop.kubectl.run("get", "persistentvolumeclaims", "--output=name").split()
    assert sorted(claims) == ["persistentvolumeclaim/lake", "persistentvolumeclaim/perennial-models"]
