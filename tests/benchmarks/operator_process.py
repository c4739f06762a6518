"""The operator as a process of its own, and what it tells of itself.

Its own bytecode is kept between starts, as the image has it: without, a start is mostly the compiler's time.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import aiohttp

from cluster.paths import REPOSITORY

_WRITES = re.compile(
    r'rest_client_requests_total\{code="[^"]*",host="[^"]*",method="(?:POST|PUT|PATCH|DELETE)"\} (\S+)'
)
_BUSY = re.compile(r"(?:workqueue_depth|controller_runtime_active_workers)\{[^}]*\} (\S+)")
_LEADS = 'leader_election_master_status{name="perennial"} 1.0'
_BYTECODE = REPOSITORY / ".benchmarks" / "bytecode"
_TICKS = os.sysconf("SC_CLK_TCK")


class OperatorProcess:
    """Started when made, against `kubeconfig`, limited to one namespace."""

    def __init__(self, namespace: str, kubeconfig: Path) -> None:
        health, self._metrics_port = _free_port(), _free_port()
        environment = os.environ | {
            # An empty text is as good as none.
            "PYTHONDONTWRITEBYTECODE": "",
            "PYTHONPYCACHEPREFIX": str(_BYTECODE),
            "KUBECONFIG": str(kubeconfig),
            "PERENNIAL_NAMESPACE": namespace,
            "PERENNIAL_WATCH_NAMESPACES": namespace,
            "PERENNIAL_HEALTH_PORT": str(health),
            "PERENNIAL_METRICS_PORT": str(self._metrics_port),
            "PERENNIAL_LOG_LEVEL": "WARNING",
            "PERENNIAL_STORE_URI": "s3://bench/{namespace}",
        }
        self._process = subprocess.Popen([sys.executable, "-m", "perennial.main"], env=environment)

    @property
    def pid(self) -> int:
        return self._process.pid

    async def leads(self) -> None:
        """Wait until it leads: its caches are full and its workers have begun."""
        deadline = time.perf_counter() + 60
        while not await self._tells(_LEADS):
            if time.perf_counter() > deadline or self._process.poll() is not None:
                raise TimeoutError("the operator does not lead")
            await asyncio.sleep(0.05)

    async def rests(self) -> None:
        """Wait until nothing waits and nothing is worked on, five times in a row."""
        quiet = 0
        while quiet < 5:
            told = await self._metrics("workqueue_depth", "controller_runtime_active_workers")
            busy = any(float(value) for value in _BUSY.findall(told))
            quiet = 0 if busy else quiet + 1
            await asyncio.sleep(0.2)

    async def writes(self) -> int:
        """Requests that were to change something, those of its lease among them."""
        return sum(int(float(count)) for count in _WRITES.findall(await self._metrics("rest_client_requests_total")))

    def memory(self) -> int:
        """Resident MiB."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) // 1024

    def cpu(self) -> float:
        """Processor seconds since it started."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    async def stop(self) -> None:
        self._process.terminate()
        await asyncio.to_thread(self._process.wait, 60)

    async def _metrics(self, *names: str) -> str:
        """Those alone: to ask for all of them by the second would be measured, too."""
        address, query = f"http://127.0.0.1:{self._metrics_port}/metrics", [("name[]", name) for name in names]
        async with aiohttp.ClientSession() as session, session.get(address, params=query) as answer:
            return await answer.text()

    async def _tells(self, line: str) -> bool:
        try:
            return line in await self._metrics("leader_election_master_status")
        except aiohttp.ClientError:
            return False


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
