"""How many replicas the measured concurrency asks for, by the rules of autoscaling/v2.

The requests in flight, all of them, are shared out so that each pod has the target. A pod that could not be measured is
assumed at the target where replicas would be taken away and idle where some would be added, so that a missing
measurement never moves anything by itself (as in Kubernetes' pkg/controller/podautoscaler/replica_calculator.go). What
was recommended within the stabilisation window and how far the policies let replicas move come from a log of past
samples that the observer keeps in memory: after a restart it begins with the present number, so that nothing is scaled
in before its window passed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from perennial.api.modeldeployment import Autoscaling, ScalingPolicy

TOLERANCE = 0.1


@dataclass(frozen=True, slots=True)
class Load:
    """What was measured: the mean requests in flight of each pod that answered, and how many ready pods did not."""

    concurrency: tuple[float, ...] = ()
    missing: int = 0

    @property
    def total(self) -> float:
        return sum(self.concurrency)


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at the load: the replicas wanted at that time and what was recommended."""

    at: datetime
    replicas: int
    recommended: int


@dataclass(frozen=True, slots=True)
class Scaling:
    """What the autoscaler wants, why, and when to look again at the latest."""

    desired: int
    message: str
    measured: float | None = None
    again: timedelta | None = None


def recommend(load: Load, target: int, replicas: int) -> int:
    """The number of replicas for this load. Within a tenth of the target nothing moves.

    Pods that are starting carry nothing yet: they count among the `replicas` that the load is reckoned to be shared by.
    """
    if not load.concurrency:
        return replicas
    usage = load.total / (target * max(replicas, 1))
    if abs(usage - 1) <= TOLERANCE:
        return replicas
    needed = math.ceil(load.total / target)
    if needed > replicas:
        return needed
    cautious = math.ceil((load.total + load.missing * target) / target)
    return min(replicas, cautious)


def scale(spec: Autoscaling, load: Load, replicas: int, log: Sequence[Sample], now: datetime) -> Scaling:
    """The replicas wanted now, from `replicas` wanted before and the samples since, oldest first."""
    target = spec.metrics[0].target
    measured = load.total / len(load.concurrency) if load.concurrency else None
    bounded = _clamp(replicas, spec)
    if bounded != replicas:
        return Scaling(
            bounded, f"between minReplicas {spec.min_replicas} and maxReplicas {spec.max_replicas}", measured
        )
    if measured is None:
        return Scaling(replicas, "no pod could be measured: nothing is changed")
    recommended = _clamp(recommend(load, target, replicas), spec)
    stabilised = _stabilised(spec, recommended, replicas, log, now)
    limited = _limited(spec, stabilised, replicas, log, now)
    return Scaling(limited, _message(load, target, recommended, limited, replicas), measured)


def memory(spec: Autoscaling) -> timedelta:
    """How far back samples matter."""
    rules = (spec.behavior.scale_up, spec.behavior.scale_down)
    windows = [rule.stabilization_window_seconds for rule in rules]
    periods = [policy.period_seconds for rule in rules for policy in rule.policies]
    return timedelta(seconds=max(windows + periods))


def _clamp(replicas: int, spec: Autoscaling) -> int:
    return max(spec.min_replicas, min(spec.max_replicas, replicas))


def _stabilised(spec: Autoscaling, recommended: int, replicas: int, log: Sequence[Sample], now: datetime) -> int:
    """Up only to the lowest, down only to the highest number recommended within the window."""
    up, down = spec.behavior.scale_up, spec.behavior.scale_down
    lowest = min([recommended, *_recommended_since(log, now, up.stabilization_window_seconds)])
    highest = max([recommended, *_recommended_since(log, now, down.stabilization_window_seconds)])
    if replicas < lowest:
        return lowest
    return min(replicas, highest)


def _recommended_since(log: Sequence[Sample], now: datetime, seconds: int) -> list[int]:
    since = now - timedelta(seconds=seconds)
    return [sample.recommended for sample in log if sample.at > since]


def _limited(spec: Autoscaling, wanted: int, replicas: int, log: Sequence[Sample], now: datetime) -> int:
    """As far as the most permissive policy lets replicas move within its period."""
    if wanted > replicas:
        limits = [_limit(policy, 1, replicas, log, now) for policy in spec.behavior.scale_up.policies]
        return max(replicas, min(wanted, max(limits)))
    if wanted < replicas:
        limits = [_limit(policy, -1, replicas, log, now) for policy in spec.behavior.scale_down.policies]
        return min(replicas, max(wanted, min(limits)))
    return replicas


def _limit(policy: ScalingPolicy, direction: int, replicas: int, log: Sequence[Sample], now: datetime) -> int:
    before = _replicas_at(log, now - timedelta(seconds=policy.period_seconds), direction, replicas)
    if policy.type == "Pods":
        return before + direction * policy.value
    rounded: Callable[[float], int] = math.ceil if direction > 0 else math.floor
    return rounded(before * (1 + direction * policy.value / 100))


def _replicas_at(log: Sequence[Sample], start: datetime, direction: int, replicas: int) -> int:
    """The replicas at the start of a period: those of now without what was added (or taken away) since."""
    changed = 0
    numbers = [sample for sample in log if sample.at > start]
    following = [sample.replicas for sample in numbers[1:]] + [replicas]
    for sample, after in zip(numbers, following, strict=False):
        step = after - sample.replicas
        changed += step if step * direction > 0 else 0
    return replicas - changed


def _message(load: Load, target: int, recommended: int, limited: int, replicas: int) -> str:
    missing = f", {load.missing} pods did not answer" if load.missing else ""
    said = f"{load.total:.1f} requests in flight at {target} a replica ask for {recommended}{missing}"
    if limited == recommended:
        return said
    return f"{said}; stabilisation and policies allow {limited} now" if limited != replicas else f"{said}; not yet"
