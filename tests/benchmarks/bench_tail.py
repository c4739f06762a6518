"""Whose the slowest hundredth of requests is: the model server's, the load's, or the machine's.

python -m tests.benchmarks.bench_tail [--seconds 3] [--rounds 5] [--connections 16]

The same load, wrk on one core, against servers on the other, in turns: the model server with counting and without, its
HTTP with an application that says always the same (null), and the least that can be on uvicorn with the same model
(ASGI). Beside what wrk sees stand the requests that took more than 2.5 ms by the server's own clock, from read whole to
answer written, and for how much of the time the kernel let each side wait for its core while it could have run.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from perennial.wire.manifest import ONNX_FILE
from perennial.wire.stats import LATENCY_BOUNDS, STATS_PATH, Stats
from tests.benchmarks import bench_server
from tests.benchmarks.bench_peers import free_port, started
from tests.benchmarks.bench_server import Measured, Running, load, processor_seconds, told
from tests.environments import commands

BARE = Path(__file__).parent / "peers" / "bare.py"
BESIDE = ("uvloop", "httptools", "msgspec", "onnxruntime", "numpy")
LATE_SECONDS = 0.0025

Start = Callable[[], contextlib.AbstractContextManager[Running]]


@dataclass(frozen=True)
class Seen:
    """What wrk saw in one run; the share of requests that were late by the server's own clock; for how much of the time
    server and load were kept from their cores."""

    measured: Measured
    late: float | None
    server_kept: float
    load_kept: float


def cases(folder: Path) -> dict[str, Start]:
    model = bench_server.train(folder)
    version = folder / "store" / "v1"
    bare = bench_server.without_reference(version, folder / "bare")
    return {
        "ours, counting": lambda: bench_server.server(model, folder),
        "ours, not counting": lambda: bench_server.server(bare, folder),
        "null": null,
        "ASGI": lambda: asgi(version / ONNX_FILE),
    }


def null() -> contextlib.AbstractContextManager[Running]:
    port = free_port()
    return started([sys.executable, str(BARE), str(port)], port, "/", {"PYTHONPATH": os.pathsep.join(sys.path)})


def asgi(model: Path) -> contextlib.AbstractContextManager[Running]:
    port = free_port()
    beside = [f"{name}=={importlib.metadata.version(name)}" for name in BESIDE]
    command = [str(commands("uvicorn==0.38.0", *beside) / "uvicorn"), "bare:app", "--app-dir", str(BARE.parent)]
    command += ["--loop", "uvloop", "--http", "httptools", "--host", "127.0.0.1", "--port", str(port)]
    return started([*command, "--no-access-log", "--log-level", "critical"], port, "/", {"MODEL": str(model)})


def look(running: Running, lua: Path, connections: int, seconds: int) -> Seen:
    latencies, spent, kept = _latencies(running), processor_seconds(running.process), _kept(running.process)
    begun = time.monotonic()
    with subprocess.Popen(load(running.port, lua, connections, seconds), stdout=subprocess.PIPE, text=True) as wrk:
        # Once it has ended there is nothing to read of it.
        time.sleep(seconds - 0.1)
        load_kept = _kept(wrk.pid)
        output, _ = wrk.communicate()
    lasted = time.monotonic() - begun
    measured = told(output, processor_seconds(running.process) - spent)
    assert measured is not None, output
    late = _late(_latencies(running), latencies)
    return Seen(measured, late, (_kept(running.process) - kept) / lasted, load_kept / lasted)


def _latencies(running: Running) -> list[int]:
    """The server's own histogram; empty for the others."""
    if not running.control:
        return []
    with urllib.request.urlopen(f"http://127.0.0.1:{running.control}{STATS_PATH}") as answer:
        return msgspec.json.decode(answer.read(), type=Stats).latency


def _late(after: list[int], before: list[int]) -> float | None:
    cells = [now - then for now, then in zip(after, before, strict=True)]
    quick = sum(cells[: LATENCY_BOUNDS.index(LATE_SECONDS) + 1])
    return 1 - quick / sum(cells) if cells else None


def _kept(process: int) -> float:
    """Seconds for which its threads could have run and did not, by the kernel's count."""
    threads = Path(f"/proc/{process}/task").glob("*/schedstat")
    return sum(int(thread.read_text().split()[1]) for thread in threads) / 1e9


def run(folder: Path, options: argparse.Namespace) -> None:
    started_by = cases(folder)
    lua = bench_server.script(folder / "store" / "v1", folder)
    print(f"\nload average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; {options.connections} connections")
    print(f"{'':20}{'req/s':>8}{'p50 ms':>8}{'p99 ms, median and range':>28}{'late':>9}{'kept from the core':>20}")
    seen: dict[str, list[Seen]] = {name: [] for name in started_by}
    with contextlib.ExitStack() as servers:
        running = {name: servers.enter_context(start()) for name, start in started_by.items()}
        for _ in range(options.rounds):
            for name, its in running.items():
                seen[name].append(look(its, lua, options.connections, options.seconds))
    for name, looks in seen.items():
        print(line(name, looks), flush=True)


def line(name: str, looks: list[Seen]) -> str:
    p99 = [each.measured.p99 for each in looks]
    late = [each.late for each in looks if each.late is not None]
    median = statistics.median
    rate, p50 = (median(each.measured.rate for each in looks), median(each.measured.p50 for each in looks))
    kept = f"{median(each.server_kept for each in looks):.1%}, load {median(each.load_kept for each in looks):.1%}"
    spread = f"{median(p99):.2f} ({min(p99):.2f} to {max(p99):.2f})"
    shown = f"{median(late):.3%}" if late else ""
    return f"{name:20}{rate:8,.0f}{p50:8.2f}{spread:>28}{shown:>9}{kept:>20}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=3, help="of one run of wrk")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is looked at")
    parser.add_argument("--connections", type=int, default=16)
    options = parser.parse_args()
    if shutil.which("wrk") is None or shutil.which("taskset") is None:
        sys.exit("wrk and taskset are needed (Debian: apt-get install wrk util-linux)")
    with tempfile.TemporaryDirectory() as name:
        run(Path(name), options)


if __name__ == "__main__":
    main()
