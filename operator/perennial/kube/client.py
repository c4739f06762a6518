"""Requests to the API server: plain JSON in and out, typed errors, patience where trying again does no harm.

A request that may have been carried out is repeated here only if it is idempotent. Everything else fails, and the
queue reconciles again from what is then there.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

import aiohttp
import msgspec

from .connection import Connection
from .errors import ApiError, NoAnswer, ServerError, TooManyRequests, from_answer
from .metrics import REQUESTS
from .ownership import key_of
from .plan import Key, Manifest, Resource
from .resources import collection_path, object_path

FIELD_MANAGER = "perennial"
PAGE = 500
ATTEMPTS = 4
FIRST_DELAY = 0.1
LONGEST_WAIT = 10.0
"""A server that asks for more patience than this is asked again by the queue, which works on other keys meanwhile."""

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

_REQUEST_TIMEOUT = 30.0
_CONNECT_TIMEOUT = 10.0

DecodedT = TypeVar("DecodedT")

_manifest = msgspec.json.Decoder(Manifest)


class WatchEvent(msgspec.Struct):
    """One line of a watch: ADDED, MODIFIED, DELETED, BOOKMARK, or ERROR with a Status as its object."""

    type: str
    object: dict[str, Any]


_event = msgspec.json.Decoder(WatchEvent)


class _Metadata(msgspec.Struct):
    name: str
    uid: str
    version: str = msgspec.field(name="resourceVersion")
    namespace: str = ""


class _Item(msgspec.Struct):
    metadata: _Metadata


class _ListMetadata(msgspec.Struct):
    version: str = msgspec.field(name="resourceVersion")
    follows: str = msgspec.field(name="continue", default="")


class _MetadataList(msgspec.Struct):
    metadata: _ListMetadata
    items: list[_Item] | None
    """An empty list is null."""


_metadata_list = msgspec.json.Decoder(_MetadataList)
_METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list, as of `resource_version`. The pages of one list are of one moment."""

    items: list[Manifest]
    resource_version: str
    follows: str


