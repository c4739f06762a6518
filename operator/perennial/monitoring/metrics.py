"""What the monitors say, as Prometheus metrics: from the status that persisted, for who alerts on metrics rather than
on conditions."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from perennial.api.conditions import ConditionType, find
from perennial.api.driftmonitor_status import DriftMonitorStatus, FeatureDrift
from perennial.api.reasons import DriftMonitorReason
from perennial.kube.plan import Key

STATES = ("DataFault", "TrainServeSkew", "MinorDrift", "AnchorDrift", "Drift", "HarmSuspected", "Harm")
_MONITOR = ("namespace", "driftmonitor")


class Metrics(Collector):
    """The statuses by monitor; a monitor that is forgotten has no metrics any more."""

    def __init__(self) -> None:
        self._statuses: dict[Key, DriftMonitorStatus] = {}

    def show(self, key: Key, status: DriftMonitorStatus) -> None:
        self._statuses[key] = status

    def forget(self, key: Key) -> None:
        self._statuses.pop(key, None)

    def collect(self) -> Iterator[Metric]:
        yield self._plain("rows", "Rows counted for the judged model.", "rows")
        yield self._plain("labels", "Labels counted for the judged model.", "labels")
        yield self._plain("coverage", "Share of the served rows that was counted.", "coverage")
        yield self._joined()
        yield self._windows()
        yield self._verdicts()
        yield self._losses()
        yield self._features("effect", "How much a feature differs, in cumulative probability.", "effect")
        yield self._features("statistic", "Signed root of the likelihood ratio of a feature that differs.", "statistic")
        yield self._in_a_row("retrains")
        yield self._in_a_row("rollbacks")
        yield self._stopped()

    def _plain(self, name: str, text: str, attribute: str) -> Metric:
        family = GaugeMetricFamily(f"perennial_drift_{name}", text, labels=_MONITOR)
        for key, status in self._statuses.items():
            value = getattr(status, attribute)
            if value is not None:
                family.add_metric((key.namespace, key.name), value)
        return family

    def _joined(self) -> Metric:
        text = "1 while labels are joined from their table, 0 while a join fails or cannot begin."
        family = GaugeMetricFamily("perennial_drift_labels_joined", text, labels=_MONITOR)
        for key, status in self._statuses.items():
            joined = find(status.conditions, ConditionType.LABELS_JOINED)
            # A second monitor leaves it to the first, and before the first join nobody knows.
            if joined and joined.status != "Unknown" and joined.reason != DriftMonitorReason.SECOND_MONITOR.value:
                family.add_metric((key.namespace, key.name), float(joined.status == "True"))
        return family

    def _windows(self) -> Metric:
        family = GaugeMetricFamily("perennial_drift_windows", "Windows judged for this model.", labels=_MONITOR)
        for key, status in self._statuses.items():
            if status.windows:
                family.add_metric((key.namespace, key.name), status.windows.count)
        return family

    def _verdicts(self) -> Metric:
        text = "1 while a verdict of the state stands."
        family = GaugeMetricFamily("perennial_drift_verdict", text, labels=(*_MONITOR, "state"))
        for key, status in self._statuses.items():
            standing = {verdict.state for verdict in status.verdicts}
            for state in STATES:
                family.add_metric((key.namespace, key.name, state), float(state in standing))
        return family

    def _losses(self) -> Metric:
        text = (
            "Mean loss of labelled rows: of the reference, since harm began, and of the version before since it was "
            "found; and what scores let expect now."
        )
        family = GaugeMetricFamily("perennial_drift_loss", text, labels=(*_MONITOR, "of"))
        for key, status in self._statuses.items():
            harm = next((verdict.loss for verdict in status.verdicts if verdict.state == "Harm"), None)
            previous = next((verdict.previous for verdict in status.verdicts if verdict.previous), None)
            known = harm or status.expected_loss
            if known:
                family.add_metric((key.namespace, key.name, "reference"), known.reference)
            if harm:
                family.add_metric((key.namespace, key.name, "now"), harm.now)
            if previous and previous.loss is not None:
                family.add_metric((key.namespace, key.name, "previous"), previous.loss)
            if status.expected_loss:
                family.add_metric((key.namespace, key.name, "expected"), status.expected_loss.now)
        return family

    def _features(self, name: str, text: str, attribute: str) -> Metric:
        labels = (*_MONITOR, "feature", "kind")
        family = GaugeMetricFamily(f"perennial_drift_feature_{name}", text, labels=labels)
        for key, status in self._statuses.items():
            for feature in _strongest(status):
                value = getattr(feature, attribute)
                family.add_metric((key.namespace, key.name, feature.name, feature.kind), value)
        return family

    def _in_a_row(self, actions: str) -> Metric:
        text = f"{actions.capitalize()} in a row that no long calm followed."
        family = GaugeMetricFamily(f"perennial_drift_{actions}", text, labels=_MONITOR)
        for key, status in self._statuses.items():
            family.add_metric((key.namespace, key.name), getattr(status.governor, actions) if status.governor else 0)
        return family

    def _stopped(self) -> Metric:
        text = "1 while the governor refuses to act, since what it did brought no long calm: a person has to look."
        family = GaugeMetricFamily("perennial_drift_stopped", text, labels=_MONITOR)
        for key, status in self._statuses.items():
            stopped = status.governor is not None and status.governor.stopped_since is not None
            family.add_metric((key.namespace, key.name), float(stopped))
        return family


def _strongest(status: DriftMonitorStatus) -> list[FeatureDrift]:
    """One entry a feature and kind: verdicts may name the same."""
    features: dict[tuple[str, str], FeatureDrift] = {}
    for verdict in status.verdicts:
        for feature in verdict.features:
            known = features.get((feature.name, feature.kind))
            if known is None or abs(feature.statistic) > abs(known.statistic):
                features[feature.name, feature.kind] = feature
    return list(features.values())
