"""What the pods' counters said, as plans see it: plain data, apart from how it was read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from perennial.wire.stats import Stats

from .autoscaler import Load

INTERVAL_SECONDS = 5.0
"""How often a pod is asked."""
SPAN_SECONDS = 15.0
"""Concurrency is the mean over this span; a missing answer is missing once the last one is older."""


@dataclass(frozen=True, slots=True)
class Readings:
    """What is known at one moment. `stats` has the last totals of every pod by revision, gone ones included; `silent`
    the ready pods without a recent reading; `requests` how many came to each revision over the span."""

    stats: Mapping[str, Sequence[Stats]] = field(default_factory=dict)
    load: Load = field(default_factory=Load)
    silent: frozenset[str] = frozenset()
    requests: Mapping[str, int] = field(default_factory=dict)
