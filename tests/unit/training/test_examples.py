"""Every example of a TrainingJob is one: it parses, and a run can be made of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.training.world import World

EXAMPLES = sorted((Path(__file__).parents[3] / "examples").glob("training-*.yaml"))


def trainingjobs(path: Path) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(path.read_text()) if document["kind"] == "TrainingJob"]


def test_there_are_examples() -> None:
    assert EXAMPLES


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.stem))
def test_an_example_starts_a_run(path: Path) -> None:
    for manifest in trainingjobs(path):
        world = World(manifest["spec"])
        world.settle()
        assert world.condition("Stalled") is None, world.message("Stalled")
        assert len(world.starts) == 1