class Client:
    """Raises a subclass of ApiError whenever the answer is no success."""

    def __init__(self, connection: Connection, *, timeout: float = _REQUEST_TIMEOUT) -> None:
        self._connection = connection
        self._host = urlsplit(connection.host).netloc
        self._timeout = aiohttp.ClientTimeout(total=timeout, sock_connect=_CONNECT_TIMEOUT)

    async def close(self) -> None:
        await self._connection.close()

    async def get(self, resource: Resource, namespace: str, name: str) -> Manifest:
        return await self._json("GET", object_path(resource, namespace, name), idempotent=True)

    async def create(self, resource: Resource, manifest: Manifest, *, dry_run: bool = False) -> Manifest:
        """POST. Raises AlreadyExists where the name is taken."""
        params = {"fieldManager": FIELD_MANAGER} | ({"dryRun": "All"} if dry_run else {})
        path = collection_path(resource, key_of(manifest).namespace)
        return await self._json("POST", path, manifest, params=params, idempotent=dry_run)

    async def apply(self, resource: Resource, manifest: Manifest) -> Manifest:
        """Server-side apply. A `uid` in the manifest's metadata makes it fail on any other object: Conflict."""
        key = key_of(manifest)
        params = {"fieldManager": FIELD_MANAGER, "force": "true"}
        path = object_path(resource, key.namespace, key.name)
        return await self._json("PATCH", path, manifest, APPLY_PATCH, params=params, idempotent=True)

    async def patch(
        self, resource: Resource, namespace: str, name: str, patch: object, content_type: str, subresource: str = ""
    ) -> Manifest:
        """A patch that names the resourceVersion it is meant for, so that repeating it does no harm."""
        path = object_path(resource, namespace, name, subresource)
        params = {"fieldManager": FIELD_MANAGER}
        return await self._json("PATCH", path, patch, content_type, params=params, idempotent=True)

    async def replace(
        self, resource: Resource, manifest: Manifest, subresource: str = "", *, idempotent: bool = True
    ) -> Manifest:
        """PUT of the whole object. Raises Conflict where it has changed since its resourceVersion."""
        key = key_of(manifest)
        path = object_path(resource, key.namespace, key.name, subresource)
        params = {"fieldManager": FIELD_MANAGER}
        return await self._json("PUT", path, manifest, params=params, idempotent=idempotent)

    async def delete(self, resource: Resource, namespace: str, name: str, uid: str) -> Manifest:
        """Delete this very object; the garbage collector takes its dependents.

        The answer is the object where it takes time to go, else a Status. Raises NotFound, or Conflict where the name
        is another object's by now.
        """
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
            "preconditions": {"uid": uid},
        }
        return await self._json("DELETE", object_path(resource, namespace, name), options, idempotent=True)

    async def pages(self, resource: Resource, namespace: str | None = None, selector: str = "") -> AsyncIterator[Page]:
        """A consistent list, page by page. Raises Expired where the server forgot it half-way."""
        params = {"limit": str(PAGE)} | ({"labelSelector": selector} if selector else {})
        path = collection_path(resource, namespace)
        while True:
            listed = await self._json("GET", path, params=params, idempotent=True)
            metadata = listed["metadata"]
            page = Page(listed.get("items") or [], metadata["resourceVersion"], metadata.get("continue") or "")
            for item in page.items:
                # Items of a list do not say what they are.
                item.setdefault("apiVersion", resource.api_version)
                item.setdefault("kind", resource.kind)
            yield page
            if not page.follows:
                return
            params["continue"] = page.follows

    async def versions(
        self, resource: Resource, namespace: str | None = None, selector: str = ""
    ) -> tuple[dict[Key, int], int]:
        """The resourceVersion of every object, and of the list. It costs a fraction of the objects themselves."""
        params = {"limit": str(PAGE)} | ({"labelSelector": selector} if selector else {})
        path = collection_path(resource, namespace)
        found: dict[Key, int] = {}
        while True:
            raw = await self._answer("GET", path, params=params, accept=_METADATA_ONLY, idempotent=True)
            listed = _decoded(_metadata_list, raw)
            for item in listed.items or ():
                found[Key(item.metadata.namespace, item.metadata.name)] = int(item.metadata.version)
            if not listed.metadata.follows:
                return found, int(listed.metadata.version)
            params["continue"] = listed.metadata.follows

    @asynccontextmanager
    async def watch(
        self,
        resource: Resource,
        resource_version: str,
        namespace: str | None = None,
        selector: str = "",
        seconds: int = 300,
    ) -> AsyncIterator[AsyncIterator[WatchEvent]]:
        """The events after `resource_version`, for about so many seconds. How long to wait for one is the caller's."""
        params = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(seconds),
        } | ({"labelSelector": selector} if selector else {})
        limits = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_TIMEOUT)
        url = f"{collection_path(resource, namespace)}?{urlencode(params)}"
        async with await self._send("GET", url, None, {"Accept": JSON}, limits) as response:
            yield _events(response)

    async def _json(
        self,
        method: str,
        path: str,
        body: object = None,
        content_type: str = JSON,
        *,
        params: Mapping[str, str] | None = None,
        idempotent: bool,
    ) -> Manifest:
        raw = await self._answer(method, path, body, content_type, params=params, idempotent=idempotent)
        return _decoded(_manifest, raw)

    async def _answer(
        self,
        method: str,
        path: str,
        body: object = None,
        content_type: str = JSON,
        *,
        params: Mapping[str, str] | None = None,
        accept: str = JSON,
        idempotent: bool,
    ) -> bytes:
        """The body of a successful answer, after as many attempts as do no harm."""
        url = path + (f"?{urlencode(params)}" if params else "")
        headers = {"Accept": accept, "Content-Type": content_type}
        data = None if body is None else msgspec.json.encode(body)
        for attempt in range(ATTEMPTS):
            try:
                async with await self._send(method, url, data, headers, self._timeout) as response:
                    return await response.read()
            except ApiError as error:
                delay = _delay(error, attempt, idempotent)
                if delay is None:
                    raise
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                lost = NoAnswer(f"{method} {path}: the answer broke off: {error or type(error).__name__}")
                delay = _delay(lost, attempt, idempotent)
                if delay is None:
                    raise lost from None
            await asyncio.sleep(delay)
        raise AssertionError("the last attempt returns or raises")

    async def _send(
        self, method: str, url: str, data: bytes | None, headers: dict[str, str], limits: aiohttp.ClientTimeout
    ) -> aiohttp.ClientResponse:
        """A successful answer, its body not yet read. `url` is relative to the API server's."""
        headers = headers | {"User-Agent": FIELD_MANAGER}
        address = f"{self._connection.host}{url}"
        try:
            response = await self._connection.request(method, address, headers=headers, data=data, limits=limits)
        except TimeoutError:
            self._count("<timeout>", method)
            raise NoAnswer(f"{method} {url}: no answer in time") from None
        except (aiohttp.ClientError, OSError) as error:
            self._count("<error>", method)
            raise NoAnswer(f"{method} {url}: {error or type(error).__name__}") from None
        self._count(str(response.status), method)
        if response.status < 300:
            return response
        async with response:
            try:
                body = await response.read()
            except (aiohttp.ClientError, OSError, TimeoutError):
                body = b""
        raise from_answer(response.status, body, response.headers.get("Retry-After"))

    def _count(self, code: str, method: str) -> None:
        REQUESTS.labels(code, method, self._host).inc()


def _delay(error: ApiError, attempt: int, idempotent: bool) -> float | None:
    """Seconds to wait before another attempt, None where there should be none."""
    again = isinstance(error, TooManyRequests) or (idempotent and isinstance(error, ServerError | NoAnswer))
    if not again or attempt == ATTEMPTS - 1:
        return None
    asked = error.retry_after or 0.0
    if asked > LONGEST_WAIT:
        return None
    # Jitter on top of what was asked for: those who were refused together must not come back together.
    return asked + random.uniform(0.5, 1.0) * FIRST_DELAY * float(2**attempt)


def _decoded(decoder: msgspec.json.Decoder[DecodedT], raw: bytes) -> DecodedT:
    """What a proxy may answer in the server's place, with a code of success, is no answer."""
    try:
        return decoder.decode(raw)
    except msgspec.DecodeError as error:
        raise NoAnswer(f"an answer that cannot be read: {error}") from None


async def _events(response: aiohttp.ClientResponse) -> AsyncIterator[WatchEvent]:
    """Split by hand: aiohttp refuses lines longer than its buffer, and an object may be."""
    rest = b""
    try:
        async for chunk in response.content.iter_any():
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                if line:
                    yield _event.decode(line)
    except (aiohttp.ClientError, OSError) as error:
        raise NoAnswer(f"the watch broke off: {error or type(error).__name__}") from None
    except msgspec.DecodeError as error:
        raise NoAnswer(f"the watch sent what is no event: {error}") from None
