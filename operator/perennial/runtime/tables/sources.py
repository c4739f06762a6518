"""Where rows come from: the files that a data URI names, in the order of their names, each with its digest.

Mounted files are read in place; files elsewhere are streamed to scratch space while they are hashed, so that a file
never stands whole in memory.
"""

from __future__ import annotations

import hashlib
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from perennial.runtime.failures import InputError, TransientError
from perennial.runtime.store.errors import NoBucketError, NotInStoreError, StoreError, StoreRefusedError
from perennial.runtime.store.explained import explained
from perennial.runtime.store.folders import local_path
from perennial.runtime.store.remote import SCHEMES, connect

_CHUNK = 4 << 20
_TIMEOUT_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Source:
    """One file of rows. `size` is None where it is known only after fetching. `stamp` is another one when the content
    is: None where only the content tells."""

    name: str
    size: int | None
    fetch: Callable[[Path], Fetched]
    stamp: str | None = None


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file in this file system. `path` is below the scratch folder unless it was there to begin with."""

    path: Path
    sha256: str
    size: int
    mtime_ns: int | None = None
    """Of a file read in place: to notice that it changed while it was read."""


def find(uri: str, secret: Path, field: str = "data.uri") -> list[Source]:
    """The files of `uri`, sorted by name; `*` matches within a path segment, `**` across, a folder means what is in it.

    Raises InputError where there are none or they may not be read, TransientError where the place does not answer; both
    name the field.
    """
    with _told(field):
        sources = sorted(_list(uri, secret), key=lambda source: source.name)
        if not sources:
            raise InputError("DataNotFound", f"no file matches {uri}")
    return [replace(source, fetch=partial(_fetched, source.fetch, field)) for source in sources]


def _fetched(fetch: Callable[[Path], Fetched], field: str, scratch: Path) -> Fetched:
    with _told(field):
        return fetch(scratch)


def _list(uri: str, secret: Path) -> Iterable[Source]:
    path = local_path(uri)
    if path is not None:
        return _local(uri, path)
    scheme = urlsplit(uri).scheme
    if scheme in ("http", "https"):
        return [_http(uri)]
    if scheme in SCHEMES:
        return _remote(uri, secret)
    raise InputError("DataNotFound", f"{uri}: rows come from s3, gs, az, http, https, pvc or configmap")


def _local(uri: str, path: Path) -> Iterator[Source]:
    if not _is_pattern(str(path)):
        if not path.exists():
            raise InputError("DataNotFound", f"{uri}: there is no such file")
        paths = [path] if path.is_file() else [p for p in path.iterdir() if p.is_file() and _is_visible(p.name)]
    else:
        pattern = _expression(str(path))
        paths = [p for p in _walk(_fixed_part(path)) if pattern.fullmatch(str(p))]
    for found in paths:
        stat = found.stat()
        # A file may be given an old time of change, but not this one. A ConfigMap's are new in every pod.
        changed = f"{stat.st_size}-{stat.st_mtime_ns}-{stat.st_ctime_ns}"
        stamp = None if uri.startswith("configmap:") else changed
        yield Source(_as_uri(uri, path, found), stat.st_size, partial(_hash_in_place, found), stamp)


def _as_uri(uri: str, path: Path, found: Path) -> str:
    """`found` as a URI: what the person knows is `pvc://claim/...`, not where it is mounted."""
    inside = urlsplit(uri).path.rstrip("/")
    root = str(path).removesuffix(inside)
    return uri.rstrip("/").removesuffix(inside) + str(found).removeprefix(root)


def _walk(folder: Path) -> Iterator[Path]:
    """Files below `folder`, without hidden ones: a ConfigMap's and Spark's bookkeeping are such."""
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        if not _is_visible(path.name):
            continue
        if path.is_dir():
            yield from _walk(path)
        elif path.is_file():
            yield path


def _fixed_part(path: Path) -> Path:
    parts = path.parts
    first = next(i for i, part in enumerate(parts) if _is_pattern(part))
    return Path(*parts[:first])


def _hash_in_place(path: Path, _: Path) -> Fetched:
    stat = path.stat()
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Fetched(path, digest, stat.st_size, stat.st_mtime_ns)


def _remote(uri: str, secret: Path) -> Iterator[Source]:
    import obstore

    store, path = connect(uri, secret)
    root = uri[: uri.index("://") + 3] + urlsplit(uri).netloc
    if not _is_pattern(path) and (found := _head(store, uri, path)) is not None:
        yield _object(store, root, found)
        return
    glob = path if _is_pattern(path) else f"{path}/*".lstrip("/")
    prefix = glob[: glob.index("*")].rpartition("/")[0]
    pattern = _expression(glob)
    with explained(uri):
        for page in obstore.list(store, prefix=prefix or None):
            for entry in page:
                key = entry["path"]
                if pattern.fullmatch(key) and all(map(_is_visible, key.removeprefix(prefix).strip("/").split("/"))):
                    yield _object(store, root, entry)


def _head(store: Any, uri: str, key: str) -> Any | None:
    """What the store says of the object; None where there is none of that name: it may be a folder's."""
    import obstore

    if uri.endswith("/") or not key:
        return None
    try:
        with explained(uri):
            return obstore.head(store, key)
    except NotInStoreError:
        return None


