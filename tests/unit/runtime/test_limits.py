"""What a cgroup allows, in both of its versions."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from perennial.runtime import limits


def _cgroup(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu/cpu.cfs_quota_us": "100000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1),
    ],
)
def test_cpus_are_the_quota_rounded_up(
    tmp_path: Path, files: Any, expected: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    assert limits.cpus(_cgroup(tmp_path, files)) == expected


@pytest.mark.parametrize(
    "files", [{}, {"cpu.max": "max 100000\n"}, {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}]
)
def test_without_a_quota_cpus_are_those_it_may_run_on(
    tmp_path: Path, files: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2})
    assert limits.cpus(_cgroup(tmp_path, files)) == 3


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"memory.max": "1073741824\n"}, 1 << 30),
        ({"memory.max": "max\n"}, None),
        ({"memory/memory.limit_in_bytes": "9223372036854771712\n"}, None),
        ({"memory/memory.limit_in_bytes": "2147483648\n"}, 2 << 30),
        ({}, None),
    ],
)
def test_memory(tmp_path: Path, files: Any, expected: Any) -> None:
    assert limits.memory(_cgroup(tmp_path, files)) == expected
