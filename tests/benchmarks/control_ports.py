"""The control ports of thousands of server pods in one process: each loopback address is a pod.

What they count is drawn from the reference itself, so that an operator that looks has real counts to judge and nothing
to find. They keep their epochs until these are acknowledged, as server pods do.

python -m tests.benchmarks.control_ports ROWS_A_SECOND
"""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import dataclass, field

import msgspec
import numpy as np
from aiohttp import web

from perennial.wire.counts import EPOCHS_PATH, REFERENCE_PATH, Epoch, Epochs, ModelCounts, Take
from perennial.wire.places import CONTROL_PORT
from perennial.wire.reference import Loss, Numeric, Reference
from perennial.wire.stats import STATS_PATH, Stats

MODEL = "ab" * 32
FEATURES, BINS, REFERENCE_ROWS = 20, 20, 20_000


def reference() -> Reference:
    """Of a model of 20 numeric features, each in 20 bins of equal share."""
    edges = [float(edge) for edge in range(BINS + 1)]
    counts = [0, *[REFERENCE_ROWS // BINS] * BINS, 0, 0]
    features: list[Numeric] = [Numeric(f"x{number}", edges, counts) for number in range(FEATURES)]
    loss = Loss([0.0, 1.0], [REFERENCE_ROWS * 9 // 10, REFERENCE_ROWS // 10], 0.1, 0.11, 0.99)
    return Reference(MODEL, "classification", REFERENCE_ROWS, [*features], Numeric("(score)", edges, counts), loss)


def drawn(rows: int, chance: np.random.Generator) -> list[int]:
    """The cells of so many rows, in the reference's flat layout."""
    column = [0, *[0] * BINS, 0, 0]
    cells: list[int] = []
    for _ in range(FEATURES + 1):
        column[1 : BINS + 1] = chance.multinomial(rows, [1 / BINS] * BINS).tolist()
        cells += column
    return cells


@dataclass
class Pod:
    """One address."""

    incarnation: str
    opened: float = field(default_factory=time.time)
    number: int = 0
    kept: list[Epoch] = field(default_factory=list)

    def take(self, take: Take, rows_a_second: float, chance: np.random.Generator) -> Epochs:
        if take.close:
            if take.incarnation == self.incarnation:
                self.kept = [epoch for epoch in self.kept if epoch.number > take.acknowledge]
            now = time.time()
            rows = int(rows_a_second * (now - self.opened))
            self.number += 1
            self.kept.append(Epoch(self.number, self.opened, now, {MODEL: ModelCounts(rows, drawn(rows, chance))}))
            self.opened = now
        return Epochs(self.incarnation, MODEL, self.kept)


def application(rows_a_second: float) -> web.Application:
    pods: dict[str, Pod] = {}
    chance = np.random.default_rng(0)
    told = msgspec.json.encode(reference())

    def pod(request: web.Request) -> Pod:
        assert request.transport is not None
        address = request.transport.get_extra_info("sockname")[0]
        return pods.setdefault(address, Pod(f"pod-{address}"))

    def answer(content: bytes) -> web.Response:
        return web.Response(body=content, content_type="application/json")

    async def epochs(request: web.Request) -> web.Response:
        take = msgspec.json.decode(await request.read(), type=Take)
        return answer(msgspec.json.encode(pod(request).take(take, rows_a_second, chance)))

    async def stats(request: web.Request) -> web.Response:
        return answer(msgspec.json.encode(Stats(pod(request).incarnation, MODEL, time.monotonic())))

    async def refer(_: web.Request) -> web.Response:
        return answer(told)

    made = web.Application()
    made.add_routes([web.post(EPOCHS_PATH, epochs), web.get(STATS_PATH, stats), web.get(REFERENCE_PATH, refer)])
    return made


async def serve(rows_a_second: float) -> None:
    runner = web.AppRunner(application(rows_a_second), access_log=None, keepalive_timeout=300)
    await runner.setup()
    await web.TCPSite(runner, "0.0.0.0", CONTROL_PORT, backlog=4096).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(float(sys.argv[1])))
