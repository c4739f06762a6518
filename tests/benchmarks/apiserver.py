"""What an API server tells of its own work: processor time, and requests by what was asked."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

import aiohttp

from perennial.kube.connection import Connection

_CPU = re.compile(r"^process_cpu_seconds_total (\S+)", re.MULTILINE)
_REQUEST = re.compile(r"^apiserver_request_total\{(.*)\} (\S+)", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')
_READS = frozenset({"GET", "LIST", "WATCH"})
_LIMITS = aiohttp.ClientTimeout(total=30)


@dataclass(frozen=True)
class Work:
    """Processor seconds, and requests other than reads by verb and resource, since the server started."""

    cpu: float
    requests: Counter[str]

    def __sub__(self, earlier: Work) -> Work:
        return Work(self.cpu - earlier.cpu, self.requests - earlier.requests)

    def each(self, count: int) -> str:
        """The requests that one of `count` objects took; what came to less than one object in twenty is left out."""
        shares = ((what, number / count) for what, number in self.requests.most_common())
        return ", ".join(f"{share:.2f} {what}" for what, share in shares if share >= 0.05)


async def work(connection: Connection) -> Work:
    """So far. Raises what aiohttp raises."""
    address, headers = f"{connection.host}/metrics", {"Accept": "text/plain"}
    async with await connection.request("GET", address, headers=headers, data=None, limits=_LIMITS) as answer:
        answer.raise_for_status()
        text = await answer.text()
    requests: Counter[str] = Counter()
    for labels, number in _REQUEST.findall(text):
        told = dict(_LABEL.findall(labels))
        if told["verb"] not in _READS:
            requests[_words(told)] += int(float(number))
    found = _CPU.search(text)
    return Work(float(found[1]) if found else 0.0, requests)


def _words(told: dict[str, str]) -> str:
    resource = told["resource"] + (f"/{told['subresource']}" if told["subresource"] else "")
    failed = "" if told["code"].startswith("2") else f" ({told['code']})"
    return f"{told['verb']} {resource}{' dry' if told['dry_run'] else ''}{failed}"
