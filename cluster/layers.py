"""An image on its way into a node: only the blobs that the node does not have are sent.

A change of code changes one small layer of an image of a gigabyte; the rest is in the node's content store already.
"""

import io
import json
import tarfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any


@dataclass(frozen=True)
class Layout:
    """An OCI layout folder that holds one image."""

    folder: Path
    name: str

    @property
    def manifest(self) -> dict[str, Any]:
        index = json.loads((self.folder / "index.json").read_text())
        found: dict[str, Any] = index["manifests"][-1]
        return found

    def blobs(self) -> list[str]:
        """The digests of all that the image consists of, the manifest last."""
        return list(self.sizes())

    def sizes(self) -> dict[str, int]:
        """The bytes of each blob, by digest, the manifest last."""
        manifest = self.manifest
        content = json.loads(self._blob(manifest["digest"]).read_text())
        parts = [*content["layers"], content["config"], manifest]
        return {part["digest"]: part["size"] for part in parts}

    def prune(self) -> None:
        """Removes the blobs of earlier builds."""
        kept = {self._blob(digest) for digest in self.blobs()}
        for path in (self.folder / "blobs" / "sha256").iterdir():
            if path not in kept:
                path.unlink()

    def write(self, stream: IO[bytes], present: Collection[str]) -> None:
        """Writes an OCI archive without the blobs named in `present`."""
        manifest = {**self.manifest, "annotations": {"io.containerd.image.name": self.name}}
        index = {"schemaVersion": 2, "manifests": [manifest]}
        with tarfile.open(fileobj=stream, mode="w|") as tar:
            _add(tar, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
            _add(tar, "index.json", json.dumps(index).encode())
            for path in self._absent(present):
                tar.add(path, f"blobs/sha256/{path.name}")

    def _absent(self, present: Collection[str]) -> Iterator[Path]:
        yield from (self._blob(digest) for digest in self.blobs() if digest not in present)

    def _blob(self, digest: str) -> Path:
        algorithm, _, value = digest.partition(":")
        return self.folder / "blobs" / algorithm / value


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))
