"""What the pod measured, for two readers: the operator's analysis (`Stats`) and Prometheus."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from perennial.runtime.server import dashboards
from perennial.runtime.server.counting import Counting
from perennial.runtime.server.counts import slot as slots
from perennial.runtime.server.counts import totals as counted
from perennial.runtime.server.counts.totals import BATCH_BOUNDS, PodTotals
from perennial.runtime.server.inference import Predictor
from perennial.runtime.server.meter import Meter
from perennial.runtime.server.state import State
from perennial.wire.stats import LATENCY_BOUNDS, Comparison, Stats

_registry = CollectorRegistry()
ProcessCollector(registry=_registry)
PlatformCollector(registry=_registry)


def stats(predictor: Predictor, counting: Counting, meter: Meter) -> Stats:
    """The pod's totals for the operator."""
    totals = counted.read(counting.mapped)
    labels = counting.book.totals
    # Nothing waits for its turn in front of another server: what is late is late by that server's fault.
    late = totals.codes[504] if predictor.is_front else 0
    return Stats(
        incarnation=counting.mapped.incarnation,
        model=predictor.model.digest,
        clock=meter.clock(),
        requests=totals.requests,
        errors=totals.errors + late,
        refused=totals.refused - late,
        rows=totals.rows,
        in_flight=meter.in_flight,
        busy_seconds=totals.busy_seconds,
        latency=totals.latency,
        labels=labels.labels,
        loss=labels.loss,
        comparison=_comparison(predictor, counting, totals),
        challengers=labels.challengers,
    )


def _comparison(predictor: Predictor, counting: Counting, totals: PodTotals) -> Comparison | None:
    if predictor.companion is None:
        return None
    return Comparison(
        companion=predictor.companion.digest,
        compared=totals.compared,
        disagreed=totals.disagreed,
        **msgspec.structs.asdict(counting.book.totals.pairs),
    )


def exposition(state: State, meter: Meter) -> bytes:
    """The same and the process's own metrics, in Prometheus' text format."""
    text = generate_latest(_registry)
    registry = CollectorRegistry()
    registry.register(_Collector(state, meter))
    return text + generate_latest(registry)


