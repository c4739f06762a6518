"""The trainer as Kubernetes runs it: a process with an environment, an exit code and a last word."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pytest

from perennial.runtime.store import Version
from perennial.wire.result import Result
from perennial.wire.run import Run
from tests.unit.runtime.trainer.world import FEATURES, World, flights

pytestmark = pytest.mark.process

COMMAND = [sys.executable, "-m", "perennial.runtime.trainer"]


def environment(world: World, run: Run | None) -> dict[str, str]:
    given = {} if run is None else {"PERENNIAL_RUN": msgspec.json.encode(run).decode()}
    return os.environ | given | {"PERENNIAL_TERMINATION_LOG": str(world.root / "message"), "OMP_NUM_THREADS": "1"}


def execute(world: World, run: Run | None, *arguments: str) -> tuple[int, Result, str]:
    done = subprocess.run(
        [*COMMAND, *arguments], env=environment(world, run), capture_output=True, text=True, timeout=120, check=False
    )
    message = (world.root / "message").read_bytes()
    return done.returncode, msgspec.json.decode(message, type=Result), done.stdout + done.stderr


def test_another_process_makes_the_same_model_and_a_report_tells_it_again(world: World) -> None:
    estimator = "sklearn.ensemble.RandomForestClassifier"
    run, here = (world.run(version=version, estimator=estimator, parameters={"n_estimators": 3}) for version in (1, 2))
    code, first, log = execute(world, run)
    assert code == 0, log
    assert "version 1: Accepted" in log
    second = world.train(here)
    assert first.model is not None
    assert second.model is not None
    assert first.model.sha256 == second.model.sha256
    onnx = [world.version(result).read("model.onnx") for result in (first, second)]
    assert onnx[0] == onnx[1]

    bare = msgspec.structs.replace(run, data=None, sklearn=None, definition="another")
    code, told, _ = execute(world, bare, "report")
    assert (code, told) == (0, first)


ELSEWHERE = """
import os, sys
import perennial.runtime.trainer.fitting as fitting
fitting.SMALL_CELLS = 0
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(os.environ["CPUS"])])
from perennial.runtime.trainer.__main__ import main
sys.exit(main([]))
"""
"""The trainer on a machine with so many CPUs, and with the threads that it uses for large data."""


@pytest.mark.parametrize(
    ("estimator", "parameters"),
    [
        ("sklearn.ensemble.HistGradientBoostingClassifier", {"max_iter": 10}),
        ("sklearn.neural_network.MLPClassifier", {"max_iter": 3}),
    ],
)
def test_what_the_lineage_says_makes_the_same_version_again_on_another_machine(
    empty_world: World, estimator: str, parameters: dict[str, int]
) -> None:
    """Other threads, hashes and clocks: sums must not be rounded otherwise, nor anything depend on an order of sets."""
    world = empty_world
    numbers = np.random.default_rng(0).normal(size=(20_000, 60))
    columns = [f"c{place}" for place in range(60)]
    world.write(flights(20_000).join(pd.DataFrame(numbers, columns=columns)))
    asked = world.run(estimator=estimator, parameters=parameters, time="scheduled", features=[*FEATURES, *columns])

    def trained(run: Run, hash_seed: str, cpus: str, zone: str) -> Version:
        env = environment(world, run) | {"PYTHONHASHSEED": hash_seed, "CPUS": cpus, "OMP_NUM_THREADS": cpus, "TZ": zone}
        command = [sys.executable, "-c", ELSEWHERE]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode == 0, done.stderr
        return world.version(msgspec.json.decode((world.root / "message").read_bytes(), type=Result))

    first = trained(asked, "1", "1", "UTC")
    told = msgspec.convert(json.loads(first.read("lineage.json"))["run"], Run)
    second = trained(msgspec.structs.replace(told, path="air/flights-abc123/v2"), "77", "2", "Asia/Tokyo")
    assert second.manifest.model.sha256 == first.manifest.model.sha256
    others = first.manifest.files.keys() - {"lineage.json"}
    assert {name: first.manifest.files[name] for name in others} == {
        name: second.manifest.files[name] for name in others
    }


def test_nothing_to_report_is_exit_66(world: World) -> None:
    code, result, _ = execute(world, world.run(), "report")
    assert (code, result.outcome) == (66, "Failed")
    assert result.failure is not None
    assert result.failure.reason == "NoVersion"


def test_wrong_input_is_exit_64_with_the_reason(world: World) -> None:
    code, result, log = execute(world, world.run(target="lat"))
    assert code == 64
    assert result.failure is not None
    assert result.failure.reason == "MissingColumn"
    assert "MissingColumn: data.target" in log
    assert "Traceback" not in log


@pytest.mark.parametrize("run", [None, "{}", "no json"])
def test_a_run_that_makes_no_sense_is_exit_65(empty_world: World, run: str | None) -> None:
    env = environment(empty_world, None) | ({} if run is None else {"PERENNIAL_RUN": run})
    done = subprocess.run([*COMMAND, "report"], env=env, capture_output=True, timeout=60, check=False)
    assert done.returncode == 65
    result = msgspec.json.decode((empty_world.root / "message").read_bytes(), type=Result)
    assert result.failure is not None
    assert result.failure.reason == "InvalidRun"


def test_a_fault_of_our_own_leaves_its_traceback_in_the_log(world: World) -> None:
    """An estimator that the platform team allows and that breaks in a way of its own."""
    (world.root / "broken.py").write_text(
        "from sklearn.base import BaseEstimator, ClassifierMixin\n"
        "class Broken(ClassifierMixin, BaseEstimator):\n"
        "    def fit(self, X, y):\n"
        "        raise KeyError('a fault in fit')\n"
    )
    env = environment(world, world.run(estimator="broken.Broken", features=["distance"]))
    env |= {"PERENNIAL_ESTIMATORS": "broken.Broken", "PYTHONPATH": str(world.root)}
    done = subprocess.run(COMMAND, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 65
    assert "Traceback" in done.stderr
    assert "a fault in fit" in done.stderr.splitlines()[-1]
    result = msgspec.json.decode((world.root / "message").read_bytes(), type=Result)
    assert result.failure is not None
    assert result.failure.reason == "InternalError"


def test_sigterm_ends_a_run_at_once_and_leaves_no_version(empty_world: World) -> None:
    empty_world.write(flights(5000))
    run = empty_world.run(estimator="sklearn.ensemble.RandomForestClassifier", parameters={"n_estimators": 10_000})
    process = subprocess.Popen(COMMAND, env=environment(empty_world, run), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    while "split" not in process.stdout.readline():
        assert process.poll() is None
    asked = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 128 + signal.SIGTERM
    assert time.monotonic() - asked < 10
    assert not Path(empty_world.root / "store").exists()
