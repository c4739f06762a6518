"""What it costs to remember predictions by key: one server, asked the same with it on and off, in turn.

python -m tests.benchmarks.bench_labels [--seconds 3] [--rounds 4] [--connections 1 16]

The work is that of bench_server with a key beside the row. On a busy machine the processor time per request says more
than the rate. Then the Job's side: the digests of a full ring, and labels.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
import urllib.request
from pathlib import Path

import msgspec
import numpy as np

from perennial.wire.journal import JOURNAL_PATH, KEYS_PATH, LABELS_PATH, ROW, Keep, Keys, Match, Matches, Outcomes, Page

from .bench_server import Measured, Running, measure, memory_mib, server, tensor, train

BUDGET = 0.03
KEY = "flight_id"
ROWS = 50_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 16])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = train(folder)
        version = folder / "store" / "v1"
        print(f"\nload average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        with server(model, folder) as running:
            for connections in options.connections:
                _compare(running, keyed(version, folder), connections, options)
            print(f"memory with a ring of which much is written: {memory_mib(running.process):.0f} MiB")
            _join(running.control)


def keyed(version: Path, folder: Path) -> Path:
    """wrk's script: a held-out row with another key each time."""
    body = json.dumps(tensor(version, 1))
    before, _, after = body.partition('"inputs": [')
    key = f'{{"name":"{KEY}","datatype":"BYTES","shape":[1],"data":["flight-%d"]}},'
    path = folder / "keyed.lua"
    path.write_text(
        'wrk.method="POST"\nwrk.headers["Content-Type"]="application/json"\nlocal n = 0\n'
        f'local body = [==[{before}"inputs": [{key}{after}]==]\n'
        "request = function() n = n + 1; return wrk.format(nil, nil, nil, string.format(body, n)) end\n"
    )
    return path


def _compare(running: Running, lua: Path, connections: int, options: argparse.Namespace) -> None:
    told: dict[str | None, list[Measured]] = {None: [], KEY: []}
    for _ in range(options.rounds):
        for key, runs in told.items():
            _post(running.control, JOURNAL_PATH, msgspec.json.encode(Keep(key)))
            runs.append(measure(running.process, running.port, lua, connections, options.seconds))
    off, on = (
        (statistics.median(run.cpu for run in runs), statistics.median(run.rate for run in runs))
        for runs in told.values()
    )
    verdict = "within" if on[0] / off[0] - 1 < BUDGET else "ABOVE"
    print(
        f"{connections:3} connections: off {off[0]:.1f} us of processor a request, {off[1]:,.0f}/s; "
        f"on {on[0]:.1f} us, {on[1]:,.0f}/s: {on[0] / off[0] - 1:+.1%}, {verdict} the budget of {BUDGET:.0%}"
    )


def _join(control: int) -> None:
    """As the Job asks: all digests, then labels for 50,000 of the newest predictions."""
    start = time.perf_counter()
    after, written, keys = 0, 1, []
    while after < written:
        page = msgspec.msgpack.decode(_post(control, KEYS_PATH, msgspec.msgpack.encode(Page(after))), type=Keys)
        keys.append(np.frombuffer(page.rows, ROW)["key"])
        after, written = page.end, page.written
    digests = np.concatenate(keys)
    print(f"{len(digests):,} digests fetched in {time.perf_counter() - start:.2f} s")
    newest = range(max(written - ROWS, 0), written)
    matches = [Match(at, digests[at - written].tobytes(), at + 1, 1) for at in newest]
    start, slowest = time.perf_counter(), 0.0
    for first in range(0, len(matches), 10_000):
        began = time.perf_counter()
        body = msgspec.msgpack.encode(Matches("forest", matches[first : first + 10_000]))
        outcomes = msgspec.msgpack.decode(_post(control, LABELS_PATH, body), type=Outcomes).outcomes
        assert set(outcomes) == {4}, set(outcomes)
        slowest = max(slowest, time.perf_counter() - began)
    spent = time.perf_counter() - start
    each = spent / len(matches) * 1e6
    print(f"{len(matches):,} labels in {spent:.2f} s, {each:.1f} us each; 10,000 take {slowest:.2f} s")


def _post(port: int, path: str, body: bytes) -> bytes:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body)
    with urllib.request.urlopen(request, timeout=30) as response:
        answer: bytes = response.read()
        return answer


if __name__ == "__main__":
    main()
