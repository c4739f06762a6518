"""What new nodes begin with: layers shared with the seed, databases of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster import seed

LAYER = "io.containerd.snapshotter.v1.overlayfs/snapshots/1/fs/bin/python"
DATABASE = "io.containerd.metadata.v1.bolt/meta.db"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "perennial" / "images" / "seed"


def test_layers_are_linked_and_databases_copied(cache: Path, tmp_path: Path) -> None:
    for name in (LAYER, DATABASE):
        (cache / "root" / name).parent.mkdir(parents=True)
        (cache / "root" / name).write_text(name)
    node = tmp_path / "node" / "containerd"
    seed.plant(node)
    assert (node / LAYER).samefile(cache / "root" / LAYER)
    assert not (node / DATABASE).samefile(cache / "root" / DATABASE)
    assert (node / DATABASE).read_text() == DATABASE


def test_without_a_seed_a_node_begins_empty(cache: Path, tmp_path: Path) -> None:
    seed.plant(tmp_path / "node" / "containerd")
    assert not (tmp_path / "node").exists()
