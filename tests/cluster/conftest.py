"""A cluster with the project's images for the cluster tests, one for each of pytest-xdist's workers.

Workers share nothing, so that a test may stop the API server or install the chart beside others. Tests of a group stay
together, and the long ones start first: a worker that began one last would be waited for. `PERENNIAL_CLUSTER=name`
takes a cluster that runs already, and leaves it so; `PERENNIAL_KEEP_CLUSTER=1` leaves the ones made here.
"""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from cluster import providers
from cluster.errors import ClusterError
from cluster.harness import Harness, serving
from cluster.images import TARGETS
from cluster.locks import locked
from cluster.paths import REPOSITORY
from tests.cluster.operator_process import OperatorProcess

Command = Callable[..., subprocess.CompletedProcess[str]]

LONGEST_FIRST = (
    *(
        "test_serving_rollouts",
        "test_loop",
        "test_monitoring_scene",
        "test_serving_following",
        "test_training_failures",
    ),
    *("test_installation", "test_monitoring_verdicts", "test_own_server", "test_own_container", "test_label_table"),
    *("test_cluster_lifecycle", "test_sources", "test_stores", "test_training_runs", "test_training_gates"),
    *("test_engine", "test_cluster_workloads", "test_trainer_pod", "test_server_pod"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {name: place for place, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> None:
    """The project's images are built, by the first worker that comes. The others wait for it."""
    folder = tmp_path_factory.getbasetemp()
    done = (folder if worker_id == "master" else folder.parent) / "images-are-built"
    with locked(done.with_suffix(".lock")):
        if not done.exists():
            try:
                providers.choose().build(TARGETS)
            except ClusterError as problem:
                pytest.exit(f"the cluster tests have no images: {problem}", returncode=3)
            done.touch()


@pytest.fixture(scope="session")
def cluster(
    tmp_path_factory: pytest.TempPathFactory, worker_id: str, request: pytest.FixtureRequest
) -> Iterator[Harness]:
    own = "perennial-test" if worker_id == "master" else f"perennial-test-{worker_id}"
    name = os.environ.get("PERENNIAL_CLUSTER", own)
    keep = os.environ.get("PERENNIAL_KEEP_CLUSTER") == "1"
    try:
        if "PERENNIAL_CLUSTER" not in os.environ:
            request.getfixturevalue("built")  # a new cluster begins with them
        with serving(name, tmp_path_factory.mktemp("cluster"), keep) as harness:
            yield harness
    except ClusterError as problem:
        pytest.exit(f"the cluster tests have no cluster: {problem}", returncode=3)


@pytest.fixture(scope="session")
def images(cluster: Harness, built: None) -> list[str]:
    """The operator's and the runtime's image, built from this tree and loaded. References, in that order."""
    return providers.choose(cluster.provider).load(cluster.name, TARGETS)


@pytest.fixture(scope="session")
def crds(cluster: Harness) -> None:
    """The project's kinds, as generated."""
    cluster.kubectl(
        "apply", "--server-side", "--force-conflicts", "--field-manager=helm", "--filename", str(REPOSITORY / "crds")
    )
    cluster.kubectl("wait", "--for=condition=Established", "--filename", str(REPOSITORY / "crds"), "--timeout=60s")


@pytest.fixture(scope="session")
def kubectl(cluster: Harness, crds: None) -> Command:
    """kubectl as a function: arguments, `input`; returns the completed process, also of a failure."""
    return partial(cluster.attempt, cluster.cluster.kubectl)


@pytest.fixture(scope="session")
def helm(cluster: Harness, crds: None) -> Command:
    """helm likewise."""
    return partial(cluster.attempt, cluster.cluster.helm)


@pytest.fixture
def namespace(cluster: Harness) -> Iterator[str]:
    """A namespace that admits restricted pods only, gone after the test."""
    name = f"test-{secrets.token_hex(4)}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def operator_settings() -> dict[str, str]:
    """Environment variables of the operator; a module may have its own."""
    return {}


@pytest.fixture
def operator(
    cluster: Harness, images: list[str], crds: None, namespace: str, tmp_path: Path, operator_settings: dict[str, str]
) -> Iterator[OperatorProcess]:
    """One operator, in charge of the test's namespace."""
    process = OperatorProcess(cluster, namespace, images[1], tmp_path / "operator.log", settings=operator_settings)
    process.start()
    yield process
    process.stop()
