"""What this container may use, by its cgroup: libraries look at the node, and start 64 threads on one core."""

from __future__ import annotations

import os
from pathlib import Path

_V2 = Path("/sys/fs/cgroup")
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "ARROW_NUM_THREADS")


def cpus(root: Path = _V2) -> int:
    """CPUs this container may use, at least 1: the quota rounded up, within the CPUs that it may run on."""
    available = len(os.sched_getaffinity(0))
    return max(1, min(available, _quota(root) or available))


def memory(root: Path = _V2) -> int | None:
    """Bytes of memory this container may use; None where there is no limit."""
    return _bytes(root / "memory.max") or _bytes(root / "memory" / "memory.limit_in_bytes")


def memory_left(root: Path = _V2) -> int | None:
    """Bytes of memory this container may still take; None where there is no limit. What only caches files counts as
    left."""
    limit = memory(root)
    used = _bytes(root / "memory.current") or _bytes(root / "memory" / "memory.usage_in_bytes")
    if limit is None or used is None:
        return None
    caches = next((int(value) for name, value in _statistics(root) if name.endswith("inactive_file")), 0)
    return limit - used + caches


def limit_threads(root: Path = _V2) -> None:
    """Tell numerical libraries how many threads to start. Of use only before they are imported; what is set stays.

    Threads that wait do so asleep: spinning, they take the CPU from those that they wait for where it is shared.
    """
    for name in _THREADS:
        os.environ.setdefault(name, str(cpus(root)))
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def _quota(root: Path) -> int | None:
    words = _words(root / "cpu.max")
    if not words:
        quota, period = _words(root / "cpu" / "cpu.cfs_quota_us"), _words(root / "cpu" / "cpu.cfs_period_us")
        words = [*quota, *period]
    if len(words) != 2 or not words[0].isdigit():
        return None
    return -(-int(words[0]) // int(words[1]))


def _bytes(path: Path) -> int | None:
    words = _words(path)
    if not words or not words[0].isdigit():
        return None
    # Version 1 writes "no limit" as a number near the largest.
    return int(words[0]) if int(words[0]) < 1 << 60 else None


def _statistics(root: Path) -> list[tuple[str, str]]:
    words = _words(root / "memory.stat") or _words(root / "memory" / "memory.stat")
    return list(zip(words[::2], words[1::2], strict=False))


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []
