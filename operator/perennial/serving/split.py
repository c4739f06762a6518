"""How many pods give a candidate its share of the requests: connections are spread evenly over ready pods.

A weight is kept or the step is not taken: the candidate's share of the pods is at most what was asked for, with stable
pods added within a bound, unless the user takes what the replicas give.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

SURGE_FRACTION = 0.25


@dataclass(frozen=True, slots=True)
class Split:
    """Pods of the stable and of the candidate revision, once all are there."""

    stable: int
    candidate: int

    @property
    def total(self) -> int:
        return self.stable + self.candidate

    @property
    def weight(self) -> float:
        """The candidate's share in percent."""
        return 100 * self.candidate / self.total if self.total else 0.0


def surge(wanted: int) -> int:
    """How many pods there may be beyond the wanted ones while some are replaced: a quarter, and at least one."""
    return max(1, math.floor(wanted * SURGE_FRACTION))


def pods_bound(wanted: int, max_replicas: int | None) -> int:
    """How many pods a step may come to: the autoscaler's maximum, or what a rolling update may have at a time."""
    return wanted + surge(wanted) if max_replicas is None else max(max_replicas, wanted)


def exact_split(weight: int, wanted: int, bound: int) -> Split | None:
    """The fewest pods, at least `wanted` and at most `bound`, of which the candidate has at most `weight` percent and
    one pod or more; None where there is no such number."""
    total = max(wanted, pods_needed(weight))
    if total > bound:
        return None
    candidate = total * weight // 100
    return Split(total - candidate, candidate)


def inexact_split(weight: int, wanted: int, bound: int) -> Split:
    """The exact split where there is one, else one candidate pod among those that are wanted, beside a stable one."""
    exact = exact_split(weight, wanted, bound)
    return exact or Split(max(wanted - 1, 1), 1)


def pods_needed(weight: int) -> int:
    """The fewest pods of which one is at most `weight` percent."""
    return math.ceil(100 / weight)
