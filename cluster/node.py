"""Pid 1 of a node's namespaces: containerd, kubelet and kube-proxy behind one veth on the cluster's bridge."""

import json
import subprocess
import sys
import time
from pathlib import Path

import yaml

from cluster import components, namespaces
from cluster.layout import Layout, load, var_of
from cluster.paths import INSIDE
from cluster.shell import run
from cluster.supervisor import Supervisor

PORT = "eth0"


def main(state: Path, number: int) -> None:
    layout = load(state)
    name = layout.nodes[number]
    namespaces.prepare(state, Path(layout.binaries), var_of(state, name))
    namespaces.set_hostname(name)
    folder = INSIDE / "nodes" / name
    _configure(layout, number, folder)
    namespaces.await_interface(PORT, lambda: time.sleep(0.02))
    _wire(layout, number)
    supervisor = Supervisor(folder / "logs", namespaces.environment())
    supervisor.serve(folder / "node.sock")
    commands = components.node_agents(layout, number, folder)
    supervisor.start("containerd", commands.pop("containerd"))
    _load_system_images()
    while not (INSIDE / "api-ready").exists():
        time.sleep(0.05)
    for agent, command in commands.items():
        supervisor.start(agent, command)
    supervisor.forever()


def _configure(layout: Layout, number: int, folder: Path) -> None:
    network = folder / "cni"
    network.mkdir(parents=True, exist_ok=True)
    (network / "10-perennial.conflist").write_text(json.dumps(components.cni(layout, number)))
    (folder / "containerd.toml").write_text(components.containerd(network))
    (folder / "kubelet.yaml").write_text(yaml.safe_dump(components.kubelet(layout, number)))
    (folder / "kube-proxy.yaml").write_text(yaml.safe_dump(components.kube_proxy(layout, number)))


def _wire(layout: Layout, number: int) -> None:
    run("ip", "address", "add", f"{layout.node_address(number)}/25", "dev", PORT)
    run("ip", "link", "set", PORT, "up")
    run("ip", "route", "add", "default", "via", layout.bridge_address)


def _load_system_images() -> None:
    deadline = time.monotonic() + 60
    images = sorted((INSIDE / "images").glob("*.tar"))
    while time.monotonic() < deadline:
        if all(_imported(image) for image in images):
            return
        time.sleep(0.1)
    raise TimeoutError("containerd takes no images; see its log")


def _imported(archive: Path) -> bool:
    command = [
        "ctr",
        "--namespace=k8s.io",
        f"--address={components.CONTAINERD_SOCKET}",
        "images",
        "import",
        str(archive),
    ]
    return subprocess.run(command, capture_output=True, env=namespaces.environment(), check=False).returncode == 0


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
