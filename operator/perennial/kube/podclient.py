"""HTTP to the pods' control ports: short time-outs, bounded concurrency, typed answers.

A pod that does not answer is an ordinary thing and never an error of the operator: everything that can go wrong is one
exception, `PodUnreachable`, that says what went wrong.
"""

from __future__ import annotations

import asyncio
from typing import TypeVar

import aiohttp
import msgspec

AnswerT = TypeVar("AnswerT")

TIMEOUT_SECONDS = 2.0
MAX_ANSWER_BYTES = 8 * 2**20
"""What a pod may answer at most: it runs users' code, and the operator's memory is everybody's."""


class PodUnreachable(Exception):
    """A pod did not answer, or not as agreed. The text says which and why; `status` is of an answer that was no
    success."""

    def __init__(self, text: str, status: int | None = None) -> None:
        super().__init__(text)
        self.status = status


class PodClient:
    """Keeps connections alive between polls. Close it with `close()`, or use it in `async with`."""

    def __init__(self, *, concurrency: int = 64, timeout: float = TIMEOUT_SECONDS) -> None:
        self._limit = asyncio.Semaphore(concurrency)
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._session: aiohttp.ClientSession | None = None
        self._concurrency = concurrency

    async def __aenter__(self) -> PodClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def get_json(self, ip: str, port: int, path: str, type: type[AnswerT]) -> AnswerT:
        """GET and decode. Raises PodUnreachable."""
        return await self._request("GET", ip, port, path, None, type)

    async def post_json(self, ip: str, port: int, path: str, body: object, type: type[AnswerT]) -> AnswerT:
        """POST `body` (what msgspec encodes) and decode the answer. Raises PodUnreachable."""
        return await self._request("POST", ip, port, path, msgspec.json.encode(body), type)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _request(
        self, method: str, ip: str, port: int, path: str, body: bytes | None, type: type[AnswerT]
    ) -> AnswerT:
        url = f"http://[{ip}]:{port}{path}" if ":" in ip else f"http://{ip}:{port}{path}"
        headers = {"Content-Type": "application/json"} if body is not None else None
        async with self._limit:
            try:
                # A redirect could lead anywhere in the cluster: a pod answers for itself or not at all.
                async with self._opened().request(
                    method, url, data=body, headers=headers, allow_redirects=False
                ) as response:
                    raw = await _read(response)
            except TimeoutError:
                raise PodUnreachable(f"{url}: no answer within {self._timeout.total:g} s") from None
            except (aiohttp.ClientError, OSError) as error:
                raise PodUnreachable(f"{url}: {error}") from None
        if response.status != 200:
            words = raw[:200].decode(errors="replace")
            raise PodUnreachable(f"{url}: answered {response.status}: {words}", response.status)
        try:
            return msgspec.json.decode(raw, type=type)
        except msgspec.DecodeError as error:
            raise PodUnreachable(f"{url}: an answer that cannot be read: {error}") from None

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=self._concurrency, keepalive_timeout=90)
            # trust_env stays off: a proxy of the environment must not see the pods' addresses.
            self._session = aiohttp.ClientSession(connector=connector, timeout=self._timeout)
        return self._session


async def _read(response: aiohttp.ClientResponse) -> bytes:
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > MAX_ANSWER_BYTES:
            raise aiohttp.ClientPayloadError(f"an answer of more than {MAX_ANSWER_BYTES} bytes")
        chunks.append(chunk)
    return b"".join(chunks)