def _object(store: Any, root: str, entry: Any) -> Source:
    key = entry["path"]
    name = f"{root}/{key}"

    def fetch(scratch: Path) -> Fetched:
        import obstore

        with explained(name):
            return _spool(obstore.get(store, key).stream(min_chunk_size=_CHUNK), scratch)

    stamp = f"{entry['e_tag']}-{entry['size']}-{entry['last_modified'].isoformat()}"
    return Source(name, entry["size"], fetch, stamp)


def _http(uri: str) -> Source:
    if _is_pattern(urlsplit(uri).path):
        raise InputError("DataNotFound", f"{uri}: files behind http can not be listed; name one file")
    # What is after ? may be a signature: it opens the file and must not stand in a status or a log.
    return Source(uri.partition("?")[0], None, lambda scratch: _download(uri, scratch))


def _download(uri: str, scratch: Path) -> Fetched:
    shown = uri.partition("?")[0]
    try:
        with urllib.request.urlopen(uri, timeout=_TIMEOUT_SECONDS) as response:
            expected = response.headers.get("Content-Length")
            fetched = _spool(iter(lambda: response.read(_CHUNK), b""), scratch)
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):
            raise InputError("DataForbidden", f"{shown}: HTTP {error.code} {error.reason}") from error
        if error.code in (404, 410):
            raise InputError("DataNotFound", f"{shown}: HTTP {error.code} {error.reason}") from error
        raise TransientError("DataUnreachable", f"{shown}: HTTP {error.code} {error.reason}") from error
    except OSError as error:
        cause = error.reason if isinstance(error, urllib.error.URLError) else error
        raise TransientError("DataUnreachable", f"{shown}: {_words(cause)}") from error
    if expected is not None and int(expected) != fetched.size:
        raise TransientError("DataUnreachable", f"{shown}: {fetched.size} of {expected} bytes came")
    return fetched


def _words(cause: object) -> str:
    """The operating system's words, without its number and what the library wraps around them."""
    return (isinstance(cause, OSError) and cause.strerror) or str(cause)


def _spool(chunks: Iterable[Any], scratch: Path) -> Fetched:
    digest, size = hashlib.sha256(), 0
    with scratch.open("wb") as file:
        for chunk in chunks:
            data = memoryview(chunk)
            digest.update(data)
            size += file.write(data)
    return Fetched(scratch, digest.hexdigest(), size)


@contextmanager
def _told(field: str) -> Iterator[None]:
    """The store's errors as the run's, all with the field that names the place."""
    try:
        yield
    except (InputError, TransientError) as error:
        raise type(error)(error.reason, f"{field}: {error.message}") from error
    except (NotInStoreError, NoBucketError) as error:
        raise InputError("DataNotFound", f"{field}: {error}") from error
    except StoreRefusedError as error:
        raise InputError("DataForbidden", f"{field}: {error}") from error
    except StoreError as error:
        raise TransientError("DataUnreachable", f"{field}: {error}") from error


def _is_pattern(path: str) -> bool:
    return "*" in path


def _is_visible(name: str) -> bool:
    return not name.startswith((".", "_"))


def _expression(path: str) -> re.Pattern[str]:
    parts = re.split(r"(\*\*/|\*\*|\*)", unquote(path))
    means = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*"}
    return re.compile("".join(means.get(part, re.escape(part)) for part in parts))
