"""The model server beside MLServer and FastAPI with scikit-learn: the same fitted model, one core, JSON over HTTP.

python -m tests.benchmarks.bench_peers [--seconds 3] [--connections 1 16 64] [--rows 1 100]

Each server has one core to itself, wrk the other; on a busy machine processor time says more than rates. Ours counts
for drift and has metrics on, as it always has. Every answer is compared with scikit-learn's before anything is timed.
All give labels and probabilities; MLServer is asked for the probabilities alone, since it would compute twice for both.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer
from sklearn.pipeline import Pipeline

from perennial.runtime import skops
from perennial.wire.manifest import SKOPS_FILE
from perennial.wire.run import Sklearn
from tests.benchmarks import bench_server
from tests.benchmarks.bench_server import Measured, Running, measure, memory_mib, post, train
from tests.benchmarks.peers import environment

MODELS = {
    "random forest, 100 trees": bench_server.FOREST,
    "hist gradient boosting": Sklearn("sklearn.ensemble.HistGradientBoostingClassifier"),
    "logistic regression, scaled": Sklearn("sklearn.linear_model.LogisticRegression", {"max_iter": 1000}),
}
START_SECONDS = 180


@dataclass(frozen=True)
class Contender:
    """How a server is started and asked."""

    name: str
    path: str
    start: Callable[[], contextlib.AbstractContextManager[Running]]
    body: Callable[[NDArray[np.float64]], dict[str, Any]]
    probabilities: Callable[[dict[str, Any]], list[float]]


def plain(version: Path) -> Pipeline:
    """The version's fitted pipeline without the selection of columns by name, so that peers need no data frame."""
    pipeline = skops.load((version / SKOPS_FILE).read_bytes())
    numbers = pipeline.named_steps["columns"].named_transformers_["numbers"]
    before = list(numbers.steps) if isinstance(numbers, Pipeline) else []
    return Pipeline([*before, ("model", pipeline.named_steps["model"])])


def contenders(version: Path, model: Path, folder: Path, python: Path) -> list[Contender]:
    served = bench_server.served(version)
    return [
        Contender("Perennial", bench_server.INFER, lambda: ours(served, folder), tensor, _from_outputs),
        Contender(
            "MLServer",
            "/v2/models/m/infer",
            lambda: mlserver(model, folder, python),
            lambda rows: tensor(rows) | {"outputs": [{"name": "predict_proba"}]},
            _from_outputs,
        ),
        Contender(
            "FastAPI",
            "/predict",
            lambda: fastapi(model, folder, python),
            lambda rows: {"rows": rows.tolist()},
            lambda answer: list(np.ravel(answer["probabilities"])),
        ),
    ]


def tensor(rows: NDArray[np.float64]) -> dict[str, Any]:
    data = rows.ravel().tolist()
    return {"inputs": [{"name": "rows", "shape": list(rows.shape), "datatype": "FP64", "data": data}]}


def _from_outputs(answer: dict[str, Any]) -> list[float]:
    by_name = {output["name"]: output["data"] for output in answer["outputs"]}
    return list(by_name.get("probabilities") or by_name["predict_proba"])


@contextlib.contextmanager
def ours(served: Any, folder: Path) -> Iterator[Running]:
    with bench_server.server(served, folder) as running:
        yield running


@contextlib.contextmanager
def mlserver(model: Path, folder: Path, python: Path) -> Iterator[Running]:
    home = Path(tempfile.mkdtemp(dir=folder))
    port, others = free_port(), {"grpc_port": free_port(), "metrics_port": free_port()}
    # Without workers: with one core they only add a hop between processes.
    settings = {"http_port": port, "host": "127.0.0.1", "parallel_workers": 0, "debug": False, **others}
    (home / "settings.json").write_text(json.dumps(settings))
    kind = {"name": "m", "implementation": "mlserver_sklearn.SKLearnModel", "parameters": {"uri": str(model)}}
    (home / "model-settings.json").write_text(json.dumps(kind))
    with started([str(python.with_name("mlserver")), "start", str(home)], port, "/v2/models/m/ready", {}) as running:
        yield running


