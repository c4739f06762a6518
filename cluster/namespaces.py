"""Fresh namespaces and what has to be true inside them before a component starts."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

from cluster.paths import INSIDE, REPOSITORY
from cluster.shell import SYSTEM_PATH, run, succeeds


def unshared(module: str, *arguments: str) -> list[str]:
    """The command that runs a Python module of ours as pid 1 of new mount, pid and network namespaces.

    When the module's process dies everything in the pid namespace dies, and with that the mounts and interfaces go.
    """
    flags = ["--mount", "--pid", "--net", "--uts", "--fork", "--mount-proc", "--kill-child"]
    return ["unshare", *flags, "--", sys.executable, "-P", "-m", module, *arguments]


def environment() -> dict[str, str]:
    """What components see: the system's tools and our package, and of the caller's settings only GOGC.

    By Go's default the garbage collector takes a good third of the API server's processor time.
    """
    return {
        "PATH": f"{INSIDE / 'bin'}:{SYSTEM_PATH}",
        "PYTHONPATH": str(REPOSITORY),
        "HOME": "/root",
        "LANG": "C.UTF-8",
    } | {name: os.environ[name] for name in ("GOGC",) if name in os.environ}


def prepare(state: Path, binaries: Path, var: Path | None = None) -> None:
    """Mounts of a namespace: its own /run and /sys, the cluster's state at `INSIDE`, and for a node its own /var.

    Args:
        state: the cluster's state directory by its path on the host.
        binaries: the folder of the components' binaries, likewise.
        var: the folder that stands in for /var, where kubelet and containerd insist on keeping things.
    """
    run("mount", "--make-rprivate", "/")
    run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    for path in (INSIDE, Path("/run/lock"), Path("/run/cgroup")):
        path.mkdir()
    run("mount", "--bind", state, INSIDE)
    (INSIDE / "bin").mkdir(exist_ok=True)
    run("mount", "--bind", binaries, INSIDE / "bin")
    run("mount", "--rbind", "/sys/fs/cgroup", "/run/cgroup")
    run("mount", "-t", "sysfs", "sysfs", "/sys")
    run("mount", "--rbind", "/run/cgroup", "/sys/fs/cgroup")
    run("umount", "-l", "/run/cgroup")
    if var is not None:
        for name in ("lib", "log", "tmp", "cache"):
            (var / name).mkdir(parents=True, exist_ok=True)
        for name, target in {"run": "/run", "lock": "/run/lock"}.items():
            (var / name).symlink_to(target)
        run("mount", "--bind", var, "/var")
        # Containers may ask for their mounts to be seen by the node.
        run("mount", "--make-rshared", "/")
    run("ip", "link", "set", "lo", "up")
    for name in ("net/ipv4/ip_forward", "net/ipv4/conf/all/forwarding"):
        Path("/proc/sys", name).write_text("1")
    for name in ("all", "default"):
        Path(f"/proc/sys/net/ipv4/conf/{name}/rp_filter").write_text("0")
        Path(f"/proc/sys/net/ipv4/conf/{name}/send_redirects").write_text("0")


def await_interface(name: str, wait: Callable[[], None]) -> None:
    """Returns once the other side has moved the interface into this network namespace."""
    while not succeeds("ip", "link", "show", "dev", name):
        wait()


def child_of(pid: int) -> int | None:
    """The first process inside, by its number outside: the only child of `unshare --fork`."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return None
    return int(children[0]) if children else None


def enter(pid: int, *command: str) -> list[str]:
    """The command that runs another inside all namespaces of `pid`."""
    return ["nsenter", f"--target={pid}", "--mount", "--pid", "--net", "--uts", "--", *command]


def set_hostname(name: str) -> None:
    Path("/proc/sys/kernel/hostname").write_text(name)
    os.environ["HOSTNAME"] = name
