"""Images into the nodes of an embedded cluster, by containerd's own client inside each node's namespaces."""

import contextlib
import subprocess
from pathlib import Path
from typing import IO

from cluster import images
from cluster.components import CONTAINERD_SOCKET
from cluster.embedded import EmbeddedCluster
from cluster.errors import ClusterError
from cluster.layers import Layout
from cluster.locks import locked
from cluster.shell import environment, last_lines

CTR = ("ctr", "--namespace=k8s.io", f"--address={CONTAINERD_SOCKET}")


def load_image(cluster: EmbeddedCluster, name: str) -> None:
    with locked(images.lock()):
        layout = images.layout(name)
        layout.prune()
    with locked(images.lock(), shared=True):
        for node in cluster.layout.nodes:
            _load_layout(cluster, node, layout)


def load_archive(cluster: EmbeddedCluster, archive: Path) -> None:
    """Loads a tar file as `docker save` or OCI tools write it.

    Raises:
        ClusterError: when the file is missing or is no image archive.
    """
    if not archive.is_file():
        raise ClusterError(f"there is no image archive {archive}")
    for node in cluster.layout.nodes:
        with archive.open("rb") as stream:
            _import(cluster, node, stream)


def _load_layout(cluster: EmbeddedCluster, node: str, layout: Layout) -> None:
    """Sends what the node lacks, and all of it when what it had is collected meanwhile."""
    listed = set(_ctr(cluster, node, "content", "list", "--quiet").split())
    _keep_previous(cluster, node, layout.name)
    if _sent(cluster, node, layout, listed) is not None:
        complaint = _sent(cluster, node, layout, set())
        if complaint is not None:
            raise ClusterError(f"{node} does not take {layout.name}: {complaint}")


def _keep_previous(cluster: EmbeddedCluster, node: str, name: str) -> None:
    """Holds the image that the new one replaces: containerd would collect, while it unpacks, the layers both share."""
    command = cluster.exec(*CTR, "images", "tag", "--force", name, f"{name}-previous", node=node)
    subprocess.run(command, env=environment(), capture_output=True, check=False)  # the first time there is none


def _sent(cluster: EmbeddedCluster, node: str, layout: Layout, present: set[str]) -> str | None:
    """What went wrong, if anything did."""
    importing = subprocess.Popen(
        cluster.exec(*CTR, "images", "import", "-", node=node),
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert importing.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # its own words say more
        layout.write(importing.stdin, present)
    _, complaint = importing.communicate()
    return last_lines(complaint) if importing.returncode != 0 else None


def _import(cluster: EmbeddedCluster, node: str, stream: IO[bytes]) -> None:
    command = cluster.exec(*CTR, "images", "import", "-", node=node)
    done = subprocess.run(command, env=environment(), stdin=stream, capture_output=True, check=False)
    if done.returncode != 0:
        raise ClusterError(f"{node} does not take the archive: {last_lines(done.stderr)}")


def _ctr(cluster: EmbeddedCluster, node: str, *arguments: str) -> str:
    done = subprocess.run(
        cluster.exec(*CTR, *arguments, node=node), env=environment(), capture_output=True, check=False
    )
    if done.returncode != 0:
        raise ClusterError(last_lines(done.stderr))
    return done.stdout.decode()
