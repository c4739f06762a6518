"""Labels until a greater loss is proved, from the moment at which it has become greater.

python -m tests.benchmarks.bench_harm [--streams 100]

Predictions are right or wrong, independently of one another; 50 labels come in a window of five minutes, and one false
alarm is allowed in 90 days, as by default. What is tolerated is the upper bound by 5,000 held-out rows, and the margin.
"""

from __future__ import annotations

import argparse

import numpy as np

from perennial.api.driftmonitor import DriftMonitorSpec
from perennial.monitoring.harm import Game, Harm, game, step
from perennial.monitoring.judge import HARM_SHARE, looks
from perennial.runtime.trainer.bounds import upper_share
from perennial.runtime.trainer.reference import CONFIDENCE
from perennial.wire.reference import Loss

ROWS = 5000
"""That the run held out."""
A_WINDOW = 50
MOST = 100_000
"""Labels after which a stream is given up."""
REFERENCES = (0.02, 0.1, 0.2)
RISES = (1.25, 1.5, 2.0, 3.0)
SPEC = DriftMonitorSpec(deployment="flights")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=100)
    options = parser.parse_args()
    print(f"Labels until harm is proved, median of {options.streams} streams (all but a tenth)")
    print("| loss | tolerated | " + " | ".join(f"times {rise:g}" for rise in RISES) + " |")
    print("| ---: | ---: |" + " ---: |" * len(RISES))
    for row, reference in enumerate(REFERENCES):
        rules = game(_held_out(reference), margin=SPEC.harm.margin.fraction)
        cells = [
            _told(
                [
                    labels(rules, reference * rise, np.random.default_rng([row, column, stream]))
                    for stream in range(options.streams)
                ]
            )
            for column, rise in enumerate(RISES)
        ]
        print(f"| {reference} | {rules.tolerated:.3f} | " + " | ".join(cells) + " |", flush=True)


def labels(rules: Game, loss: float, rng: np.random.Generator) -> float:
    """How many it takes; infinity where they are more than MOST."""
    harm, steps = Harm(rules.tolerated), looks(SPEC, HARM_SHARE)
    for taken in range(A_WINDOW, MOST + 1, A_WINDOW):
        wrong = int(rng.binomial(A_WINDOW, loss))
        harm = step(harm, rules, [A_WINDOW - wrong, wrong], steps=steps)
        if harm.alarm:
            return taken
    return np.inf


def _held_out(loss: float) -> Loss:
    wrong = round(loss * ROWS)
    upper = upper_share(wrong, ROWS, CONFIDENCE)
    return Loss(values=[0.0, 1.0], counts=[ROWS - wrong, wrong], mean=loss, upper=upper, confidence=CONFIDENCE)


def _told(taken: list[float]) -> str:
    median, most = np.quantile(taken, [0.5, 0.9], method="higher")
    if np.isinf(median):
        return f"none in {MOST:,}"
    return f"{median:,.0f} ({most:,.0f})"


if __name__ == "__main__":
    main()