@contextlib.contextmanager
def fastapi(model: Path, folder: Path, python: Path) -> Iterator[Running]:
    port = free_port()
    command = [str(python), "-m", "uvicorn", "--app-dir", str(Path(environment.__file__).parent), "plain:app"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--log-level", "warning", "--no-access-log"]
    with started(command, port, "/openapi.json", {"MODEL": str(model)}) as running:
        yield running


@contextlib.contextmanager
def started(command: list[str], port: int, ready: str, more: dict[str, str]) -> Iterator[Running]:
    given = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | more
    started = time.monotonic()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(["taskset", "-c", "0", *command], env=given, stdout=log, stderr=log)
        try:
            while not _answers(port, ready):
                if process.poll() is not None or time.monotonic() > started + START_SECONDS:
                    log.seek(0)
                    sys.exit(f"{command[0]} did not start:\n{log.read().decode()}")
                time.sleep(0.02)
            yield Running(process.pid, port, time.monotonic() - started)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()


def _answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def check(contender: Contender, running: Running, model: Pipeline, rows: NDArray[np.float64]) -> None:
    """Exits unless the server says what scikit-learn says."""
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=30)
    headers = {"Content-Type": "application/json"}
    connection.request("POST", contender.path, json.dumps(contender.body(rows)), headers)
    response = connection.getresponse()
    data = response.read()
    connection.close()
    if response.status != 200:
        sys.exit(f"{contender.name} answers {response.status}: {data.decode()}")
    found, expected = contender.probabilities(json.loads(data)), model.predict_proba(rows).ravel()
    if not np.allclose(found, expected, rtol=0, atol=1e-6):
        sys.exit(f"{contender.name} does not answer as scikit-learn does: {found[:4]}, not {expected[:4]}")


def compare(what: str, estimator: Sklearn, python: Path, options: argparse.Namespace) -> None:
    print(f"\n{what}")
    print(f"{'':12}{'rows':>5}{'connections':>13}{'req/s':>10}{'p50 ms':>9}{'p99 ms':>9}", end="")
    print(f"{'CPU us/req':>12}{'rate x':>8}{'CPU x':>8}", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        train(folder, estimator)
        version, fitted = folder / "store" / "v1", folder / "model.joblib"
        model = plain(version)
        joblib.dump(model, fitted)
        ours: dict[tuple[int, int], Measured] = {}
        for contender in contenders(version, fitted, folder, python):
            with contender.start() as running:
                for rows, connections, found in measured(contender, running, model, folder, options):
                    reference = ours.setdefault((rows, connections), found)
                    print(line(contender.name, rows, connections, found, reference), flush=True)
                print(f"{'':12}ready after {running.seconds:.1f} s, {memory_mib(running.process):.0f} MiB", flush=True)


def line(name: str, rows: int, connections: int, found: Measured, ours: Measured) -> str:
    """A line of the table; its last columns say how many times ours is better."""
    return (
        f"{name:12}{rows:5}{connections:13}{found.rate:10,.0f}{found.p50:9.2f}{found.p99:9.2f}"
        f"{found.cpu:12,.0f}{ours.rate / found.rate:8.1f}{found.cpu / ours.cpu:8.1f}"
    )


def measured(
    contender: Contender, running: Running, model: Pipeline, folder: Path, options: argparse.Namespace
) -> Iterator[tuple[int, int, Measured]]:
    data = load_breast_cancer().data
    for rows in options.rows:
        asked = data[np.arange(rows) * 5 % len(data)]
        check(contender, running, model, asked)
        lua = post(json.dumps(contender.body(asked)), folder / "post.lua")
        measure(running.process, running.port, lua, 16, 1, contender.path)
        for connections in options.connections:
            found = measure(running.process, running.port, lua, connections, options.seconds, contender.path)
            yield rows, connections, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 100])
    options = parser.parse_args()
    if shutil.which("wrk") is None or shutil.which("taskset") is None:
        sys.exit("wrk and taskset are needed (Debian: apt-get install wrk util-linux)")
    # Peers are sent no names of columns, and so is the model that they are compared with.
    warnings.filterwarnings("ignore", message="X does not have valid feature names")
    python = environment.python()
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores: numbers of a busy machine are too low")
    for what, estimator in MODELS.items():
        compare(what, estimator, python, options)


if __name__ == "__main__":
    main()
