"""Versions of a model in the store: published sealed and whole, opened only when every digest is right."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from perennial.wire import places
from perennial.wire.manifest import MANIFEST_FILE, Manifest, SealError, check_file, open_manifest

from .errors import NotInStoreError
from .folders import Folder, open_folder

STORE_SECRET = Path(places.STORE_SECRET)


class Version:
    """An opened version: its manifest, and its files as they are asked for."""

    def __init__(self, folder: Folder, manifest: Manifest) -> None:
        self._folder = folder
        self.manifest = manifest

    def __contains__(self, name: str) -> bool:
        return name in self.manifest.files

    def read(self, name: str) -> bytes:
        """A file, checked against the manifest. Raises StoreError, and SealError where it was changed."""
        if name not in self:
            raise SealError(f"{name} is not listed in {MANIFEST_FILE}")
        data = self._folder.read(name)
        check_file(self.manifest, name, data)
        return data


def open_version(
    uri: str, *, secret: Path = STORE_SECRET, sha256: str | None = None, seal: str | None = None
) -> Version:
    """The version in the folder `uri`, which must have this model digest and seal where they are given.

    Raises NotInStoreError where there is no version, StoreError where the place can not be read, SealError where it is
    not the one that was asked for.
    """
    folder = open_folder(uri, secret)
    try:
        data = folder.read(MANIFEST_FILE)
    except NotInStoreError as error:
        raise NotInStoreError(f"{uri}: there is no version here (no {MANIFEST_FILE})") from error
    manifest = open_manifest(data, seal)
    if sha256 is not None and manifest.model.sha256 != sha256:
        raise SealError(f"{uri} holds the model {manifest.model.sha256} and must hold {sha256}")
    return Version(folder, manifest)


def publish(uri: str, files: Mapping[str, bytes], manifest: bytes, *, secret: Path = STORE_SECRET) -> Version:
    """Write a version and answer with what is there now: this one, or the one that was there first.

    Whenever this is interrupted there is either no version or the whole. Raises StoreError.
    """
    folder = open_folder(uri, secret)
    folder.put(files, manifest)
    return open_version(uri, secret=secret)


def leave(uri: str, name: str, data: bytes, *, secret: Path = STORE_SECRET) -> None:
    """Write a file to where a version would be: without a manifest the folder is none. Raises StoreError."""
    open_folder(uri, secret).leave(name, data)
