"""Cumulative measurements of one server pod, for analysis and autoscaling: `GET /perennial/v1/stats` on the control
port.

Every number only grows within an `incarnation`; the counters live in a file that survives the container's crash, so an
incarnation ends with the pod. The reader takes differences.
"""

from __future__ import annotations

import msgspec

STATS_PATH = "/perennial/v1/stats"

LATENCY_BOUNDS = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
"""Upper ends in seconds of the latency histogram's cells; one more cell counts what is slower."""


class Pairs(msgspec.Struct, frozen=True, omit_defaults=True):
    """Labelled rows that a model and its companion both scored, and the summed losses of the two."""

    labelled: int = 0
    loss: float = 0.0
    companion_loss: float = 0.0
    loss_difference_squares: float = 0.0
    """Sum of (loss - companion loss)^2: what the variance of the paired difference needs."""

    def __add__(self, other: Pairs) -> Pairs:
        return Pairs(
            self.labelled + other.labelled,
            self.loss + other.loss,
            self.companion_loss + other.companion_loss,
            self.loss_difference_squares + other.loss_difference_squares,
        )


class Stretch(msgspec.Struct, frozen=True):
    """Labelled rows of one server process, or of several at once, predicted from the `first` Unix second to the
    `last`."""

    first: int
    last: int
    pairs: Pairs


class Challenger(msgspec.Struct):
    """A model's labels that came to a pod of its companion, by the server process that predicted their rows."""

    stretches: dict[int, Stretch] = {}

    def since(self, began: float) -> Pairs:
        """Of processes that predicted since then (Unix seconds). It never shrinks."""
        return sum((stretch.pairs for stretch in self.stretches.values() if stretch.last + 1 > began), Pairs())


class Comparison(Pairs, frozen=True, kw_only=True, omit_defaults=False):
    """The model against its companion on the same rows: how many were scored by both, and what the labelled ones
    came to."""

    companion: str
    compared: int = 0
    disagreed: int = 0


class Stats(msgspec.Struct):
    """One pod's totals. `errors` are answers 500, and 422 (the model cannot work with rows that are well formed, or
    that the version before it took). `refused` are 503 (too much waits) and 504 (it waited until its deadline).

    `busy_seconds` is the integral of requests in flight over time: its difference over a span, by the span, is the mean
    concurrency. `clock` is the pod's monotonic seconds, the span's measure.

    A client sends a label to any pod. So `challengers` has labels that came here of rows that other models answered and
    this pod's model scored as their companion, by the other's digest.
    """

    incarnation: str
    model: str
    clock: float
    requests: int = 0
    errors: int = 0
    refused: int = 0
    rows: int = 0
    in_flight: int = 0
    busy_seconds: float = 0.0
    latency: list[int] = []
    labels: int = 0
    loss: float = 0.0
    comparison: Comparison | None = None
    challengers: dict[str, Challenger] = {}
