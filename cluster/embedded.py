"""The embedded cluster's life: created once, found again by its state directory, and deleted without a trace."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cluster import binaries, namespaces, oci, packages, pki, seed
from cluster.components import PAUSE_IMAGE
from cluster.errors import ClusterError
from cluster.keeper import remove_traces
from cluster.layout import CLUSTERS, Layout, load, var_of
from cluster.locks import locked
from cluster.paths import REPOSITORY, cache_home, state_home
from cluster.progress import step
from cluster.shell import last_lines, run, succeeds

ADDONS = REPOSITORY / "cluster" / "addons"
COREDNS_IMAGE = "docker.io/perennial/coredns:dev"
READY_WITHIN = 120.0


@dataclass(frozen=True)
class EmbeddedCluster:
    layout: Layout

    @property
    def pid(self) -> int | None:
        """The first process inside, by its number on the host, if it lives."""
        try:
            pid = int((self.layout.state / "pid").read_text())
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (OSError, ValueError):
            return None
        return pid if str(self.layout.state).encode() in command.split(b"\0") else None

    @property
    def kubectl(self) -> Path:
        return Path(self.layout.binaries) / "kubectl"

    def exec(self, *command: str, node: str | None = None) -> list[str]:
        """The command line that runs `command` inside the control plane's namespaces or a node's."""
        pid = self.pid
        if pid is None:
            raise ClusterError(
                f"cluster {self.layout.name} does not run: `python -m cluster up --name {self.layout.name}`"
            )
        if node is None:
            return namespaces.enter(pid, *command)
        number = self.node_number(node)
        marker = [b"cluster.node", str(self.layout.state).encode(), str(number).encode()]
        for candidate in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                words = candidate.read_bytes().split(b"\0")
                if words[-4:-1] == marker and b"unshare" not in words[0]:
                    return namespaces.enter(int(candidate.parent.name), *command)
        raise ClusterError(f"node {node} does not run")

    def node_number(self, node: str) -> int:
        if node not in self.layout.nodes:
            raise ClusterError(f"cluster {self.layout.name} has no node {node}, but {', '.join(self.layout.nodes)}")
        return self.layout.nodes.index(node)

    def control_socket(self, node: str | None = None) -> Path:
        if node is None:
            return self.layout.state / "control-plane.sock"
        return self.layout.state / "nodes" / self.layout.nodes[self.node_number(node)] / "node.sock"


def clusters() -> list[EmbeddedCluster]:
    found = sorted(state_home().glob("*/cluster.json")) if state_home().is_dir() else []
    return [EmbeddedCluster(load(path.parent)) for path in found]


def find(name: str) -> EmbeddedCluster | None:
    return next((cluster for cluster in clusters() if cluster.layout.name == name), None)


def problem() -> str | None:
    """Why this machine cannot run an embedded cluster, or None."""
    if sys.platform != "linux":
        return "Linux"
    if os.geteuid() != 0:
        return "root (it makes namespaces, mounts and a veth)"
    if not succeeds("unshare", "--mount", "--pid", "--net", "--fork", "true"):
        return "the right to make mount, pid and network namespaces (CAP_SYS_ADMIN, CAP_NET_ADMIN)"
    absent = packages.missing(packages.NODE)
    if absent and shutil.which("apt-get") is None:
        return f"these packages: {' '.join(absent)}"
    return binaries.go_problem()


def up(name: str, nodes: Sequence[str], feature_gates: Sequence[str] = ()) -> EmbeddedCluster:
    """Brings the cluster up and returns when its nodes are Ready and names resolve. A running one is left as it is."""
    with locked(_turn(name)):
        existing = find(name)
        if existing is not None and existing.pid is not None:
            _await_ready(existing)
            return existing
        _remove(name)
        return _create(name, nodes, feature_gates)


def down(name: str) -> bool:
    """Ends the cluster, whatever state it is in; False when there is none of that name."""
    with locked(_turn(name)):
        return _remove(name)


def _turn(name: str) -> Path:
    """Held while a cluster of that name is made or removed: a second `up` waits for the first and finds it running."""
    if not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,48}[a-z0-9])?", name):
        raise ClusterError(f"{name!r} names no cluster: at most 50 of a-z, 0-9 and -, beginning and ending with no -")
    return state_home() / ".locks" / name


def _create(name: str, nodes: Sequence[str], feature_gates: Sequence[str]) -> EmbeddedCluster:
    packages.ensure(packages.NODE)
    built = binaries.ensure_binaries()
    layout = _claim(name, tuple(nodes), built, tuple(feature_gates))
    cluster = EmbeddedCluster(layout)
    try:
        with step(f"starting cluster {name}"):
            pki.create(layout, layout.state / "pki")
            _system_images(built, layout.state / "images")
            for node in layout.nodes:
                seed.plant(var_of(layout.state, node) / "lib" / "containerd")
            _await_server(cluster, _launch(layout))
        with step("waiting for its nodes and DNS"):
            _install_addons(cluster)
            _await_ready(cluster)
    except BaseException:
        print(f"  logs are in {layout.state}; `python -m cluster down --name {name}` removes them", file=sys.stderr)
        raise
    return cluster


def _remove(name: str) -> bool:
    state = state_home() / name
    if not state.exists():
        return False
    if not (state / "cluster.json").exists():
        shutil.rmtree(state)
        return True
    cluster = EmbeddedCluster(load(state))
    pid = cluster.pid
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    remove_traces(cluster.layout)
    _rmtree(state)
    return True


def _claim(name: str, nodes: tuple[str, ...], built: binaries.Binaries, feature_gates: tuple[str, ...]) -> Layout:
    """Takes the lowest free index; its addresses and interface name follow from it."""
    with locked(state_home() / ".lock"):
        taken = {cluster.layout.index for cluster in clusters()}
        for index in range(CLUSTERS):
            layout = Layout(name, index, nodes, str(built.folder), feature_gates)
            if index not in taken and not Path("/sys/class/net", layout.host_interface).exists():
                layout.state.mkdir(mode=0o755)
                layout.save()
                return layout
    raise ClusterError(f"{CLUSTERS} clusters exist already: take one down (`python -m cluster status` lists them)")


def _system_images(built: binaries.Binaries, folder: Path) -> None:
    cached = cache_home() / "images" / built.folder.name
    cached.mkdir(parents=True, exist_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    for reference, command in ((PAUSE_IMAGE, "pause"), (COREDNS_IMAGE, "coredns")):
        archive = cached / f"{command}.tar"
        if not archive.exists():
            oci.single_binary(reference, built.path(command), archive)
        shutil.copyfile(archive, folder / archive.name)


def _launch(layout: Layout) -> "subprocess.Popen[bytes]":
    """Starts the keeper in a session of its own: it outlives this command."""
    with (layout.state / "keeper.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "cluster.keeper", str(layout.state)],
            env=namespaces.environment(),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _await_server(cluster: EmbeddedCluster, keeper: "subprocess.Popen[bytes]") -> None:
    for _ in _until(READY_WITHIN, cluster, "the API server does not answer"):
        if (cluster.layout.state / "api-ready").exists():
            return
        if keeper.poll() is not None:
            raise ClusterError(last_lines((cluster.layout.state / "keeper.log").read_bytes()))


def _install_addons(cluster: EmbeddedCluster) -> None:
    kubectl: list[str | Path] = [cluster.kubectl, f"--kubeconfig={cluster.layout.kubeconfig}"]
    run(*kubectl, "apply", "--server-side", "--force-conflicts", "-f", ADDONS)


def _await_ready(cluster: EmbeddedCluster) -> None:
    layout = cluster.layout
    kubectl: list[str | Path] = [cluster.kubectl, f"--kubeconfig={layout.kubeconfig}", "--request-timeout=5s"]
    within = f"--timeout={READY_WITHIN:.0f}s"
    for _ in _until(READY_WITHIN, cluster, "the nodes do not register"):
        if succeeds(*kubectl, "wait", within, "--for=create", *(f"node/{node}" for node in layout.nodes)):
            break
    run(*kubectl, "label", "--overwrite", "node", layout.nodes[0], "node-role.kubernetes.io/control-plane=")
    patience = ["--request-timeout=0", within]
    run(*kubectl, "wait", *patience, "--for=condition=Ready", "node", "--all")
    run(*kubectl, "wait", *patience, "--for=condition=Available", "--namespace=kube-system", "deployment/coredns")


def _until(patience: float, cluster: EmbeddedCluster, complaint: str) -> Iterator[None]:
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        yield
        time.sleep(0.1)
    raise ClusterError(f"{complaint} within {patience:.0f} s; see the logs in {cluster.layout.state}")


def _rmtree(state: Path) -> None:
    """Mounts die with their namespace, but a moment after its last process."""
    deadline = time.monotonic() + 10
    while True:
        try:
            shutil.rmtree(state)
        except FileNotFoundError:
            return
        except OSError as busy:
            if time.monotonic() > deadline:
                raise ClusterError(f"{state} cannot be removed: {busy}") from busy
            time.sleep(0.1)
