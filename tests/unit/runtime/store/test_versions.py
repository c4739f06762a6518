"""Versions in a folder and in an object store: there whole or not at all, and refused when changed."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import msgspec
import obstore
import pytest
from obstore.store import MemoryStore

from perennial.runtime import store
from perennial.runtime.store import folders, remote
from perennial.wire.manifest import FORMAT, File, Manifest, ModelFile, SealError, seal_of
from perennial.wire.result import Model, Result

FILES = {"model.skops": b"model", "schema.json": b"{}"}


def manifest(version: int = 1, files: dict[str, bytes] = FILES) -> bytes:
    digest = hashlib.sha256(b"model").hexdigest()
    return msgspec.json.encode(
        Manifest(
            format=FORMAT,
            namespace="air",
            name="flights",
            uid="1",
            version=version,
            definition="v1:0",
            files={name: File(hashlib.sha256(data).hexdigest(), len(data)) for name, data in files.items()},
            model=ModelFile("model.skops", digest, "model.skops", "sklearn"),
            result=Result(version, "Accepted", Model("file:///v1", digest, "", 5, "sklearn")),
        )
    )


@pytest.fixture(params=["folder", "bucket"])
def uri(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "folder":
        return f"file://{tmp_path}/air/flights/v1"
    bucket = MemoryStore()
    monkeypatch.setattr(folders, "connect", lambda uri, secret: (bucket, "models/air/v1"))
    return "s3://bucket/models/air/v1"


def test_what_was_published_is_opened_with_its_seal(uri: str) -> None:
    published = store.publish(uri, FILES, manifest())
    opened = store.open_version(uri, sha256=hashlib.sha256(b"model").hexdigest(), seal=seal_of(manifest()))
    assert opened.read("model.skops") == b"model"
    assert opened.manifest.result.model is not None
    assert opened.manifest.result.model.seal == seal_of(manifest())
    assert published.manifest == opened.manifest


def test_the_first_version_stays(uri: str) -> None:
    store.publish(uri, FILES, manifest(1))
    assert store.publish(uri, {"model.skops": b"other"}, manifest(2)).manifest.version == 1
    assert store.open_version(uri).read("model.skops") == b"model"


def test_nothing_there_is_said_so(uri: str) -> None:
    with pytest.raises(store.NotInStoreError, match="no version here"):
        store.open_version(uri)


@pytest.mark.parametrize("digest", ["seal", "sha256"])
def test_another_version_than_asked_for_is_refused(uri: str, digest: Any) -> None:
    store.publish(uri, FILES, manifest())
    with pytest.raises(SealError):
        store.open_version(
            uri, seal="0" * 64 if digest == "seal" else None, sha256="0" * 64 if digest == "sha256" else None
        )


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    uri = f"file://{tmp_path}/v1"
    opened = store.publish(uri, FILES, manifest())
    (tmp_path / "v1" / "model.skops").write_bytes(b"MODEL")
    with pytest.raises(SealError, match=r"model\.skops has sha256"):
        opened.read("model.skops")
    with pytest.raises(SealError, match="not listed"):
        opened.read("extra.json")


def test_a_changed_manifest_is_refused(tmp_path: Path) -> None:
    uri = f"file://{tmp_path}/v1"
    store.publish(uri, FILES, manifest())
    (tmp_path / "v1" / "manifest.json").write_bytes(manifest().replace(b'"air"', b'"AIR"'))
    with pytest.raises(SealError, match="changed after publication"):
        store.open_version(uri, seal=seal_of(manifest()))


@pytest.mark.parametrize("data", [b"", b"[]", b'{"format":"perennial.dev/model/v9"}', manifest().replace(b"v1", b"v9")])
def test_what_is_no_manifest_is_refused(tmp_path: Path, data: Any) -> None:
    (tmp_path / "manifest.json").write_bytes(data)
    with pytest.raises(SealError):
        store.open_version(f"file://{tmp_path}")


class Killed(BaseException):
    """A process that ends between two system calls."""


@pytest.mark.parametrize("after", range(1, 4))
def test_a_publication_that_is_killed_leaves_no_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: Any
) -> None:
    """Killed after each file, the manifest's included, and before the rename: nothing; then a retry succeeds."""
    uri = f"file://{tmp_path}/air/v1"
    writes = 0
    write = folders._write

    def killed(path: Path, data: bytes) -> None:
        nonlocal writes
        write(path, data)
        writes += 1
        if writes == after:
            raise Killed

    monkeypatch.setattr(folders, "_write", killed)
    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)
    with pytest.raises(Killed):
        store.publish(uri, FILES, manifest())
    with pytest.raises(store.NotInStoreError):
        store.open_version(uri)
    assert [path.name for path in (tmp_path / "air").iterdir() if not path.name.startswith(".")] == []

    monkeypatch.undo()
    assert store.publish(uri, FILES, manifest()).read("model.skops") == b"model"
    assert [path.name for path in (tmp_path / "air").iterdir()] == ["v1"]


