"""What the supervisor does with its components; its loop is shown on a real cluster."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cluster import cgroups
from cluster.supervisor import Supervisor, ask


@pytest.fixture
def supervisor(tmp_path: Path) -> Supervisor:
    return Supervisor(tmp_path / "logs", {"PATH": "/usr/bin:/bin"})


def test_requests_travel_by_socket(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.serve(tmp_path / "s")
    pid = supervisor.start("sleeper", ["sleep", "60"])
    try:
        assert ask(tmp_path / "s", "status") == {"sleeper": {"pid": pid, "starts": 1}}
        assert "sleeper" in ask(tmp_path / "s", "stop", "dreamer")["error"]
    finally:
        assert ask(tmp_path / "s", "kill", "sleeper")["component"] == "sleeper"
        os.waitpid(pid, 0)


def test_output_goes_to_the_components_log(supervisor: Supervisor, tmp_path: Path) -> None:
    os.waitpid(supervisor.start("speaker", ["sh", "-c", "echo out; echo err >&2"]), 0)
    assert (tmp_path / "logs" / "speaker.log").read_text().split() == ["out", "err"]


def test_an_end_is_not_lost_to_the_start_of_another(supervisor: Supervisor) -> None:
    pid = supervisor.start("short", ["true"])
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    os.waitpid(supervisor.start("other", ["true"]), 0)
    assert os.waitpid(pid, 0)[0] == pid


def hierarchy(root: Path, *names: str) -> None:
    for name in names:
        (root / name).mkdir(parents=True, exist_ok=True)
        (root / name / "cgroup.procs").touch()


def test_every_hierarchy_gets_the_branch(tmp_path: Path) -> None:
    hierarchy(tmp_path, "cpu", "memory")
    (tmp_path / "cpuset").symlink_to("cpu")
    assert [path.name for path in cgroups.hierarchies(tmp_path)] == ["cpu", "memory"]
    cgroups.create("perennial0/init", tmp_path)
    assert (tmp_path / "memory" / "perennial0" / "init").is_dir()
    assert cgroups.exists("perennial0", tmp_path)
    assert cgroups.remove("perennial0", patience=1, root=tmp_path)
    assert not cgroups.exists("perennial0", tmp_path)


def test_a_unified_tree_hands_its_controllers_down(tmp_path: Path) -> None:
    hierarchy(tmp_path, ".")
    (tmp_path / "cgroup.controllers").write_text("cpu memory\n")
    cgroups.create("perennial0/init", tmp_path)
    assert cgroups.hierarchies(tmp_path) == [tmp_path]
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+cpu +memory"


def test_a_new_cpuset_inherits_what_it_may_use(tmp_path: Path) -> None:
    hierarchy(tmp_path, "cpuset")
    branch = tmp_path / "cpuset" / "perennial0"
    branch.mkdir()
    for folder, cpus in ((branch.parent, "0-1"), (branch, "")):
        for name, value in {"cpuset.cpus": cpus, "cpuset.mems": cpus, "cpuset.cpu_exclusive": "0"}.items():
            (folder / name).write_text(value)
    cgroups.create("perennial0", tmp_path)
    assert (branch / "cpuset.cpus").read_text() == "0-1"
