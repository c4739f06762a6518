"""What the engine tells Prometheus, under the names that controller-runtime uses: dashboards and alerts made for
operators in Go work unchanged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from prometheus_client import REGISTRY, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric

_SHORT = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

QUEUE_ADDS = Counter("workqueue_adds", "Keys added, duplicates not counted", ["name"])
QUEUE_RETRIES = Counter("workqueue_retries", "Keys added again after an error", ["name"])
QUEUE_SECONDS = Histogram("workqueue_queue_duration_seconds", "From added to worked on", ["name"], buckets=_SHORT)
WORK_SECONDS = Histogram("workqueue_work_duration_seconds", "How long a key was worked on", ["name"], buckets=_SHORT)

RECONCILES = Counter("controller_runtime_reconcile", "Reconciles by how they ended", ["controller", "result"])
RECONCILE_ERRORS = Counter("controller_runtime_reconcile_errors", "Reconciles that failed", ["controller"])
RECONCILE_SECONDS = Histogram(
    "controller_runtime_reconcile_time_seconds", "How long a reconcile took", ["controller"], buckets=_SHORT
)
MAX_RECONCILES = Gauge("controller_runtime_max_concurrent_reconciles", "Workers", ["controller"])
ACTIVE_WORKERS = Gauge("controller_runtime_active_workers", "Workers at work", ["controller"])

REQUESTS = Counter("rest_client_requests", "Answers of the API server", ["code", "method", "host"])
LEADER = Gauge("leader_election_master_status", "1 while this process leads", ["name"])

WATCH_RESTARTS = Counter("perennial_watch_restarts", "Watches begun anew after a failure", ["resource", "why"])
MISSED_CHANGES = Counter("perennial_missed_changes", "What a full list found and no watch had told", ["resource"])


@dataclass(frozen=True, slots=True)
class QueueState:
    """A queue at one moment. `unfinished` and `longest` are the sum and the maximum of the ages of work in hand, in
    seconds."""

    depth: int
    unfinished: float
    longest: float


class _Queues:
    """Gauges that are worked out when somebody asks: ages of work in hand change without anything happening."""

    def __init__(self) -> None:
        self._states: dict[str, Callable[[], QueueState]] = {}

    def add(self, name: str, state: Callable[[], QueueState]) -> None:
        self._states[name] = state

    def collect(self) -> Iterator[Metric]:
        depth = GaugeMetricFamily("workqueue_depth", "Keys waiting to be worked on", labels=["name"])
        unfinished = GaugeMetricFamily(
            "workqueue_unfinished_work_seconds", "Sum of the ages of work in hand", labels=["name"]
        )
        longest = GaugeMetricFamily(
            "workqueue_longest_running_processor_seconds", "Age of the oldest work in hand", labels=["name"]
        )
        for name, ask in self._states.items():
            state = ask()
            depth.add_metric([name], state.depth)
            unfinished.add_metric([name], state.unfinished)
            longest.add_metric([name], state.longest)
        yield from (depth, unfinished, longest)


QUEUES = _Queues()
REGISTRY.register(QUEUES)
