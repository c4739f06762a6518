"""Images without a registry: their names, the archive of one binary, and sending only what is missing."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

from cluster import images, oci
from cluster.errors import ClusterError
from cluster.layers import Layout


@pytest.mark.parametrize(
    ("written", "full"),
    [
        ("perennial/operator:dev", "docker.io/perennial/operator:dev"),
        ("perennial/operator", "docker.io/perennial/operator:latest"),
        ("busybox", "docker.io/library/busybox:latest"),
        ("localhost/a/b:1", "localhost/a/b:1"),
        ("registry:5000/a", "registry:5000/a:latest"),
        ("quay.io/a/b@sha256:00", "quay.io/a/b@sha256:00"),
    ],
)
def test_names_are_completed_as_container_runtimes_do(written: str, full: str) -> None:
    assert images.full_name(written) == full


def test_an_unknown_image_is_refused() -> None:
    with pytest.raises(ClusterError, match="no such image: gateway"):
        images.build(["gateway"])


def unpacked(tar: bytes, folder: Path) -> dict[str, bytes]:
    folder.mkdir(parents=True, exist_ok=True)
    found = {}
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        for entry in archive:
            content = archive.extractfile(entry)
            assert content is not None
            found[entry.name] = content.read()
            path = folder / entry.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(found[entry.name])
    return found


def single_binary(folder: Path) -> dict[str, bytes]:
    binary = folder / "tool"
    binary.write_bytes(b"\x7fELF")
    oci.single_binary("docker.io/perennial/tool:dev", binary, folder / "tool.tar")
    return unpacked((folder / "tool.tar").read_bytes(), folder / "layout")


def test_an_archive_of_one_binary_is_a_whole_image(tmp_path: Path) -> None:
    files = single_binary(tmp_path)
    blobs = {name: content for name, content in files.items() if name.startswith("blobs/")}
    assert all(hashlib.sha256(content).hexdigest() == name.rsplit("/")[-1] for name, content in blobs.items())
    described = json.loads(files["index.json"])["manifests"][0]
    assert described["annotations"]["io.containerd.image.name"] == "docker.io/perennial/tool:dev"
    manifest = json.loads(blobs[f"blobs/sha256/{described['digest'][7:]}"])
    config = json.loads(blobs[f"blobs/sha256/{manifest['config']['digest'][7:]}"])
    assert config["rootfs"]["diff_ids"] == [manifest["layers"][0]["digest"]]
    assert config["config"]["Entrypoint"] == ["/tool"]
    with tarfile.open(fileobj=io.BytesIO(blobs[f"blobs/sha256/{manifest['layers'][0]['digest'][7:]}"])) as layer:
        assert layer.getmember("tool").mode == 0o755


def test_only_missing_blobs_are_sent(tmp_path: Path) -> None:
    single_binary(tmp_path)
    layout = Layout(tmp_path / "layout", "docker.io/perennial/renamed:dev")
    layer, config, manifest = layout.blobs()
    sent = io.BytesIO()
    layout.write(sent, present={layer})
    files = unpacked(sent.getvalue(), tmp_path / "sent")
    assert {name for name in files if name.startswith("blobs")} == {f"blobs/sha256/{d[7:]}" for d in (config, manifest)}
    annotations = json.loads(files["index.json"])["manifests"][0]["annotations"]
    assert annotations == {"io.containerd.image.name": "docker.io/perennial/renamed:dev"}


def test_pruning_keeps_what_the_image_needs(tmp_path: Path) -> None:
    single_binary(tmp_path)
    layout = Layout(tmp_path / "layout", "tool")
    stale = tmp_path / "layout" / "blobs" / "sha256" / ("0" * 64)
    stale.write_bytes(b"old")
    layout.prune()
    assert not stale.exists()
    assert len(list(stale.parent.iterdir())) == len(layout.blobs())
