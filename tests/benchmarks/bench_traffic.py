"""False alarms where windows are of very unequal size, as by day and night, and what is served wavers.

python -m tests.benchmarks.bench_traffic [--windows 500] [--streams 8]

Rows as in `drift_world.py`, through the server's tally and the monitor, with a baseline from serving. What moves all
rows of a window moves them however many they are.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import count
from typing import TypeAlias

import numpy as np
import pandas as pd

from tests.benchmarks.drift_world import NORMAL, Floats, Watched, draw

WAVERING = 0.05
"""Standard deviations by which windows are off, each column by itself."""
KINDS: dict[str, float | None] = {"alike": None, "overdispersed": 0.0, "dependent, 0.8": 0.8}
A_DAY = 48
"""Windows."""

Sizes: TypeAlias = Callable[[np.random.Generator], Iterator[int]]


def _even(rng: np.random.Generator) -> Iterator[int]:
    return (1000 for _ in count())


def _by_day(rng: np.random.Generator) -> Iterator[int]:
    """From some 90 rows by night to 4,000 at noon."""
    return (round(600 * np.exp(1.9 * np.sin(2 * np.pi * place / A_DAY) + 0.2 * rng.normal())) for place in count())


def _in_bursts(rng: np.random.Generator) -> Iterator[int]:
    """One window in twenty has most of the rows."""
    return (20_000 if rng.random() < 0.05 else 200 for _ in count())


SIZES: dict[str, Sizes] = {"1,000 each": _even, "90 to 4,000 by the day": _by_day, "200, bursts of 20,000": _in_bursts}


class Wavering:
    """Rows whose windows are off by a little."""

    def __init__(self, rng: np.random.Generator, persistence: float | None) -> None:
        self._rng = rng
        self._persistence = persistence
        self._off: Floats = rng.normal(size=len(NORMAL)) * WAVERING

    def window(self, rows: int) -> pd.DataFrame:
        drawn = draw(self._rng, rows)
        if self._persistence is not None:
            fresh = self._rng.normal(size=len(NORMAL)) * WAVERING
            self._off = self._persistence * self._off + np.sqrt(1 - self._persistence**2) * fresh
            drawn[NORMAL] += self._off
            wavering = np.exp(self._off[0])
            drawn["skewed"] *= wavering
            less = (drawn["kind"] == "ash") & (self._rng.random(rows) < 0.4 * (1 - wavering))
            drawn.loc[less, "kind"] = "oak"
        return drawn


def _verdicts(seed: int, persistence: float | None, sizes: Sizes, windows: int) -> Counter[str]:
    """By state, of a stream in which nothing changes."""
    rng = np.random.default_rng([9100, seed])
    watched, served = Watched(rng, baseline="Serving"), Wavering(rng, persistence)
    told: dict[str, str] = {}
    judged = 0
    for rows in sizes(rng):
        verdicts = watched.serve(served.window(rows))
        baseline = watched.checkpoint.baseline
        judged += baseline is not None and baseline.complete
        told |= {verdict.id: verdict.state for verdict in verdicts if verdict.state != "TrainServeSkew"}
        if judged > windows:
            return Counter(told.values())
    raise AssertionError("traffic does not end")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--windows", type=int, default=500, help="that are judged, of each stream")
    parser.add_argument("--streams", type=int, default=8, help="a row, each with a reference and a baseline of its own")
    arguments = parser.parse_args()
    print("| rows in a window | windows are | windows | MinorDrift | Drift | other |")
    print("| --- | --- | ---: | ---: | ---: | ---: |")
    for title, sizes in SIZES.items():
        for kind, persistence in KINDS.items():
            found: Counter[str] = Counter()
            for seed in range(arguments.streams):
                found += _verdicts(seed, persistence, sizes, arguments.windows)
            minor, drift = found.pop("MinorDrift", 0), found.pop("Drift", 0)
            windows = arguments.windows * arguments.streams
            print(f"| {title} | {kind} | {windows:,} | {minor} | {drift} | {found.total()} |", flush=True)


if __name__ == "__main__":
    main()
