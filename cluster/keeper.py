"""The cluster's only process outside of its namespaces: starts them, lays the veth, and tidies up when they end.

It dies with nothing to do: without it the cluster runs on, and `down` finds what is left by the cgroup branch.
"""

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

from cluster import cgroups, namespaces
from cluster.errors import ClusterError
from cluster.layout import Layout, load
from cluster.machine import UPLINK
from cluster.shell import run, succeeds


def main(state: Path) -> None:
    layout = load(state)
    branch = f"{layout.cgroup}/{cgroups.DAEMONS}"
    cgroups.create(branch)
    for number in range(len(layout.nodes)):
        cgroups.create(layout.node_cgroup(number))
    process = subprocess.Popen(
        namespaces.unshared("cluster.machine", str(state)),
        env=namespaces.environment(),
        stdin=subprocess.DEVNULL,
        preexec_fn=lambda: cgroups.enter(branch),
    )
    try:
        inside = _first_process(process)
        (state / "pid").write_text(str(inside))
        _lay_veth(layout, inside)
        process.wait()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        remove_traces(layout)


def remove_traces(layout: Layout) -> None:
    """All that a cluster has on the host but its state directory.

    Raises:
        ClusterError: when something of it stays.
    """
    left = cgroups.kill(layout.cgroup)
    if left:
        raise ClusterError(f"processes of cluster {layout.name} do not end: {sorted(left)}")
    interface = layout.host_interface
    if succeeds("ip", "link", "show", "dev", interface):
        succeeds("ip", "link", "delete", "dev", interface)  # or the kernel is quicker
    if not cgroups.remove(layout.cgroup):
        raise ClusterError(f"the cgroup {layout.cgroup} cannot be removed")


def _first_process(unshare: "subprocess.Popen[bytes]") -> int:
    while unshare.poll() is None:
        inside = namespaces.child_of(unshare.pid)
        if inside is not None and _elsewhere(inside):
            return inside
        time.sleep(0.01)
    raise ClusterError("the namespaces cannot be made: this needs root and the right to unshare")


def _elsewhere(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return os.readlink(f"/proc/{pid}/ns/net") != os.readlink("/proc/self/ns/net")
    return False


def _lay_veth(layout: Layout, inside: int) -> None:
    outer = layout.host_interface
    run("ip", "link", "add", outer, "type", "veth", "peer", "name", UPLINK, "netns", str(inside))
    run("ip", "address", "add", f"{layout.host_address}/30", "dev", outer)
    run("ip", "link", "set", outer, "up")
    for network in (layout.node_network, layout.pod_network):
        run("ip", "route", "add", network, "via", layout.inner_address, "dev", outer)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