class _Collector:
    """Gives the families that stand in the counts file; prometheus_client's own counters would not survive a crash."""

    def __init__(self, state: State, meter: Meter) -> None:
        self._state = state
        self._meter = meter

    def collect(self) -> Iterator[Metric]:
        model = self._state.name
        yield _gauge(
            "perennial_requests_in_flight",
            "Inference requests that are read and not answered.",
            model,
            self._meter.in_flight,
        )
        yield _gauge("perennial_ready", "Whether the pod is to be sent requests.", model, int(self._state.ready))
        predictor, counting = self._state.predictor, self._state.counting
        if predictor is None or counting is None:
            return
        totals = counted.read(counting.mapped)
        yield from self._requests(totals)
        yield from self._batches(totals, predictor)
        yield from dashboards.families(
            self._state.name,
            predictor.model.version,
            totals,
            predictor.scheduler.waiting,
            _buckets(LATENCY_BOUNDS, totals.latency),
        )
        yield from self._model(predictor)
        yield from self._rows(totals, counting)
        yield from self._attributions(totals, predictor)
        yield from self._companion(totals, predictor)

    def _requests(self, totals: PodTotals) -> Iterator[Metric]:
        model = self._state.name
        requests = CounterMetricFamily(
            "perennial_requests", "Inference requests by HTTP code.", labels=["model", "code"]
        )
        for code, count in totals.codes.items():
            requests.add_metric([model, str(code)], count)
        yield requests
        latency = HistogramMetricFamily(
            "perennial_request_duration_seconds", "From a request read whole to its answer written.", labels=["model"]
        )
        latency.add_metric([model], _buckets(LATENCY_BOUNDS, totals.latency), totals.latency_seconds)
        yield latency
        yield _counter(
            "perennial_busy_seconds", "Integral of requests in flight over time.", model, totals.busy_seconds
        )

    def _batches(self, totals: PodTotals, predictor: Predictor) -> Iterator[Metric]:
        model, scheduler = self._state.name, predictor.scheduler
        batches = HistogramMetricFamily("perennial_batch_rows", "Rows predicted together.", labels=["model"])
        batches.add_metric([model], _buckets(BATCH_BOUNDS, totals.batches), totals.batch_rows)
        yield batches
        yield _counter("perennial_predict_seconds", "Time that the model took.", model, totals.predict_seconds)
        yield _gauge("perennial_requests_waiting", "Requests whose turn has not come.", model, scheduler.waiting)
        yield _gauge("perennial_rows_waiting", "Rows of those requests.", model, scheduler.waiting_rows)
        yield _counter(
            "perennial_waiting_seconds", "Time that all requests waited for their turn.", model, totals.waited
        )

    def _model(self, predictor: Predictor) -> Iterator[Metric]:
        served = predictor.model
        info = GaugeMetricFamily(
            "perennial_model_info", "The served model.", labels=["model", "version", "sha256", "engine"]
        )
        info.add_metric([self._state.name, served.version, served.digest, served.engine.name], 1)
        yield info

    def _rows(self, totals: PodTotals, counting: Counting) -> Iterator[Metric]:
        model, labels = self._state.name, counting.book.totals
        yield _counter("perennial_rows", "Rows predicted.", model, totals.rows)
        yield _counter("perennial_unread_answers", "Answers whose rows could not be counted.", model, totals.unread)
        drift = int(slots.snapshot_all(counting.mapped)[0])
        yield _counter("perennial_drift_rows", "Rows sorted into drift cells.", model, drift)
        yield _gauge(
            "perennial_epochs_waiting", "Closed epochs that no reader has acknowledged.", model, counting.book.waiting
        )
        yield _gauge("perennial_labels_waiting", "Labels that count with the next join.", model, len(counting.waiting))
        yield _counter("perennial_labels", "Labels that came back for the served model.", model, labels.labels)
        yield _counter("perennial_label_loss", "Sum of the losses of those labels.", model, labels.loss)

    def _attributions(self, totals: PodTotals, predictor: Predictor) -> Iterator[Metric]:
        model = self._state.name
        latency = HistogramMetricFamily(
            "perennial_attributed_request_duration_seconds",
            "The same of requests that waited for attributions.",
            labels=["model"],
        )
        latency.add_metric([model], _buckets(LATENCY_BOUNDS, totals.explained), totals.explained_seconds)
        yield latency
        yield _counter("perennial_attributed_rows", "Rows that attributions were given for.", model, totals.attributed)
        yield _counter(
            "perennial_attribution_seconds", "Processor time of attributions.", model, totals.attribution_seconds
        )
        yield _gauge(
            "perennial_attributions_waiting",
            "Requests that wait for attributions or have them computed.",
            model,
            predictor.attributor.waiting,
        )

    def _companion(self, totals: PodTotals, predictor: Predictor) -> Iterator[Metric]:
        model, companion = self._state.name, predictor.companion
        if companion is None:
            return
        info = GaugeMetricFamily(
            "perennial_companion_info", "The model that this one is compared with.", labels=["model", "sha256"]
        )
        info.add_metric([model, companion.digest], 1)
        yield info
        yield _counter("perennial_compared_rows", "Rows that the companion scored too.", model, totals.compared)
        yield _counter("perennial_disagreed_rows", "Rows on which the two disagreed.", model, totals.disagreed)
        yield _counter(
            "perennial_not_compared_rows", "Sampled rows beyond the companion's budget.", model, totals.not_compared
        )
        yield _counter("perennial_companion_seconds", "Time that the companion took.", model, totals.companion_seconds)


def _buckets(bounds: Sequence[float], cells: list[int]) -> list[tuple[str, float]]:
    ends = [*(str(float(bound)) for bound in bounds), "+Inf"]
    total, buckets = 0, []
    for bound, count in zip(ends, cells, strict=True):
        total += count
        buckets.append((bound, float(total)))
    return buckets


def _counter(name: str, description: str, model: str, value: float) -> Metric:
    family = CounterMetricFamily(name, description, labels=["model"])
    family.add_metric([model], value)
    return family


def _gauge(name: str, description: str, model: str, value: float) -> Metric:
    family = GaugeMetricFamily(name, description, labels=["model"])
    family.add_metric([model], value)
    return family
