"""How many labels it takes until the version before is proved to be better, by how much better it is, and how often one
that is no better passes for it.

python -m tests.benchmarks.bench_rollback [--streams 1000]

Both versions' errors have nothing to do with each other: those of real models fall on the same rows, which takes fewer.
"""

from __future__ import annotations

import argparse

import numpy as np

from perennial.monitoring.before import FALSE_WIN, wins
from perennial.wire.stats import Pairs

LOSSES = ((0.4, 0.1), (0.3, 0.2), (0.25, 0.2))
"""Of the judged version and of the one before it."""
NO_BETTER = ((0.2, 0.2), (0.02, 0.02), (0.4, 0.4))
MOST = 10_000
"""Labels that are waited for."""


def until_proved(rng: np.random.Generator, judged: float, before: float, most: int) -> float:
    """Labels, looked at one by one; infinitely many where `most` prove nothing."""
    mine, other = (rng.random(most) < loss for loss in (judged, before))
    losses, others, squares = np.cumsum(mine), np.cumsum(other), np.cumsum(mine != other)
    for place in range(most):
        if losses[place] > others[place] and wins(
            Pairs(place + 1, float(losses[place]), float(others[place]), float(squares[place]))
        ):
            return place + 1
    return np.inf


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--streams", type=int, default=1000, help="of labels, for each pair of losses")
    arguments = parser.parse_args()
    rng = np.random.default_rng(9700)
    print("| loss | of the version before | labels until it is proved to be better: median | nine in ten |")
    print("| ---: | ---: | ---: | ---: |")
    for judged, before in LOSSES:
        found = [until_proved(rng, judged, before, MOST) for _ in range(arguments.streams)]
        print(f"| {judged} | {before} | {np.median(found):,.0f} | {np.quantile(found, 0.9):,.0f} |", flush=True)
    print(f"\nProved within {MOST:,} labels though it is no better, where {FALSE_WIN:.0%} is allowed:")
    few = max(arguments.streams // 5, 1)
    for judged, before in NO_BETTER:
        found = [until_proved(rng, judged, before, MOST) for _ in range(few)]
        print(f"  both {judged}: {np.isfinite(found).sum()} of {few}", flush=True)


if __name__ == "__main__":
    main()
