"""How many replicas are wanted now: what the user says, or what the autoscaler makes of the load."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from perennial.api.modeldeployment import ModelDeploymentSpec

from .autoscaler import Sample, Scaling, memory, recommend, scale
from .observe import Observed
from .readings import INTERVAL_SECONDS, Readings


@dataclass(frozen=True, slots=True)
class Wanted:
    """The replicas wanted, and what the autoscaler says where it decides."""

    replicas: int
    scaling: Scaling | None = None


def wanted(observed: Observed, spec: ModelDeploymentSpec, now: datetime) -> Wanted:
    if spec.autoscaling is None:
        return Wanted(spec.replicas)
    current = present(observed, spec)
    scaling = scale(spec.autoscaling, observed.readings.load, current, observed.scaling_log, now)
    return Wanted(scaling.desired, scaling)


def present(observed: Observed, spec: ModelDeploymentSpec) -> int:
    """The replicas wanted until now. A lost status is made good by those that run."""
    if observed.status.autoscaling:
        return observed.status.autoscaling.desired
    running = sum(observed.asked(name) for name in observed.deployments)
    least = spec.autoscaling.min_replicas if spec.autoscaling else spec.replicas
    return running or least


def remembered(
    observed: Observed, spec: ModelDeploymentSpec, log: tuple[Sample, ...], readings: Readings, now: datetime
) -> tuple[Sample, ...]:
    """The log with a sample of now, unless the last one is as fresh and the same, and without what no window reaches
    back to.

    A new log begins with the present number as recommended, so that nothing is scaled in before it was watched for a
    whole window.
    """
    if spec.autoscaling is None:
        return ()
    current = present(observed, spec)
    recommended = recommend(readings.load, spec.autoscaling.metrics[0].target, current) if log else current
    sample = Sample(now, current, recommended)
    if log and now - log[-1].at < timedelta(seconds=INTERVAL_SECONDS) and replace(log[-1], at=now) == sample:
        return log
    horizon = now - memory(spec.autoscaling)
    return (*(sample for sample in log if sample.at > horizon), sample)
