"""The model server under wrk: RandomForest-100 behind a scaler, 30 features, one row a request, one core.

python -m tests.benchmarks.bench_server [--seconds 5] [--connections 1 16 64]

The version is made by the real trainer. The server has one core to itself, wrk another; on a busy machine the
processor time per request, which is printed too, says more than the rate. Counting is compared with the same server
on the same model published without a reference.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from sklearn.datasets import load_breast_cancer

from perennial.wire.manifest import MANIFEST_FILE, REFERENCE_FILE, Manifest
from perennial.wire.run import Data, Run, Sklearn
from perennial.wire.schema import SCHEMA_FILE, Schema
from perennial.wire.serve import Serve, ServedModel

RATE_TARGET = 15_000
P99_TARGET_MS = 2.0
SHARE_TARGET = 0.8
MEMORY_TARGET_MIB = 150
LONGEST_SECONDS = 60


@dataclass(frozen=True)
class Running:
    """A server that is ready: its process, its ports, how many seconds it took to be."""

    process: int
    port: int
    seconds: float
    control: int = 0


@dataclass(frozen=True)
class Measured:
    """One run of wrk: requests a second, latencies in milliseconds, the server's processor microseconds a request."""

    rate: float
    p50: float
    p99: float
    cpu: float


FOREST = Sklearn("sklearn.ensemble.RandomForestClassifier", {"n_estimators": 100})


def train(folder: Path, estimator: Sklearn = FOREST) -> ServedModel:
    """A version of the breast cancer data set, by the trainer."""
    features, target = load_breast_cancer(return_X_y=True)
    names = [f"f{i}" for i in range(features.shape[1])]
    table = np.column_stack([features, target])
    np.savetxt(folder / "data.csv", table, delimiter=",", header=",".join([*names, "target"]), comments="", fmt="%.9g")
    run = Run(
        namespace="bench",
        name="forest",
        uid="bench",
        version=1,
        store=f"file://{folder}/store",
        path="v1",
        image="bench",
        definition="v1:bench",
        trigger="Requested",
        data=Data(uri=f"file://{folder}/data.csv", target="target"),
        sklearn=estimator,
    )
    environment = {**os.environ, "PERENNIAL_RUN": msgspec.json.encode(run).decode()}
    command = [sys.executable, "-m", "perennial.runtime.trainer"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"the trainer failed:\n{done.stdout}{done.stderr}")
    return served(folder / "store" / "v1")


def served(version: Path) -> ServedModel:
    manifest = msgspec.json.decode((version / MANIFEST_FILE).read_bytes(), type=Manifest)
    if manifest.model.engine != "onnx":
        sys.exit(f"the model is not served by ONNX Runtime: {manifest.model.why}")
    return ServedModel(f"file://{version}", manifest.model.sha256)


def without_reference(version: Path, copy: Path) -> ServedModel:
    """The same version without drift bins: the server then counts no cells."""
    shutil.copytree(version, copy)
    (copy / REFERENCE_FILE).unlink()
    manifest = msgspec.json.decode((copy / MANIFEST_FILE).read_bytes(), type=Manifest)
    del manifest.files[REFERENCE_FILE]
    (copy / MANIFEST_FILE).write_bytes(msgspec.json.encode(manifest))
    return served(copy)


def script(version: Path, folder: Path) -> Path:
    """wrk's script: one held-out row as a request."""
    return post(json.dumps(tensor(version, 1)), folder / "post.lua")


def tensor(version: Path, rows: int) -> dict[str, Any]:
    """A held-out row, so many times, as one matrix."""
    schema = msgspec.json.decode((version / SCHEMA_FILE).read_bytes(), type=Schema)
    row = list(schema.examples[0].values)
    return {"inputs": [{"name": "rows", "shape": [rows, len(row)], "datatype": "FP64", "data": row * rows}]}


def post(body: str, path: Path) -> Path:
    """wrk's script that posts `body`."""
    path.write_text(f'wrk.method="POST"\nwrk.body=[==[{body}]==]\nwrk.headers["Content-Type"]="application/json"\n')
    return path


@contextlib.contextmanager
def server(model: ServedModel, folder: Path, companion: ServedModel | None = None) -> Iterator[Running]:
    counts = Path(tempfile.mkdtemp(dir=folder))
    environment = {**os.environ, "PERENNIAL_SERVE": msgspec.json.encode(Serve("forest", model, companion)).decode()}
    command = ["taskset", "-c", "0", sys.executable, "-m", "perennial.runtime.server", "--host", "127.0.0.1"]
    command += ["--port", "0", "--control-port", "0", "--grpc-port", "0", "--counts", str(counts)]
    log = counts / "log"
    started = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    try:
        awaited = "compared with" if companion else "ready:"
        while awaited not in log.read_text():
            if process.poll() is not None or time.monotonic() > started + 60:
                sys.exit(f"the server did not start:\n{log.read_text()}")
            time.sleep(0.01)
        inference, control = (int(port) for port in re.findall(r"port (\d+)", log.read_text())[:2])
        yield Running(process.pid, inference, time.monotonic() - started, control)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


INFER = "/v2/models/forest/infer"


