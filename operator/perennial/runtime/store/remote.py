"""Object stores by URI, with their configuration in a mounted Secret: one file a key, named as obstore names it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from .errors import NotInStoreError, StoreRefusedError, StoreUnreachableError

if TYPE_CHECKING:
    from obstore.store import ObjectStore

SCHEMES = ("s3", "gs", "az")

_RETRY: Any = {"max_retries": 6, "retry_timeout": timedelta(seconds=60)}
_CLIENT: Any = {"connect_timeout": timedelta(seconds=10), "timeout": timedelta(minutes=10)}


def connect(uri: str, secret: Path) -> tuple[ObjectStore, str]:
    """The bucket of `uri` and the path in it. Raises StoreRefusedError where the configuration is wrong.

    Without a Secret the pod's own identity and environment count (workload identity, instance profile).
    """
    from obstore.store import AzureStore, GCSStore, S3Store

    parts = urlsplit(uri)
    constructor: Any = {"s3": S3Store, "gs": GCSStore, "az": AzureStore}[parts.scheme]
    with explained(uri):
        store = constructor(parts.netloc, config=configuration(secret), client_options=_CLIENT, retry_config=_RETRY)
    return store, unquote(parts.path).strip("/")


def configuration(secret: Path) -> dict[str, str]:
    """The Secret's keys, in lower case, and values; empty where none is mounted."""
    if not secret.is_dir():
        return {}
    # Kubernetes mounts the files as links into a hidden folder ..data.
    files = sorted(path for path in secret.iterdir() if not path.name.startswith(".") and path.is_file())
    return {path.name.lower(): path.read_text().strip() for path in files}


@contextmanager
def explained(uri: str) -> Iterator[None]:
    """Turn obstore's errors into the store's own, with `uri` named and the first line of what the other side said."""
    from obstore import exceptions as theirs

    try:
        yield
    except (theirs.NotFoundError, FileNotFoundError) as error:
        raise NotInStoreError(f"{uri}: not found") from error
    except (theirs.PermissionDeniedError, theirs.UnauthenticatedError) as error:
        raise StoreRefusedError(
            f"{uri}: access denied; check the keys of secretRef, or the pod's identity: {_said(error)}"
        ) from error
    except theirs.UnknownConfigurationKeyError as error:
        raise StoreRefusedError(
            f"{uri}: the Secret of secretRef has a key that means nothing: {_said(error)}"
        ) from error
    except theirs.AlreadyExistsError:
        raise
    except theirs.BaseError as error:
        if "Configuration" in type(error).__name__ or " credential error" in str(error) or "NoSuchBucket" in str(error):
            raise StoreRefusedError(f"{uri}: {_said(error)}") from error
        raise StoreUnreachableError(f"{uri}: {_said(error)}") from error


def _said(error: Exception) -> str:
    """The message without obstore's debug dump."""
    return str(error).split("\n\nDebug source", 1)[0].strip().replace("\n", " ")[:500]
