"""Object stores by URI, with their configuration in a mounted Secret: one file a key, named as obstore names it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from .errors import StoreRefusedError
from .explained import explained

if TYPE_CHECKING:
    from obstore.store import ObjectStore

SCHEMES = ("s3", "gs", "az")

_RETRY: Any = {"max_retries": 6, "retry_timeout": timedelta(seconds=60)}
_CLIENT: dict[str, Any] = {"connect_timeout": timedelta(seconds=10), "timeout": timedelta(minutes=10)}
_ENDPOINTS = (
    *("endpoint", "endpoint_url", "aws_endpoint", "aws_endpoint_url", "aws_endpoint_url_s3"),
    *("azure_endpoint", "azure_storage_endpoint", "base_url", "google_base_url"),
)
_ALLOW_HTTP = ("allow_http", "aws_allow_http", "azure_allow_http", "google_allow_http")


def connect(uri: str, secret: Path) -> tuple[ObjectStore, str]:
    """The bucket of `uri` and the path in it. Raises StoreRefusedError where the configuration is wrong.

    Without a Secret the pod's own identity and environment count (workload identity, instance profile).
    """
    from obstore.store import AzureStore, GCSStore, S3Store

    parts = urlsplit(uri)
    constructor: Any = {"s3": S3Store, "gs": GCSStore, "az": AzureStore}[parts.scheme]
    config = configuration(secret)
    client = _CLIENT | {"allow_http": True} if _takes_http(config) else _CLIENT
    _check_endpoints(uri, config, "allow_http" in client)
    given = {key: value for key, value in config.items() if key not in _ALLOW_HTTP}
    with explained(uri, otherwise=StoreRefusedError):
        store = constructor(parts.netloc, config=given, client_options=client, retry_config=_RETRY)
    return store, unquote(parts.path).strip("/")


def configuration(secret: Path) -> dict[str, str]:
    """The Secret's keys, in lower case, and values; empty where none is mounted."""
    if not secret.is_dir():
        return {}
    # Kubernetes mounts the files as links into a hidden folder ..data.
    files = sorted(path for path in secret.iterdir() if not path.name.startswith(".") and path.is_file())
    return {path.name.lower(): path.read_text().strip() for path in files}


def _takes_http(config: Mapping[str, str]) -> bool:
    """Said in the Secret, or in the pod's environment as the clouds' own tools say it."""
    said = [config.get(key) or os.environ.get(key.upper(), "") for key in _ALLOW_HTTP]
    return any(value.lower() in ("true", "1", "yes", "on") for value in said)


def _check_endpoints(uri: str, config: Mapping[str, str], allow_http: bool) -> None:
    """What obstore would only complain about in terms of its own, or not survive."""
    for key in config.keys() & set(_ENDPOINTS):
        parts = urlsplit(config[key])
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise StoreRefusedError(f"{uri}: {key} in the Secret of secretRef must be a URL, as https://host:port")
        if parts.scheme == "http" and not allow_http:
            raise StoreRefusedError(
                f"{uri}: {key} in the Secret of secretRef is not encrypted: say https, or add the key "
                'allow_http with the value "true"'
            )