@contextlib.contextmanager
def explaining(port: int, version: Path) -> Iterator[None]:
    """Two clients meanwhile, each of which asks for the attributions of ten rows all the time; the process that gives
    them has the server's core."""
    body = json.dumps(tensor(version, 10) | {"parameters": {"attributions": True}})
    ending = threading.Event()
    statuses: list[int] = []

    def ask() -> None:
        while not ending.is_set():
            with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=120)) as connection:
                connection.request("POST", INFER, body)
                statuses.append(connection.getresponse().status)

    clients = [threading.Thread(target=ask) for _ in range(2)]
    for client in clients:
        client.start()
    while not statuses:
        time.sleep(0.01)
    try:
        yield
    finally:
        ending.set()
        for client in clients:
            client.join()
        print(f"{'':34}{statuses.count(200)} of {len(statuses)} requests for attributions of ten rows were answered")


def measure(process: int, port: int, lua: Path, connections: int, seconds: int, path: str = INFER) -> Measured:
    """What so many connections see for so many seconds; longer, where nothing is answered in that time."""
    while seconds <= LONGEST_SECONDS:
        if (found := _measured(process, port, lua, connections, seconds, path)) is not None:
            return found
        seconds *= 4
    sys.exit(f"nothing was answered in {LONGEST_SECONDS} s")


def _measured(process: int, port: int, lua: Path, connections: int, seconds: int, path: str) -> Measured | None:
    before = processor_seconds(process)
    output = subprocess.run(
        load(port, lua, connections, seconds, path), check=True, capture_output=True, text=True
    ).stdout
    return told(output, processor_seconds(process) - before)


def load(port: int, lua: Path, connections: int, seconds: int, path: str = INFER) -> list[str]:
    """wrk's command line."""
    command = ["taskset", "-c", "1", "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", str(lua)]
    return [*command, "--timeout", "30s", f"http://127.0.0.1:{port}{path}"]


def told(output: str, spent: float) -> Measured | None:
    """What wrk says, where anything was answered; `spent` are the server's processor seconds meanwhile."""
    if "Non-2xx" in output or "Socket errors" in output:
        sys.exit(f"requests failed:\n{output}")
    requests = int(_found(r"(\d+) requests in", output))
    if not requests:
        return None
    return Measured(
        rate=float(_found(r"Requests/sec:\s+([\d.]+)", output)),
        p50=_milliseconds(_found(r"\n +50%\s+(\S+)", output)),
        p99=_milliseconds(_found(r"\n +99%\s+(\S+)", output)),
        cpu=spent / requests * 1e6,
    )


def processor_seconds(process: int) -> float:
    """Of all threads that there are, to the nanosecond: the process's own total is in ticks of 10 ms."""
    threads = Path(f"/proc/{process}/task").glob("*/schedstat")
    return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9


def memory_mib(process: int) -> float:
    return int(_found(r"VmRSS:\s+(\d+)", Path(f"/proc/{process}/status").read_text())) / 1024


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    assert match is not None, text
    return match[1]


def _milliseconds(text: str) -> float:
    return float(_found(r"^([\d.]+)", text)) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[_found(r"([a-z]+)$", text)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 16, 64])
    options = parser.parse_args()
    if shutil.which("wrk") is None or shutil.which("taskset") is None:
        sys.exit("wrk and taskset are needed (Debian: apt-get install wrk util-linux)")
    with tempfile.TemporaryDirectory() as name:
        run(Path(name), options.connections, options.seconds)


def run(folder: Path, connections: list[int], seconds: int) -> None:
    model = train(folder)
    version = folder / "store" / "v1"
    bare, lua = without_reference(version, folder / "bare"), script(version, folder)
    print(f"\nload average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores: numbers of a busy machine are too low")
    print(f"{'':34}{'connections':>12}{'req/s':>10}{'p50 ms':>9}{'p99 ms':>9}{'CPU us/req':>12}")
    rates = {}
    cases = {
        "counting and metrics": (model, None),
        "without drift counts": (bare, None),
        "counting, metrics and a companion": (model, bare),
        "attributions asked for meanwhile": (model, None),
    }
    for what, (main_model, companion) in cases.items():
        with server(main_model, folder, companion) as running, contextlib.ExitStack() as beside:
            measure(running.process, running.port, lua, 16, 1)
            if "attributions" in what:
                beside.enter_context(explaining(running.port, version))
            for count in connections:
                found = measure(running.process, running.port, lua, count, seconds)
                rates[what, count] = found
                print(
                    f"{what:34}{count:12}{found.rate:10,.0f}{found.p50:9.2f}{found.p99:9.2f}{found.cpu:12.1f}",
                    flush=True,
                )
            print(f"{'':34}ready after {running.seconds:.1f} s, {memory_mib(running.process):.0f} MiB afterwards")
    judge(rates)


def judge(rates: dict[tuple[str, int], Measured]) -> None:
    ours, bare = rates.get(("counting and metrics", 16)), rates.get(("without drift counts", 16))
    if ours is None or bare is None:
        return
    print(f"\ntargets: {RATE_TARGET:,} req/s and p99 {P99_TARGET_MS} ms at 16 connections, {MEMORY_TARGET_MIB} MiB")
    share = bare.cpu / ours.cpu
    print(f"counting leaves {share:.0%} of the rate by processor time (target {SHARE_TARGET:.0%} or more)")


if __name__ == "__main__":
    main()
