"""kind's command line, answered by the embedded cluster: what drives kind (pytest-kind, scripts) drives this.

What kind offers and this does not is refused by name, never silently left out.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import yaml

from cluster import embedded, kubeconfig, layout, loading
from cluster.errors import ClusterError

DEFAULT_NAME = "kind"
ROLES = ("control-plane", "worker")


def main(arguments: list[str] | None = None) -> int:
    given = _parser().parse_args(arguments)
    try:
        given.run(given)
    except (ClusterError, OSError) as problem:
        print(f"ERROR: {problem}", file=sys.stderr)
        return 1
    return 0


def _get_clusters(_: argparse.Namespace) -> None:
    names = [cluster.layout.name for cluster in embedded.clusters() if cluster.pid]
    print("\n".join(names) if names else "No kind clusters found.", file=sys.stdout if names else sys.stderr)


def _get_nodes(given: argparse.Namespace) -> None:
    print("\n".join(_running(given.name).layout.nodes))


def _get_kubeconfig(given: argparse.Namespace) -> None:
    print(_running(given.name).layout.kubeconfig.read_text(), end="")


def _create(given: argparse.Namespace) -> None:
    existing = embedded.find(given.name)
    if existing is not None and existing.pid is not None:
        raise ClusterError(f"a cluster with the name {given.name} already exists")
    config = parse_config(_text(given.config) if given.config else "")
    if given.image:
        print(f"  --image {given.image} is ignored: the version is that of the components built here", file=sys.stderr)
    nodes = layout.node_names(given.name, config["roles"])
    cluster = embedded.up(given.name, nodes, config["gates"])
    kubeconfig.merge(_target(given), yaml.safe_load(cluster.layout.kubeconfig.read_text()))


def _delete(given: argparse.Namespace) -> None:
    embedded.down(given.name)
    kubeconfig.cut(_target(given), f"kind-{given.name}")


def _load_image(given: argparse.Namespace) -> None:
    for name in given.names:
        loading.load_image(_running(given.name), name)


def _load_archive(given: argparse.Namespace) -> None:
    for name in given.names:
        loading.load_archive(_running(given.name), Path(name))


def parse_config(text: str) -> dict[str, Any]:
    """The roles of the nodes and the feature gates that a kind configuration asks for.

    Raises:
        ClusterError: for a field that the embedded cluster cannot honour.
    """
    config = yaml.safe_load(text) or {}
    known = {"kind", "apiVersion", "name", "nodes", "featureGates"}
    unknown = sorted(set(config) - known)
    nodes = config.get("nodes") or [{"role": "control-plane"}]
    for number, node in enumerate(nodes):
        unknown += [f"nodes[{number}].{field}" for field in sorted(set(node) - {"role", "image"})]
    if unknown:
        raise ClusterError(
            f"the embedded cluster has no way to honour these fields of the configuration: {', '.join(unknown)}"
        )
    roles = [node.get("role", "control-plane") for node in nodes]
    if set(roles) - set(ROLES) or roles.count("control-plane") != 1:
        raise ClusterError("nodes need exactly one role: control-plane; the others are role: worker")
    roles.sort()  # the control plane's node comes first
    if len(roles) > layout.NODES:
        raise ClusterError(f"{len(roles)} nodes are more than {layout.NODES}")
    gates = [f"{gate}={str(value).lower()}" for gate, value in (config.get("featureGates") or {}).items()]
    return {"roles": roles, "gates": gates}


def _running(name: str) -> embedded.EmbeddedCluster:
    cluster = embedded.find(name)
    if cluster is None or cluster.pid is None:
        raise ClusterError(f"no nodes found for cluster {name}")
    return cluster


def _target(given: argparse.Namespace) -> Path:
    first = os.environ.get("KUBECONFIG", "").split(":")[0]
    return Path(given.kubeconfig or first or Path.home() / ".kube" / "config")


def _text(source: str) -> str:
    return sys.stdin.read() if source == "-" else Path(source).read_text()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="kind", description="kind's command line for the embedded cluster")
    verbs = parser.add_subparsers(required=True, metavar="command")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--name", "-n", default=os.environ.get("KIND_CLUSTER_NAME", DEFAULT_NAME))
    shared.add_argument("--kubeconfig", default="")
    shared.add_argument("--quiet", "-q", action="store_true")
    shared.add_argument("--verbosity", "-v", default="0")

    def verb(name: str) -> Any:
        return verbs.add_parser(name).add_subparsers(required=True, metavar="what")

    get, load = verb("get"), verb("load")
    for what, run in {"clusters": _get_clusters, "nodes": _get_nodes, "kubeconfig": _get_kubeconfig}.items():
        get.add_parser(what, parents=[shared]).set_defaults(run=run)
    create = verb("create").add_parser("cluster", parents=[shared])
    create.add_argument("--image", default="")
    create.add_argument("--config", default="")
    create.add_argument("--wait", default="0s", help="accepted: it always waits until the nodes are Ready")
    create.add_argument("--retain", action="store_true", help="accepted: a failed start always stays, with its logs")
    create.set_defaults(run=_create)
    verb("delete").add_parser("cluster", parents=[shared]).set_defaults(run=_delete)
    for what, run in {"docker-image": _load_image, "image-archive": _load_archive}.items():
        loading_parser = load.add_parser(what, parents=[shared])
        loading_parser.add_argument("names", nargs="+")
        loading_parser.set_defaults(run=run)
    return parser


if __name__ == "__main__":
    sys.exit(main())
