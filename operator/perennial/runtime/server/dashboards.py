"""The same measurements under the names that dashboards for Triton, MLServer and KServe ask for, so that they work
unchanged. docs/server.md has the table.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric

from perennial.runtime.server.counts.totals import PodTotals

_REASONS = {422: "BACKEND", 499: "CANCELED", 500: "BACKEND", 502: "BACKEND", 503: "REJECTED", 504: "REJECTED"}
_MICROSECONDS = 1e6


def families(
    model: str, version: str, totals: PodTotals, waiting: int, latency: list[tuple[str, float]]
) -> Iterator[Metric]:
    """`latency` is the histogram's buckets, `waiting` the requests whose turn has not come."""
    labels = {"model": model, "version": version}
    success = totals.codes[200]
    failures = dict.fromkeys(("BACKEND", "CANCELED", "OTHER", "REJECTED"), 0)
    for code, count in totals.codes.items():
        if code != 200:
            failures[_REASONS.get(code, "OTHER")] += count
    yield from _triton(labels, totals, waiting, failures)
    for name, value in (("success", success), ("failure", sum(failures.values()))):
        family = CounterMetricFamily(
            f"model_infer_request_{name}", f"As MLServer: requests with {name}.", labels=["model", "version"]
        )
        family.add_metric([model, version], value)
        yield family
    duration = HistogramMetricFamily(
        "request_predict_seconds", "As KServe: perennial_request_duration_seconds.", labels=["model_name"]
    )
    duration.add_metric([model], latency, totals.latency_seconds)
    yield duration


def _triton(labels: dict[str, str], totals: PodTotals, waiting: int, failures: dict[str, int]) -> Iterator[Metric]:
    failed = Metric("nv_inference_request_failure", "As Triton: requests that failed, by reason.", "unknown")
    for reason, count in failures.items():
        failed.add_sample(failed.name, labels | {"reason": reason}, count)
    yield failed
    values = {
        "nv_inference_request_success": ("requests answered", totals.codes[200]),
        "nv_inference_count": ("rows predicted", totals.rows),
        "nv_inference_exec_count": ("batches predicted", sum(totals.batches)),
        "nv_inference_request_duration_us": ("time of all requests", totals.latency_seconds * _MICROSECONDS),
        "nv_inference_queue_duration_us": ("time that requests waited for their turn", totals.waited * _MICROSECONDS),
        "nv_inference_compute_infer_duration_us": ("time of the model", totals.predict_seconds * _MICROSECONDS),
        "nv_inference_pending_request_count": ("requests that wait for their turn", waiting),
    }
    for name, (what, value) in values.items():
        metric = Metric(name, f"As Triton: {what}.", "unknown")
        metric.add_sample(name, labels, value)
        yield metric
