"""The examples of DriftMonitors as users meet them: each is admitted as it is, and the operator takes it up."""

from __future__ import annotations

from cluster.harness import Harness
from tests.cluster.monitoring_scene import Scene
from tests.cluster.operator_process import ROOT, OperatorProcess

EXAMPLES = sorted((ROOT / "examples").glob("monitoring-*.yaml"))


def test_examples_are_taken_up(cluster: Harness, namespace: str, operator: OperatorProcess) -> None:
    assert EXAMPLES
    scene = Scene(cluster, namespace)
    for generation, path in enumerate(EXAMPLES, start=1):
        cluster.kubectl("apply", "--namespace", namespace, "-f", str(path))
        scene.wait_for(
            lambda: scene.status["observedGeneration"] == scene.get("driftmonitor")["metadata"]["generation"], path.name
        )
        assert scene.get("driftmonitor")["metadata"]["generation"] == generation
        assert scene.condition("Ready")["reason"] == "DeploymentNotFound"
