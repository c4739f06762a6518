"""What the containerd of a new node begins with: the project's images, unpacked once and linked into each.

To take up an image of a gigabyte costs a node half a minute of both processor and disk, for each cluster anew. So a
containerd of nobody's takes it up once, and its folder is what new nodes begin with: blobs and layers, which never
change, as hard links, its databases as copies. A node is then sent only what was built since.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cluster import images, namespaces, packages
from cluster.ctr import Ctr
from cluster.errors import ClusterError
from cluster.layers import Layout
from cluster.locks import locked
from cluster.paths import cache_home
from cluster.progress import step
from cluster.shell import run

#: Of what is new, as much as is sent to each node rather than unpacked into a new seed, in bytes.
TOLERATED = 50_000_000
READY_WITHIN = 60.0


def grow(names: Sequence[str]) -> None:
    """Sees to it that nodes to come begin with these images, as they are in the storage of images.

    Raises:
        ClusterError: when they are not built, or containerd does not take them.
    """
    with locked(images.lock()):
        layouts = [images.layout(name) for name in names]
        for layout in layouts:
            layout.prune()
        if _lacking(layouts) > TOLERATED:
            packages.ensure(packages.NODE)
            with step("unpacking the images for the nodes of clusters"):
                _grow(layouts)


def plant(root: Path) -> None:
    """Lays the seed into a node's containerd root that is not there yet. Without a seed, or on another filesystem,
    it begins empty."""
    with locked(images.lock(), shared=True):
        if not _folder().is_dir():
            return
        root.parent.mkdir(parents=True, exist_ok=True)
        if root.parent.stat().st_dev == _folder().stat().st_dev:
            run("cp", "--archive", "--link", _folder() / "root", root)
            for database in root.glob("*/*.db"):
                run(
                    "cp", "--archive", "--remove-destination", _folder() / "root" / database.relative_to(root), database
                )


def _lacking(layouts: Sequence[Layout]) -> int:
    present: list[str] = []
    with contextlib.suppress(FileNotFoundError):
        present = json.loads((_folder() / "blobs.json").read_text())
    wanted = {digest: size for layout in layouts for digest, size in layout.sizes().items()}
    return sum(size for digest, size in wanted.items() if digest not in present)


def _grow(layouts: Sequence[Layout]) -> None:
    young = _folder().with_name("seed.new")
    shutil.rmtree(young, ignore_errors=True)
    young.mkdir(parents=True)
    with _containerd(young / "root") as client:
        for layout in layouts:
            complaint = client.take(layout)
            if complaint is not None:
                raise ClusterError(f"containerd does not take {layout.name}: {complaint}")
    (young / "blobs.json").write_text(json.dumps([digest for layout in layouts for digest in layout.sizes()]))
    shutil.rmtree(_folder(), ignore_errors=True)
    young.rename(_folder())


@contextmanager
def _containerd(root: Path) -> Iterator[Ctr]:
    """A containerd that runs no containers, in namespaces that take its mounts with them."""
    with tempfile.TemporaryDirectory(prefix="perennial-", dir="/run") as state:
        configuration, socket = Path(state, "containerd.toml"), Path(state, "containerd.sock")
        configuration.write_text(
            f'version = 2\nroot = "{root}"\nstate = "{state}/state"\n'
            'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
            f'[grpc]\n  address = "{socket}"\n'
        )
        flags = ["--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]
        with (root.parent / "containerd.log").open("wb") as log:
            process = subprocess.Popen(
                ["unshare", *flags, "--", "containerd", f"--config={configuration}"],
                env=namespaces.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        client = Ctr(socket)
        try:
            _await(client, process, root.parent / "containerd.log")
            yield client
        finally:
            _end(process)


def _await(client: Ctr, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + READY_WITHIN
    while not client.answers():
        if process.poll() is not None or time.monotonic() > deadline:
            raise ClusterError(f"containerd does not start; see {log}")
        time.sleep(0.05)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Lets it close its databases."""
    inside = namespaces.child_of(process.pid)
    if inside is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(inside, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=20)
    process.kill()
    process.wait()


def _folder() -> Path:
    return cache_home() / "images" / "seed"
