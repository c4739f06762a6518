"""What became of a version when it was judged: every metric with its interval, and every gate, passed or not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from perennial.wire.result import Gate
from perennial.wire.run import Run

from .champion import champion_gate
from .evidence import Evidence
from .gates import bound_gates
from .metrics import compute
from .replicates import Interval, intervals
from .resampling import CONFIDENCE, RESAMPLES
from .slices import SlicesReport, judge_slices


@dataclass(frozen=True, slots=True)
class Verdict:
    """`drawn` says what was drawn with replacement for the intervals; empty without held-out rows."""

    metrics: dict[str, float]
    intervals: dict[str, Interval]
    gates: list[Gate]
    drawn: str = ""
    slices: list[SlicesReport] = field(default_factory=list)

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
            "slices": self.slices,
        }


def reach(run: Run, evidence: Evidence | None, say: Callable[[str], None]) -> Verdict:
    """Judge a version by its held-out rows; without any it has no metric, and keeps no bound.

    Raises TransientError where the store of the champion does not answer.
    """
    if evidence is None:
        return Verdict({}, {}, [*bound_gates(run.metrics, {}, {}), *_without_rows(run)])
    metrics = compute(evidence.judged, evidence.task)
    say("held-out rows: " + ", ".join(f"{name} {value:.4g}" for name, value in metrics.items()))
    ranges = intervals(metrics, evidence.judged, evidence.drawn, evidence.task)
    gates = bound_gates(run.metrics, metrics, ranges)
    if run.champion is not None:
        gates.append(champion_gate(run, run.champion, evidence))
    slices = [judge_slices(rule, evidence) for rule in run.slices]
    gates += [gate for _, gate in slices]
    for gate in gates:
        say(f"gate {'passed' if gate.passed else 'FAILED'}: {gate.told}")
    return Verdict(metrics, ranges, gates, evidence.drawn.of, [report for report, _ in slices])


def _without_rows(run: Run) -> list[Gate]:
    note = "NotComparable: there are no held-out rows"
    champion = [Gate(rule.metric, "champion", rule.margin, None, True, note=note) for rule in [run.champion] if rule]
    return champion + [Gate(rule.metric, "slice", rule.max_gap, None, True, note=note) for rule in run.slices]
