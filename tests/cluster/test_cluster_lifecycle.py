"""The embedded cluster comes, goes and breaks without a trace on its host.

A trace is an interface, route, mount, process or cgroup of the cluster's, or any change of the host's packet filter or
policy rules. To bring a cluster up is a good part of all the work, so those of the first tests tell one story in order:
what stands is left to the next.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster import cgroups, embedded, images, layout, providers
from cluster.embedded import EmbeddedCluster
from cluster.errors import ClusterError
from cluster.harness import Harness, serving
from cluster.paths import REPOSITORY, state_home
from cluster.shell import run
from cluster.supervisor import ask

# What is tested here is our own code for making clusters, which no other provider runs.
pytestmark = pytest.mark.skipif(
    providers.choose().name != "embedded", reason="kind and the user's own cluster answer for their own traces"
)


in_order = pytest.mark.xdist_group("lifecycle")


@pytest.fixture
def names() -> Iterator[tuple[str, str]]:
    """Two names for clusters of this test, which are gone after it."""
    with gone_afterwards(f"life{os.getpid()}") as pair:
        yield pair


@pytest.fixture(scope="module")
def story() -> Iterator[tuple[str, str]]:
    """Two names for the clusters of the tests in order."""
    with gone_afterwards(f"story{os.getpid()}") as pair:
        yield pair


@contextlib.contextmanager
def gone_afterwards(prefix: str) -> Iterator[tuple[str, str]]:
    pair = (f"{prefix}a", f"{prefix}b")
    before = host_tables()
    yield pair
    for name in pair:
        embedded.down(name)
    assert host_tables() == before


def test_reading_an_image_leaves_no_mount_on_the_host(
    built: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The storage mounts itself upon itself to be read."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    run(*images.storage(), "build", "--tag", images.full_name("tiny"), tmp_path)
    assert images.layout("tiny").manifest["digest"]
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()


def host_tables() -> dict[str, str]:
    """The tables of the host that no cluster may touch."""
    commands = ("iptables-save", "ip6tables-save", "iptables-legacy-save", "ip rule", "ip route show default")
    comment = re.compile("^#.*$", re.MULTILINE)  # the time of day
    return {command: comment.sub("", run(*command.split())) for command in commands}


def traces(cluster: EmbeddedCluster) -> dict[str, object]:
    """What there is of a cluster on the host, by kind; empty when there is nothing."""
    plan = cluster.layout
    networks = (plan.node_network, plan.pod_network, plan.host_address)
    found: dict[str, object] = {
        "interfaces": [line for line in run("ip", "-o", "link").splitlines() if f" {plan.host_interface}@" in line],
        "routes": [line for line in run("ip", "route").splitlines() if any(network in line for network in networks)],
        "mounts": [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(plan.state) in line],
        "processes": cgroups.processes(plan.cgroup) | processes_naming(plan.state),
        "cgroups": cgroups.exists(plan.cgroup),
        "state": plan.state.exists(),
    }
    return {kind: value for kind, value in found.items() if value}


def processes_naming(state: Path) -> set[int]:
    found: set[int] = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if str(state).encode() in path.read_bytes():
                found.add(int(path.parent.name))
    return found


def up(name: str, roles: tuple[str, ...] = ("control-plane",)) -> EmbeddedCluster:
    return embedded.up(name, layout.node_names(name, list(roles)))


def ready_nodes(cluster: EmbeddedCluster) -> int:
    path = "{.items[*].status.conditions[?(@.type=='Ready')].status}"
    reply = run(cluster.kubectl, f"--kubeconfig={cluster.layout.kubeconfig}", "get", "nodes", "-o", f"jsonpath={path}")
    return reply.split().count("True")


def gone(cluster: EmbeddedCluster, but: set[str], patience: float = 20) -> dict[str, object]:
    deadline = time.monotonic() + patience
    while set(left := traces(cluster)) - but and time.monotonic() < deadline:
        time.sleep(0.1)
    return left


@in_order
def test_up_is_repeatable(story: tuple[str, str]) -> None:
    first = up(story[0])
    assert ready_nodes(first) == 1
    pid, credentials = first.pid, first.layout.kubeconfig.read_text()
    again = up(story[0])
    assert (again.pid, again.layout.kubeconfig.read_text()) == (pid, credentials)
    assert set(traces(first)) == {"interfaces", "routes", "processes", "cgroups", "state"}


@in_order
def test_the_api_server_can_be_stopped_and_comes_back(story: tuple[str, str]) -> None:
    cluster = up(story[0])
    control = cluster.control_socket()
    assert ask(control, "stop", "kube-apiserver")["pid"] is None
    with pytest.raises(ClusterError, match="refused"):
        ready_nodes(cluster)
    ask(control, "start", "kube-apiserver")
    await_server(cluster)
    ask(control, "kill", "kube-apiserver")
    await_server(cluster, starts=3)
    assert "error" in ask(control, "stop", "no-such-component")


@in_order
def test_two_clusters_live_side_by_side_and_down_leaves_nothing_of_one(story: tuple[str, str]) -> None:
    one, two = (up(name) for name in story)
    assert ready_nodes(one) == ready_nodes(two) == 1
    assert one.layout.kubeconfig.read_text() != two.layout.kubeconfig.read_text()
    assert embedded.down(story[0])
    assert traces(one) == {}
    assert not embedded.down(story[0])
    assert ready_nodes(two) == 1
    assert embedded.down(story[1])


@in_order
def test_the_death_of_the_first_process_ends_everything(story: tuple[str, str]) -> None:
    cluster = up(story[0])
    assert ready_nodes(cluster) == 1, "it comes up again after it was taken down"
    pid = cluster.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert set(gone(cluster, but={"state"})) == {"state"}
    assert ready_nodes(up(story[0])) == 1, "a dead cluster is replaced"


@pytest.mark.parametrize("after", [0.3, 1.5, 3.5])
def test_a_start_killed_half_way_is_cleared(names: tuple[str, str], after: float) -> None:
    command = [sys.executable, "-m", "cluster", "up", "--name", names[0]]
    with subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as starting:
        time.sleep(after)
        starting.kill()
    cluster = embedded.find(names[0])
    victims = sorted(processes_naming(state_home() / names[0]))
    for victim in random.sample(victims, k=min(2, len(victims))):
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
    embedded.down(names[0])
    assert not (state_home() / names[0]).exists()
    if cluster is not None:
        assert gone(cluster, but=set()) == {}


def test_nodes_are_joined_and_one_can_be_cut_off(names: tuple[str, str], tmp_path: Path) -> None:
    config = tmp_path / "kind.yaml"
    config.write_text(
        "kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\nnodes: [{role: worker}, {role: control-plane}]\n"
    )
    with serving(names[0], tmp_path, config=config) as harness:
        cluster = embedded.find(names[0])
        assert cluster is not None
        assert ready_nodes(cluster) == 2
        first, second = cluster.layout.nodes
        on_first, on_second = (web_server(harness, node) for node in (first, second))
        assert reaches(cluster, first, on_second)
        assert reaches(cluster, second, on_first)
        subprocess.run(cluster.exec("ip", "link", "set", "node1", "down"), check=True)
        assert not reaches(cluster, first, on_second)
        assert reaches(cluster, first, on_first)
        subprocess.run(cluster.exec("ip", "link", "set", "node1", "up"), check=True)
        assert reaches(cluster, first, on_second)
    assert traces(cluster) == {}


def web_server(harness: Harness, node: str) -> str:
    """The address of a pod on that node which answers on port 8080."""
    configuration = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "web"},
        "data": {"Corefile": ". {\n health\n}"},
    }
    container = {
        "name": "main",
        "image": "docker.io/perennial/coredns:dev",
        "args": ["-conf", "/etc/web/Corefile", "-dns.port", "5353"],
        "readinessProbe": {"httpGet": {"path": "/health", "port": 8080}, "periodSeconds": 1},
        "volumeMounts": [{"name": "web", "mountPath": "/etc/web"}],
    }
    spec = {"nodeName": node, "containers": [container], "volumes": [{"name": "web", "configMap": {"name": "web"}}]}
    harness.apply([configuration, {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": node}, "spec": spec}])
    harness.kubectl("wait", "--for=condition=Ready", f"pod/{node}", "--timeout=60s")
    return str(harness.get("pod", node, namespace="default")["status"]["podIP"])


def reaches(cluster: EmbeddedCluster, node: str, address: str) -> bool:
    script = f"import urllib.request as u; u.urlopen('http://{address}:8080/health', timeout=3)"
    return (
        subprocess.run(cluster.exec("python3", "-c", script, node=node), capture_output=True, check=False).returncode
        == 0
    )


def await_server(cluster: EmbeddedCluster, starts: int = 2, patience: float = 60) -> None:
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        with contextlib.suppress(ClusterError):
            if ask(cluster.control_socket(), "status")["kube-apiserver"]["starts"] >= starts and ready_nodes(cluster):
                return
        time.sleep(0.2)
    raise AssertionError("the API server does not come back")
