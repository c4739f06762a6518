"""A world for each test, with a lake of 400 flights unless the test writes its own.

A training tries its ONNX form in a process of its own. That such a process may crash or hang is tested beside it, and
whole runs of the trainer start it (test_process.py); here the same is done in the test's own process, without the
start of an interpreter for each model.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from perennial.runtime.onnx import agreement, probe
from perennial.runtime.onnx.trial import TrialError
from tests.unit.runtime.trainer.world import World, flights


@pytest.fixture
def empty_world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def world(empty_world: World) -> World:
    empty_world.write(flights())
    return empty_world


@pytest.fixture(autouse=True)
def trials_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def tried(module: str, folder: Path, *, seconds: float) -> bytes:
        found = {agreement.__name__: agreement.compare, probe.__name__: probe.look}[module]
        try:
            return msgspec.json.encode(found(folder))
        except Exception as error:
            raise TrialError(f"ONNX Runtime ended with 1: {error}") from error

    for module in (agreement, probe):
        monkeypatch.setattr(module, "tried", tried)
