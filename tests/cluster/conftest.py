"""A cluster with the project's images for the cluster tests, one for each of pytest-xdist's workers.

Workers share nothing, so that a test may stop the API server or install the chart beside others. Files stay whole and
the long ones start first. `PERENNIAL_CLUSTER=name` takes a cluster that runs already, and leaves it so;
`PERENNIAL_KEEP_CLUSTER=1` leaves the ones made here.
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
from cluster.paths import REPOSITORY
from tests.cluster.operator_process import OperatorProcess, install_crds

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[Harness]:
    own = "perennial-test" if worker_id == "master" else f"perennial-test-{worker_id}"
    name = os.environ.get("PERENNIAL_CLUSTER", own)
    keep = os.environ.get("PERENNIAL_KEEP_CLUSTER") == "1"
    try:
        if "PERENNIAL_CLUSTER" not in os.environ:
            providers.choose().build(TARGETS)  # a new cluster begins with them
        with serving(name, tmp_path_factory.mktemp("cluster"), keep) as harness:
            yield harness
    except ClusterError as problem:
        pytest.exit(f"the cluster tests have no cluster: {problem}", returncode=3)


@pytest.fixture(scope="session")
def images(cluster: Harness) -> list[str]:
    """The operator's and the runtime's image, built from this tree and loaded. References, in that order."""
    return cluster.load_images(*TARGETS)


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
    cluster: Harness, images: list[str], namespace: str, tmp_path: Path, operator_settings: dict[str, str]
) -> Iterator[OperatorProcess]:
    """One operator, in charge of the test's namespace."""
    install_crds(cluster)
    process = OperatorProcess(cluster, namespace, images[1], tmp_path / "operator.log", settings=operator_settings)
    process.start()
    yield process
    process.stop()