def test_debris_without_a_manifest_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "v1").mkdir()
    (tmp_path / "v1" / "model.skops").write_bytes(b"half")
    assert store.publish(f"file://{tmp_path}/v1", FILES, manifest()).read("model.skops") == b"model"


@pytest.mark.parametrize("after", range(3))
def test_an_upload_that_breaks_leaves_no_version(monkeypatch: pytest.MonkeyPatch, after: Any) -> Any:
    bucket, puts = MemoryStore(), 0
    monkeypatch.setattr(folders, "connect", lambda uri, secret: (bucket, "v1"))
    put = obstore.put

    def broken(*arguments: Any, **options: Any) -> Any:
        nonlocal puts
        if puts == after:
            raise obstore.exceptions.GenericError("Generic S3 error: connection reset")
        puts += 1
        return put(*arguments, **options)

    monkeypatch.setattr(obstore, "put", broken)
    with pytest.raises(store.StoreUnreachableError, match="connection reset"):
        store.publish("s3://bucket/v1", FILES, manifest())
    monkeypatch.setattr(obstore, "put", put)
    with pytest.raises(store.NotInStoreError):
        store.open_version("s3://bucket/v1")
    assert store.publish("s3://bucket/v1", FILES, manifest()).manifest.version == 1


def test_two_writers_at_once_leave_one_whole_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both found no manifest; the second to write its own must not replace the first's."""
    bucket = MemoryStore()
    monkeypatch.setattr(folders, "connect", lambda uri, secret: (bucket, "v1"))
    monkeypatch.setattr(folders.RemoteFolder, "_has_manifest", lambda self: False)
    assert store.publish("s3://bucket/v1", FILES, manifest(1)).manifest.version == 1
    assert store.publish("s3://bucket/v1", FILES, manifest(2)).manifest.version == 1


def test_a_store_that_can_not_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(store.StoreError, match="file"):
        store.publish(f"file://{tmp_path}/file/v1", FILES, manifest())


def test_an_unknown_scheme_is_refused() -> None:
    with pytest.raises(store.StoreRefusedError, match="a store is"):
        store.open_version("ftp://host/v1")


def test_a_secret_is_read_as_kubernetes_mounts_it(tmp_path: Path) -> None:
    hidden = tmp_path / "..2026_11_24"
    hidden.mkdir()
    (hidden / "AWS_REGION").write_text("eu-central-1\n")
    (tmp_path / "..data").symlink_to(hidden)
    (tmp_path / "AWS_REGION").symlink_to("..data/AWS_REGION")
    assert remote.configuration(tmp_path) == {"aws_region": "eu-central-1"}
    assert remote.configuration(tmp_path / "none") == {}


def test_a_key_that_means_nothing_is_named(tmp_path: Path) -> None:
    (tmp_path / "aws_acces_key_id").write_text("x")
    with pytest.raises(store.StoreRefusedError, match="aws_acces_key_id"):
        store.open_version("s3://bucket/v1", secret=tmp_path)
