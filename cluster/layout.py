"""The names, addresses and folders of one embedded cluster, all computed from its name, its index and its nodes.

Addresses are from 198.18.0.0/15, which is set aside for benchmarks and so is no one's network. A cluster of index i has

    198.18.i.0/30      the veth: .1 on the host, .2 inside
    198.18.i.128/25    the nodes' bridge: .129 the API server, .130 and on the nodes
    198.19.16i.0/20    the pods: node n has 198.19.(16i+n).0/24

so that sixteen clusters of sixteen nodes live side by side and the host reaches every node and pod by two routes.
Services have 10.96.0.0/16 in every cluster, and no meaning outside it.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from cluster.paths import state_home

CLUSTERS = 16
NODES = 16
SERVICES = "10.96.0.0/16"
DNS_ADDRESS = "10.96.0.10"
API_PORT = 6443


@dataclass(frozen=True)
class Layout:
    name: str
    index: int
    nodes: tuple[str, ...]
    binaries: str
    feature_gates: tuple[str, ...] = ()

    @property
    def state(self) -> Path:
        return state_home() / self.name

    @property
    def host_interface(self) -> str:
        return f"perennial{self.index}"

    @property
    def cgroup(self) -> str:
        return f"perennial{self.index}"

    @property
    def host_address(self) -> str:
        return f"198.18.{self.index}.1"

    @property
    def inner_address(self) -> str:
        return f"198.18.{self.index}.2"

    @property
    def bridge_address(self) -> str:
        return f"198.18.{self.index}.129"

    @property
    def node_network(self) -> str:
        return f"198.18.{self.index}.128/25"

    @property
    def pod_network(self) -> str:
        return f"198.19.{16 * self.index}.0/20"

    def node_address(self, number: int) -> str:
        return f"198.18.{self.index}.{130 + number}"

    def pods_of(self, number: int) -> str:
        return f"198.19.{16 * self.index + number}.0/24"

    def node_cgroup(self, number: int) -> str:
        return f"{self.cgroup}/{self.nodes[number]}"

    @property
    def server(self) -> str:
        """The API server as the host reaches it."""
        return f"https://{self.inner_address}:{API_PORT}"

    @property
    def server_inside(self) -> str:
        return f"https://{self.bridge_address}:{API_PORT}"

    @property
    def kubeconfig(self) -> Path:
        return self.state / "kubeconfig"

    def save(self) -> None:
        partial = self.state / ".cluster.json"
        partial.write_text(json.dumps(asdict(self), indent=1))
        partial.rename(self.state / "cluster.json")


def load(folder: Path) -> Layout:
    """The layout saved in a state directory, from outside or (`INSIDE`) from inside the namespaces."""
    saved = json.loads((folder / "cluster.json").read_text())
    return Layout(
        name=saved["name"],
        index=saved["index"],
        nodes=tuple(saved["nodes"]),
        binaries=saved["binaries"],
        feature_gates=tuple(saved["feature_gates"]),
    )


def var_of(state: Path, node: str) -> Path:
    """What stands in for /var on a node, in the state directory by its path on the host."""
    return state / "nodes" / node / "var"


def node_names(cluster: str, roles: list[str]) -> tuple[str, ...]:
    """kind's names: `c-control-plane`, `c-worker`, `c-worker2`."""
    names: list[str] = []
    for role in roles:
        count = sum(1 for earlier in roles[: len(names)] if earlier == role) + 1
        names.append(f"{cluster}-{role}{count if count > 1 else ''}")
    return tuple(names)
