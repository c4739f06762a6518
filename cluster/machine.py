"""Pid 1 of a cluster's namespaces: the wire between host and nodes, the control plane on it, and the nodes.

The nodes are nested in this process's namespaces, so that its end is the end of everything.
"""

import contextlib
import os
import ssl
import sys
import time
from pathlib import Path
from urllib.request import urlopen

from cluster import namespaces
from cluster.components import PKI, VOLUMES, control_plane
from cluster.layout import API_PORT, Layout, load
from cluster.paths import INSIDE
from cluster.shell import run
from cluster.supervisor import Supervisor

BRIDGE = "nodes"
UPLINK = "uplink"


def main(state: Path) -> None:
    layout = load(state)
    namespaces.prepare(state, Path(layout.binaries))
    namespaces.set_hostname(layout.name)
    for folder in (VOLUMES, INSIDE / "etcd"):
        folder.mkdir(mode=0o711, exist_ok=True)
    (INSIDE / "resolv.conf").write_text("")
    namespaces.await_interface(UPLINK, lambda: time.sleep(0.02))
    _wire(layout)
    supervisor = Supervisor(INSIDE / "logs", namespaces.environment())
    supervisor.serve(INSIDE / "control-plane.sock")
    commands = control_plane(layout)
    supervisor.start("etcd", commands.pop("etcd"))
    supervisor.start("kube-apiserver", commands.pop("kube-apiserver"))
    for number in range(len(layout.nodes)):
        _start_node(supervisor, layout, number, state)
    _await_api_server()
    for name, command in commands.items():
        supervisor.start(name, command)
    supervisor.forever()


def _wire(layout: Layout) -> None:
    run("ip", "link", "add", BRIDGE, "type", "bridge")
    run("ip", "address", "add", f"{layout.bridge_address}/25", "dev", BRIDGE)
    run("ip", "link", "set", BRIDGE, "up")
    run("ip", "address", "add", f"{layout.inner_address}/30", "dev", UPLINK)
    run("ip", "link", "set", UPLINK, "up")
    # Nothing leaves the machine, and whoever tries learns so at once.
    run("ip", "route", "add", "unreachable", "default")
    for number in range(len(layout.nodes)):
        run("ip", "route", "add", layout.pods_of(number), "via", layout.node_address(number))


def _start_node(supervisor: Supervisor, layout: Layout, number: int, state: Path) -> None:
    pid = supervisor.start(layout.nodes[number], namespaces.unshared("cluster.node", str(state), str(number)))
    while (inside := namespaces.child_of(pid)) is None:
        time.sleep(0.01)
    port = f"node{number}"
    run("ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", str(inside))
    run("ip", "link", "set", port, "master", BRIDGE, "up")


def _await_api_server() -> None:
    """Until then the other components would only fail and come back more slowly."""
    trusted = ssl.create_default_context(cafile=PKI / "ca.crt")
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        # Asked here, since a kubectl for each time would take more of a processor than the server that starts.
        with contextlib.suppress(OSError), urlopen(f"https://127.0.0.1:{API_PORT}/readyz", timeout=2, context=trusted):
            (INSIDE / "api-ready").touch()
            return
        time.sleep(0.05)
    raise TimeoutError(f"the API server is not ready on port {API_PORT}; see its log")


if __name__ == "__main__":
    if os.getpid() != 1:
        raise SystemExit("this is the first process of a pid namespace: start it by `python -m cluster up`")
    main(Path(sys.argv[1]))
