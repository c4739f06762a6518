"""The world outside, in one pod: flights depart and ask for a prediction, land and send back how long they took.

Runs in the cluster with nothing but the runtime image. It knows the model server and the data folder; it knows nothing
of the three resources, and it says what it sees as one JSON line a simulated week.
"""

from __future__ import annotations

import argparse
import heapq
import http.client
import json
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

import pandas as pd

NUMERIC = ("distance", "hour", "weekday")
CATEGORICAL = ("carrier", "origin", "dest")
RETRIES = 20
CONNECTIONS = 16
"""As many clients have: kube-proxy balances connections, and a few may all miss a canary for a while."""


class Client:
    """One keep-alive connection that reconnects: a pod that is being replaced closes it between two requests."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._connection: http.client.HTTPConnection | None = None
        self.failures = 0

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The answer to a POST; raises RuntimeError when the service does not answer after all retries."""
        payload = json.dumps(body)
        problem = ""
        for _ in range(RETRIES):
            try:
                status, answer = self._once(path, payload)
            except (OSError, http.client.HTTPException) as error:
                self._connection = None
                problem = repr(error)
            else:
                if status == 200:
                    return dict(json.loads(answer))
                problem = f"HTTP {status}: {answer[:300]!r}"
                self.failures += 1
            time.sleep(0.25)
        raise RuntimeError(f"{self._address[0]}{path} does not answer: {problem}")

    def _once(self, path: str, payload: str) -> tuple[int, bytes]:
        if self._connection is None:
            self._connection = http.client.HTTPConnection(*self._address, timeout=10)
        self._connection.request("POST", path, payload, {"Content-Type": "application/json"})
        response = self._connection.getresponse()
        answer = response.read()
        if response.will_close:
            self._connection.close()
            self._connection = None
        return response.status, answer


@dataclass
class Week:
    """What one simulated week came to, by the version that answered."""

    rows: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    error: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def add(self, version: str, predicted: list[float], actual: list[float]) -> None:
        self.rows[version] += len(actual)
        self.error[version] += sum(abs(p - a) for p, a in zip(predicted, actual, strict=True))

    def line(self, week: int, first_day: str, failures: int) -> str:
        total = sum(self.rows.values())
        return json.dumps(
            {
                "week": week,
                "from": first_day,
                "rows": total,
                "mae": round(sum(self.error.values()) / total, 2) if total else None,
                "versions": {v: {"rows": n, "mae": round(self.error[v] / n, 2)} for v, n in sorted(self.rows.items())},
                "failed_requests": failures,
            }
        )


class Landings:
    """Flights in the air: their labels come back when they have landed, as they would."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, str, float]] = []
        self._count = 0

    def add(self, landed: float, receipt: str, air_time: float) -> None:
        self._count += 1
        heapq.heappush(self._heap, (landed, self._count, receipt, air_time))

    def until(self, now: float) -> list[dict[str, Any]]:
        labels = []
        while self._heap and self._heap[0][0] <= now:
            _, _, receipt, air_time = heapq.heappop(self._heap)
            labels.append({"receipt": receipt, "label": air_time})
        return labels


def land_week(flights: pd.DataFrame, lake: Path, week: int) -> None:
    """A new file of flown flights appears in the data folder, whole or not at all."""
    target = lake / f"week-{week:02d}.parquet"
    unfinished = lake / f".week-{week:02d}.part"
    flights[flights.week == week].drop(columns=["landed", "week"]).to_parquet(unfinished, index=False)
    unfinished.rename(target)


def request_for(rows: pd.DataFrame) -> dict[str, Any]:
    """An Open Inference Protocol request: one tensor a feature, and a receipt for each row."""
    shape = [len(rows)]
    numbers = [{"name": c, "datatype": "FP64", "shape": shape, "data": rows[c].tolist()} for c in NUMERIC]
    words = [{"name": c, "datatype": "BYTES", "shape": shape, "data": rows[c].tolist()} for c in CATEGORICAL]
    return {"parameters": {"receipt": True}, "inputs": numbers + words}


def predictions(answer: dict[str, Any]) -> list[float]:
    return next([float(v) for v in output["data"]] for output in answer["outputs"] if output["name"] == "prediction")


def batches(flights: pd.DataFrame, size: int) -> Iterator[pd.DataFrame]:
    for start in range(0, len(flights), size):
        yield flights.iloc[start : start + size]


def fly(options: argparse.Namespace, flights: pd.DataFrame) -> None:
    """Stream the weeks that the standard input names, each in `options.pace` seconds of real time."""
    clients = [Client(options.host, options.port) for _ in range(CONNECTIONS)]
    control = Client(options.host, options.control_port)
    turns, landings = cycle(clients), Landings()
    for line in sys.stdin:
        week = int(line)
        flying, report = flights[flights.week == week], Week()
        began, sent = time.monotonic(), 0
        for rows in batches(flying, options.batch):
            answer = next(turns).post(f"/v2/models/{options.model}/infer", request_for(rows))
            report.add(answer["model_version"], predictions(answer), rows.air_time.tolist())
            landed = rows.landed.astype("int64").tolist()
            for when, receipt, actual in zip(
                landed, answer["parameters"]["receipts"], rows.air_time.tolist(), strict=True
            ):
                landings.add(when, receipt, actual)
            labels = landings.until(rows.scheduled.astype("int64").iloc[-1])
            if labels:
                control.post(f"/v2/models/{options.model}/feedback", {"labels": labels})
            sent += len(rows)
            ahead = began + options.pace * sent / len(flying) - time.monotonic()
            if ahead > 0:
                time.sleep(ahead)
        land_week(flights, options.lake, week)
        print(report.line(week, str(flying.scheduled.iloc[0].date()), sum(c.failures for c in clients)), flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--lake", type=Path, required=True)
    parser.add_argument("--land", type=int, nargs=2, metavar=("FIRST", "LAST"), help="only put these weeks there")
    parser.add_argument("--host", default="flights")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--control-port", type=int, default=8081)
    parser.add_argument("--model", default="flights")
    parser.add_argument("--pace", type=float, default=6.0, help="seconds of real time a simulated week")
    parser.add_argument("--batch", type=int, default=20)
    options = parser.parse_args()
    flights = pd.read_parquet(options.table)
    options.lake.mkdir(parents=True, exist_ok=True)
    if options.land:
        first, last = options.land
        for week in range(first, last + 1):
            land_week(flights, options.lake, week)
        return 0
    fly(options, flights)
    return 0


if __name__ == "__main__":
    sys.exit(main())
