"""Alertmanager's API, as far as alerts are handed over: the one address beyond the cluster's own that the operator
dials, and the chart's."""

from __future__ import annotations

from typing import Any

import aiohttp
import msgspec

PATH = "/api/v2/alerts"
TIMEOUT_SECONDS = 10.0


class AlertmanagerUnreachable(Exception):
    """It did not take the alerts. The text says why."""


class Alertmanager:
    """`url` is its root, as in http://alertmanager.monitoring:9093."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/") + PATH

    async def post(self, alerts: list[dict[str, Any]]) -> None:
        """Raises AlertmanagerUnreachable."""
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        headers = {"Content-Type": "application/json"}
        try:
            # A connection of its own each time: it is used once a minute.
            async with (
                aiohttp.ClientSession(timeout=timeout, headers=headers) as session,
                session.post(self._url, data=msgspec.json.encode(alerts), allow_redirects=False) as response,
            ):
                if response.status == 200:
                    return
                words = (await response.text())[:200]
        except TimeoutError:
            raise AlertmanagerUnreachable(f"{self._url}: no answer within {TIMEOUT_SECONDS:g} s") from None
        except (aiohttp.ClientError, OSError, UnicodeDecodeError) as error:
            raise AlertmanagerUnreachable(f"{self._url}: {error}") from None
        raise AlertmanagerUnreachable(f"{self._url}: answered {response.status}: {words}")
