"""The examples of TrainingJobs as users meet them: all are admitted as they are, and the first one works as it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.harness import Harness
from tests.cluster.operator_process import ROOT, OperatorProcess
from tests.cluster.training_scene import Scene

EXAMPLES = sorted((ROOT / "examples").glob("training-*.yaml"))


@pytest.fixture
def scene(cluster: Harness, namespace: str, operator: OperatorProcess) -> Scene:
    return Scene(cluster, namespace)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.stem))
def test_an_example_is_admitted(cluster: Harness, crds: None, path: Path) -> None:
    cluster.kubectl("apply", "--dry-run=server", "-f", str(path))


def test_the_quickstart_does_what_it_says(scene: Scene) -> None:
    scene.kubectl("apply", "-f", str(ROOT / "examples" / "training-quickstart.yaml"))
    scene.kubectl("wait", "--for=condition=Ready", "trainingjob/flights", "--timeout=120s")
    assert scene.status("flights")["acceptedVersion"] == 1
