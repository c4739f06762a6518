"""Images into the nodes of an embedded cluster, by containerd's own client inside each node's namespaces."""

from pathlib import Path

from cluster import images
from cluster.components import CONTAINERD_SOCKET
from cluster.ctr import Ctr
from cluster.embedded import EmbeddedCluster
from cluster.errors import ClusterError
from cluster.layers import Layout
from cluster.locks import locked


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
            complaint = _client(cluster, node).take_archive(stream)
        if complaint is not None:
            raise ClusterError(f"{node} does not take the archive: {complaint}")


def _load_layout(cluster: EmbeddedCluster, node: str, layout: Layout) -> None:
    """Sends what the node lacks, and all of it when what it had is collected meanwhile."""
    client = _client(cluster, node)
    if client.has(layout):
        return
    listed = client.blobs()
    # containerd would collect, while it unpacks, the layers that the new image shares with the one it replaces.
    client.tag(layout.name, f"{layout.name}-previous")
    if client.take(layout, listed) is not None:
        complaint = client.take(layout)
        if complaint is not None:
            raise ClusterError(f"{node} does not take {layout.name}: {complaint}")


def _client(cluster: EmbeddedCluster, node: str) -> Ctr:
    return Ctr(CONTAINERD_SOCKET, cluster.exec(node=node))
