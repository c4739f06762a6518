"""A version's folder, on a mounted file system or in an object store: read a file, or put all in place at once."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from perennial.wire import places
from perennial.wire.manifest import MANIFEST_FILE

from .errors import NotInStoreError, StoreRefusedError, StoreUnreachableError
from .explained import explained
from .remote import SCHEMES, connect


class Folder(Protocol):
    """A version's folder. All methods raise StoreError."""

    def read(self, name: str) -> bytes:
        """A file's bytes. Raises NotInStoreError where there is none."""

    def put(self, files: Mapping[str, bytes], manifest: bytes) -> bool:
        """Write the files and then the manifest. False where a manifest was there first: then nothing of it changed."""

    def leave(self, name: str, data: bytes) -> None:
        """Write one file of no version."""


def open_folder(uri: str, secret: Path) -> Folder:
    """The folder of `uri`; `secret` is where its Secret is mounted, if it has one."""
    if path := local_path(uri):
        return LocalFolder(path)
    if urlsplit(uri).scheme in SCHEMES:
        return RemoteFolder(uri, secret)
    raise StoreRefusedError(f"{uri}: a store is s3://, gs://, az:// or pvc://")


def local_path(uri: str) -> Path | None:
    """Where a URI is in this file system; None where it is elsewhere."""
    if mounted := places.mounted_path(uri):
        return Path(mounted)
    parts = urlsplit(uri)
    return Path(unquote(parts.path)) if parts.scheme == "file" else None


class LocalFolder:
    """A folder of a mounted claim. It comes into being whole, by a rename."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self, name: str) -> bytes:
        path = self._path / name
        try:
            return path.read_bytes()
        except (FileNotFoundError, NotADirectoryError) as error:
            raise NotInStoreError(f"{path}: not found") from error
        except PermissionError as error:
            raise StoreRefusedError(f"{path}: {error.strerror}") from error
        except OSError as error:
            raise StoreUnreachableError(f"{path}: {error.strerror}") from error

    def put(self, files: Mapping[str, bytes], manifest: bytes) -> bool:
        with self._writing():
            return self._put({**files, MANIFEST_FILE: manifest})

    def leave(self, name: str, data: bytes) -> None:
        with self._writing():
            self._path.mkdir(parents=True, exist_ok=True)
            _write(self._path / name, data)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except PermissionError as error:
            raise StoreRefusedError(
                f"{self._path}: {error.strerror}: the claim is not writable for this pod"
            ) from error
        except OSError as error:
            raise StoreUnreachableError(f"{self._path}: {error.strerror}") from error

    def _put(self, files: Mapping[str, bytes]) -> bool:
        parent = self._path.parent
        parent.mkdir(parents=True, exist_ok=True)
        unfinished = parent / f"{self._unfinished}{secrets.token_hex(4)}"
        try:
            unfinished.mkdir()
            for name, data in files.items():
                _write(unfinished / name, data)
            _sync(unfinished)
            placed = self._place(unfinished)
            _sync(parent)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
        self._sweep()
        return placed

    def _place(self, unfinished: Path) -> bool:
        """Rename into place; a file system lets a folder replace only an empty one, so a second writer fails here."""
        try:
            unfinished.rename(self._path)
        except OSError:
            if (self._path / MANIFEST_FILE).exists():
                return False
            debris = self._path.with_name(f"{self._unfinished}{secrets.token_hex(4)}")
            self._path.rename(debris)
            unfinished.rename(self._path)
        return True

    @property
    def _unfinished(self) -> str:
        return f".{self._path.name}.unfinished-"

    def _sweep(self) -> None:
        """What a killed writer of this version left: the version is there now, so nobody needs it."""
        for left in self._path.parent.glob(f"{self._unfinished}*"):
            shutil.rmtree(left, ignore_errors=True)


class RemoteFolder:
    """A prefix of a bucket. The manifest is put last, and only where there is none."""

    def __init__(self, uri: str, secret: Path) -> None:
        self._uri = uri.rstrip("/")
        self._store, self._prefix = connect(uri, secret)

    def read(self, name: str) -> bytes:
        import obstore

        with explained(f"{self._uri}/{name}"):
            return bytes(obstore.get(self._store, self._key(name)).bytes())

    def put(self, files: Mapping[str, bytes], manifest: bytes) -> bool:
        if self._has_manifest():
            return False
        for name, data in files.items():
            self.leave(name, data)
        return self._create(manifest)

    def leave(self, name: str, data: bytes) -> None:
        import obstore

        with explained(f"{self._uri}/{name}"):
            obstore.put(self._store, self._key(name), data)

    def _create(self, manifest: bytes) -> bool:
        import obstore
        from obstore.exceptions import AlreadyExistsError, NotSupportedError

        key = self._key(MANIFEST_FILE)
        with explained(f"{self._uri}/{MANIFEST_FILE}"):
            try:
                obstore.put(self._store, key, manifest, mode="create")
            except AlreadyExistsError:
                return False
            except NotSupportedError:
                # A store without conditional writes: one Job writes a version, so the check before it has to do.
                obstore.put(self._store, key, manifest)
        return True

    def _has_manifest(self) -> bool:
        try:
            self.read(MANIFEST_FILE)
        except NotInStoreError:
            return False
        return True

    def _key(self, name: str) -> str:
        return f"{self._prefix}/{name}" if self._prefix else name


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
