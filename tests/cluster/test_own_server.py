"""MLServer behind the sidecar, by the example and its image: every request counted once, compared and rolled out
without losing one."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

import msgspec
import pytest
import yaml

from cluster.harness import Harness
from perennial.wire.places import CONTROL_PORT
from perennial.wire.stats import STATS_PATH, Stats
from tests.cluster.monitoring_scene import TINY, TRAININGJOB, driftmonitor, training_rows
from tests.cluster.operator_process import ROOT, OperatorProcess
from tests.cluster.serving_scene import Scene, assert_nothing_lost

SERVERS = "perennial.dev/modeldeployment=flights"
EXAMPLE = ROOT / "examples" / "serving-own-server.yaml"


@pytest.fixture
def scene(cluster: Harness, images: list[str], namespace: str, operator: OperatorProcess) -> Scene:
    return Scene(cluster, namespace, images[1])


def example(image: str) -> dict[str, Any]:
    """The example as it is, with an image that there is here, a small pod and a step that one pod can take."""
    deployment: dict[str, Any] = yaml.safe_load(EXAMPLE.read_text())
    spec = deployment["spec"]
    spec["template"]["spec"]["containers"][0] |= {"image": image, "imagePullPolicy": "IfNotPresent"}
    spec["resources"] = {"requests": {"cpu": "20m", "memory": "150Mi"}}
    spec["rollout"]["steps"] = [{"weight": 50, "minRequests": 50}]
    return deployment


def trainingjob(**parameters: float) -> dict[str, Any]:
    sklearn = TRAININGJOB["spec"]["sklearn"] | {"parameters": parameters}
    return TRAININGJOB | {"spec": TRAININGJOB["spec"] | {"sklearn": sklearn, "resources": TINY}}


LIAR = """
import http.server

class Liar(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if "content-length" in self.headers:
            self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"outputs": []}')
    do_POST = do_GET

http.server.ThreadingHTTPServer(("", 8000), Liar).serve_forever()
"""
"""Says that it is ready and answers what nobody can read."""


def measured(pod: dict[str, Any]) -> Stats:
    """A server pod's totals, as the operator reads them."""
    with urllib.request.urlopen(f"http://{pod['status']['podIP']}:{CONTROL_PORT}{STATS_PATH}", timeout=10) as answer:
        return msgspec.json.decode(answer.read(), type=Stats)


def ends_too_early(pod: dict[str, Any]) -> bool:
    """Whether MLServer is gone while the sidecar still answers."""
    states = {
        status["name"]: status["state"]
        for status in [*pod["status"].get("initContainerStatuses", []), *pod["status"].get("containerStatuses", [])]
    }
    return "terminated" in states.get("mlserver", {}) and "running" in states.get("server", {})


def test_an_own_server_is_counted_compared_and_rolled_out(scene: Scene) -> None:
    (image,) = scene.cluster.load_images("mlserver")
    wrong = example(image)
    wrong["spec"]["template"]["spec"]["containers"][0]["command"] = ["/opt/serve/bin/python", "-c", LIAR]
    scene.apply(training_rows(), trainingjob(), wrong)
    scene.wait_for(
        lambda: "the examples of the version have no answer" in json.dumps(scene.status("flights")),
        "the status says what is wrong with a server of another model",
    )
    scene.apply(example(image), driftmonitor())
    scene.wait_stable("flights", 1)

    def monitor() -> dict[str, Any]:
        status: dict[str, Any] = scene.get("driftmonitor", "flights")["status"]
        return status

    with scene.load("flights", labels=True) as counted:
        scene.wait_for(lambda: monitor().get("windows", {}).get("count", 0) >= 3, "three windows are judged")
    assert_nothing_lost(counted, at_least=600)
    scene.wait_for(lambda: monitor()["rows"] >= counted["sent"], f"all {counted['sent']} rows are counted", 60)
    assert (monitor()["rows"], monitor()["labels"]) == (counted["sent"], counted["labelled"])
    assert counted["labelled"] == counted["sent"]
    assert monitor()["coverage"] == 1

    early: list[dict[str, Any]] = []
    with scene.load("flights") as counted:
        scene.apply(trainingjob(C=0.5))
        scene.wait_for(lambda: scene.status("flights").get("candidate", {}).get("version") == 2, "it rolls out")

        def promoted() -> bool:
            early.extend(pod for pod in scene.get("pods")["items"] if ends_too_early(pod))
            return bool(scene.status("flights").get("stable", {}).get("version") == 2)

        scene.wait_for(promoted, "version 2 is promoted")
        scene.wait_for(
            lambda: promoted() and len(scene.get("pods", selector=SERVERS)["items"]) == 1, "version 1 is gone"
        )
    assert_nothing_lost(counted, at_least=200)
    assert counted["versions"].keys() == {"1", "2"}
    assert not early
    # The status has shown it for a moment only; the pod that was judged still knows it.
    (winner,) = scene.get("pods", selector=SERVERS)["items"]
    comparison = measured(winner).comparison
    assert comparison is not None
    assert comparison.compared > 0
