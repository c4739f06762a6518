"""The cluster's own branch of the cgroup tree, in every hierarchy the machine has (version 1, hybrid or 2).

Daemons live in the leaf `init` of the branch and pods under a folder a node, which keeps to version 2's rule that
a group with controllers holds no processes. The branch is also how whatever a crash left behind is found.
"""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
DAEMONS = "init"


def hierarchies(root: Path = ROOT) -> list[Path]:
    if (root / "cgroup.procs").exists():
        return [root]
    return sorted(path for path in root.iterdir() if (path / "cgroup.procs").exists() and not path.is_symlink())


def create(branch: str, root: Path = ROOT) -> None:
    for hierarchy in hierarchies(root):
        folder = hierarchy
        for part in Path(branch).parts:
            _delegate(folder)
            folder = folder / part
            folder.mkdir(exist_ok=True)
            _inherit_cpuset(folder)


def enter(branch: str, root: Path = ROOT) -> None:
    """Moves the calling process; what it starts stays there."""
    for hierarchy in hierarchies(root):
        (hierarchy / branch / "cgroup.procs").write_text(str(os.getpid()))


def processes(branch: str, root: Path = ROOT) -> set[int]:
    found: set[int] = set()
    for hierarchy in hierarchies(root):
        for folder in _depth_first(hierarchy / branch):
            with suppress(OSError):
                found |= {int(pid) for pid in (folder / "cgroup.procs").read_text().split()}
    return found - {0}


def kill(branch: str, patience: float = 10.0, root: Path = ROOT) -> set[int]:
    """Kills every process of the branch; returns those that are still there after `patience` seconds."""
    deadline = time.monotonic() + patience
    while (left := processes(branch, root)) and time.monotonic() < deadline:
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
    return left


def remove(branch: str, patience: float = 10.0, root: Path = ROOT) -> bool:
    """Removes the branch from every hierarchy; a group lives on for a moment after its last process."""
    deadline = time.monotonic() + patience
    while True:
        for hierarchy in hierarchies(root):
            for folder in _depth_first(hierarchy / branch):
                with suppress(OSError):
                    folder.rmdir()
        if not exists(branch, root):
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)


def exists(branch: str, root: Path = ROOT) -> bool:
    return any((hierarchy / branch).exists() for hierarchy in hierarchies(root))


def _depth_first(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        return
    with suppress(OSError):
        for child in sorted(folder.iterdir()):
            if child.is_dir():
                yield from _depth_first(child)
    yield folder


def _delegate(folder: Path) -> None:
    """Version 2 hands controllers down only where asked to."""
    with suppress(OSError):
        offered = (folder / "cgroup.controllers").read_text().split()
        (folder / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in offered))


def _inherit_cpuset(folder: Path) -> None:
    """A new version 1 cpuset is empty and would take no process."""
    for name in ("cpuset.cpus", "cpuset.mems"):
        own, parents = folder / name, folder.parent / name
        if own.exists() and (folder / "cpuset.cpu_exclusive").exists() and not own.read_text().strip():
            own.write_text(parents.read_text())
