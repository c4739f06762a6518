"""What became of a version when it was judged: every metric with its interval, and every gate, passed or not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from perennial.wire.result import Gate
from perennial.wire.run import Run

from .gates import bound_gates, told
from .metrics import Judged, compute
from .replicates import Interval, intervals
from .resampling import CONFIDENCE, RESAMPLES, Resampling
from .target import Task


@dataclass(frozen=True, slots=True)
class Verdict:
    """`drawn` says what was drawn with replacement for the intervals; empty without held-out rows."""

    metrics: dict[str, float]
    intervals: dict[str, Interval]
    gates: list[Gate]
    drawn: str = ""

    @property
    def accepted(self) -> bool:
        return all(gate.passed for gate in self.gates)

    def report(self) -> dict[str, object]:
        """As it stands in metrics.json."""
        return {
            "metrics": self.metrics,
            "intervals": self.intervals,
            "bootstrap": {"confidence": CONFIDENCE, "resamples": RESAMPLES, "of": self.drawn},
            "gates": self.gates,
        }


def reach(run: Run, judged: Judged | None, task: Task, drawn: Resampling | None, say: Callable[[str], None]) -> Verdict:
    """Judge a version by its held-out rows; without any it has no metric, and passes no gate."""
    if judged is None or drawn is None:
        return Verdict({}, {}, bound_gates(run.metrics, {}, {}))
    metrics = compute(judged, task)
    say("held-out rows: " + ", ".join(f"{name} {value:.4g}" for name, value in metrics.items()))
    ranges = intervals(metrics, judged, drawn, task)
    gates = bound_gates(run.metrics, metrics, ranges)
    for gate in gates:
        say(told(gate))
    return Verdict(metrics, ranges, gates, drawn.of)
