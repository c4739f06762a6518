"""A world for each test, with a lake of 400 flights unless the test writes its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.runtime.trainer.world import World, flights


@pytest.fixture
def empty_world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def world(empty_world: World) -> World:
    empty_world.write(flights())
    return empty_world
