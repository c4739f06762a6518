"""`python -m cluster`: bring a cluster up and down, look at it, put the project's images into it."""

import argparse
import json
import os
import subprocess
import sys

from cluster import embedded, images, kubeconfig, providers
from cluster.embedded import EmbeddedCluster
from cluster.errors import ClusterError
from cluster.supervisor import ACTIONS, ask

DEFAULT_NAME = "perennial"


def main(arguments: list[str] | None = None) -> int:
    given = _parser().parse_args(arguments)
    try:
        return int(given.run(given) or 0)
    except ClusterError as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _up(given: argparse.Namespace) -> None:
    cluster = providers.choose().up(given.name, workers=given.workers)
    print(f"cluster {cluster.name} is up ({cluster.provider}). To use it:\n\n{kubeconfig.exports(cluster)}")


def _down(given: argparse.Namespace) -> None:
    gone = providers.choose().down(given.name)
    print(f"cluster {given.name} is {'gone' if gone else 'not there'}")


def _status(given: argparse.Namespace) -> int:
    found = embedded.clusters()
    for cluster in found:
        state = "running" if cluster.pid else "dead (`down` or `up` clears it)"
        print(f"{cluster.layout.name}: {state}, nodes {', '.join(cluster.layout.nodes)}, {cluster.layout.state}")
        if cluster.pid:
            print(f"  control plane: {_components(cluster, None)}")
            for node in cluster.layout.nodes:
                print(f"  {node}: {_components(cluster, node)}")
    if not found:
        print("no embedded cluster")
    return 0


def _components(cluster: EmbeddedCluster, node: str | None) -> str:
    try:
        reply = ask(cluster.control_socket(node), "status")
    except OSError:
        return "does not answer"
    return ", ".join(
        f"{name} ({state['starts']} starts)" if state["pid"] else f"{name} DOWN"
        for name, state in sorted(reply.items())
    )


def _images(given: argparse.Namespace) -> None:
    targets = given.target or images.TARGETS
    references = images.build(targets) if given.no_load else providers.choose().images(given.name, targets)
    print("\n".join(references))


def _kubeconfig(given: argparse.Namespace) -> None:
    print(providers.choose().find(given.name).kubeconfig.read_text(), end="")


def _env(given: argparse.Namespace) -> None:
    print(kubeconfig.exports(providers.choose().find(given.name)))


def _component(given: argparse.Namespace) -> None:
    reply = ask(_embedded(given.name).control_socket(given.node), given.action, given.component)
    if "error" in reply:
        raise ClusterError(reply["error"])
    print(json.dumps(reply))


def _exec(given: argparse.Namespace) -> int:
    command = given.command[1:] if given.command[:1] == ["--"] else given.command
    return subprocess.call(_embedded(given.name).exec(*(command or ["sh"]), node=given.node))


def _embedded(name: str) -> EmbeddedCluster:
    cluster = embedded.find(name)
    if cluster is None:
        raise ClusterError(f"there is no embedded cluster {name}: `python -m cluster up --name {name}`")
    return cluster


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m cluster", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")

    def command(name: str, run: object, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.add_argument(
            "--name", default=os.environ.get("PERENNIAL_CLUSTER", DEFAULT_NAME), help="the cluster (%(default)s)"
        )
        sub.set_defaults(run=run)
        return sub

    command("up", _up, "bring the cluster up; harmless when it is").add_argument(
        "--workers", type=int, default=0, help="further nodes beside the first (%(default)s)"
    )
    command("down", _down, "end the cluster and remove all of it")
    command("status", _status, "the embedded clusters of this machine and their components")
    building = command("images", _images, "build the project's images and load them into the cluster")
    building.add_argument("target", nargs="*", help=f"which of {', '.join(images.TARGETS)} (all)")
    building.add_argument("--no-load", action="store_true", help="only build")
    command("kubeconfig", _kubeconfig, "print the kubeconfig")
    command("env", _env, "print the shell's exports for this cluster, for `eval`")
    fault = command("component", _component, "play a fault: act on a component of the control plane or of a node")
    fault.add_argument("action", choices=ACTIONS)
    fault.add_argument("component", nargs="?", default="")
    fault.add_argument("--node", help="a node's component instead of the control plane's")
    inside = command("exec", _exec, "run a command inside the control plane's namespaces or a node's")
    inside.add_argument("--node")
    inside.add_argument("command", nargs=argparse.REMAINDER)
    return parser


if __name__ == "__main__":
    sys.exit(main())
