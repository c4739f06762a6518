"""A version fetched for somebody else's server: whole and as published, or not at all."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import msgspec
import pytest

from perennial.runtime import fetch as fetching
from perennial.runtime.fetch import fetch, main
from perennial.wire.manifest import FORMAT, MANIFEST_FILE, File, Manifest, ModelFile, SealError
from perennial.wire.result import Result
from perennial.wire.serve import Serve, ServedModel

FILES = {"model.onnx": b"the model", "schema.json": b"{}", "reference.json": b"{}"}
DIGEST = hashlib.sha256(FILES["model.onnx"]).hexdigest()


@pytest.fixture
def served(tmp_path: Path) -> ServedModel:
    return published(tmp_path, FILES)


def published(tmp_path: Path, files: dict[str, bytes]) -> ServedModel:
    listed = {name: File(hashlib.sha256(data).hexdigest(), len(data)) for name, data in files.items()}
    model = ModelFile("model.onnx", DIGEST, "model.onnx", "onnx")
    manifest = msgspec.json.encode(Manifest(FORMAT, "a", "b", "u", 1, "v1:0", listed, model, Result(1, "Accepted")))
    folder = tmp_path / "store" / "v1"
    for name, data in [*files.items(), (MANIFEST_FILE, manifest)]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return ServedModel(f"file://{folder}", DIGEST, 1, hashlib.sha256(manifest).hexdigest())


def test_every_file_is_there_for_everyone_to_read(served: ServedModel, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for _ in range(2):  # A pod that is made anew on its node fetches again.
        fetch(served, folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == FILES
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o444}


def test_a_changed_file_is_not_left_for_anyone(served: ServedModel, tmp_path: Path) -> None:
    (tmp_path / "store" / "v1" / "schema.json").write_bytes(b"[]")
    folder = tmp_path / "model"
    folder.mkdir()
    with pytest.raises(SealError, match=r"schema\.json"):
        fetch(served, folder)
    assert not (folder / "schema.json").exists()


def test_a_manifest_leads_nowhere_else(tmp_path: Path) -> None:
    """Where only the model's digest is known, its manifest may be anybody's."""
    served = published(tmp_path, FILES | {"nested/elsewhere": b"x"})
    folder = tmp_path / "model"
    folder.mkdir()
    with pytest.raises(SealError, match="is no name of a file"):
        fetch(served, folder)


def test_the_last_line_says_what_is_wrong(
    served: ServedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(fetching, "MODEL", str(tmp_path / "model"))
    (tmp_path / "model").mkdir()
    monkeypatch.setenv("PERENNIAL_SERVE", msgspec.json.encode(Serve("flights", served)).decode())
    with caplog.at_level(logging.INFO):
        assert main() == 0
    other = Serve("flights", ServedModel(served.uri, "ab" * 32))
    monkeypatch.setenv("PERENNIAL_SERVE", msgspec.json.encode(other).decode())
    assert main() == 1
    assert "must hold" in caplog.messages[-1]
