"""The examples of DriftMonitors as users meet them: each is admitted as it is, and the operator takes it up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.harness import Harness
from tests.cluster.monitoring_scene import Scene
from tests.cluster.operator_process import ROOT, OperatorProcess, install_crds

EXAMPLES = sorted((ROOT / "examples").glob("monitoring-*.yaml"))


@pytest.fixture
def operator(cluster: Harness, images: list[str], namespace: str, tmp_path: Path) -> Iterator[OperatorProcess]:
    install_crds(cluster)
    process = OperatorProcess(cluster, namespace, images[1], tmp_path / "operator.log")
    process.start()
    yield process
    process.stop()


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
