"""The conditions of the resources that are looked after, for who alerts on metrics rather than on statuses: whatever
their kinds, a pipeline that fails every night must not need anybody to look.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from .cache import Cache

_VALUES = {"True": 1.0, "False": 0.0}
"""Of what is Unknown there is nothing to say."""


class ConditionMetrics(Collector):
    """Read from the caches when somebody asks."""

    def __init__(self, caches: Iterable[Cache]) -> None:
        self._caches = tuple(caches)

    def collect(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(
            "perennial_condition",
            "1 while a condition is True, 0 while it is False.",
            labels=("kind", "namespace", "name", "type", "reason"),
        )
        for cache in self._caches:
            for manifest in cache:
                metadata = manifest["metadata"]
                place = (cache.resource.kind, metadata.get("namespace") or "", metadata["name"])
                for condition in _conditions(manifest):
                    if (value := _VALUES.get(str(condition.get("status")))) is not None:
                        told = (str(condition.get("type") or ""), str(condition.get("reason") or ""))
                        family.add_metric((*place, *told), value)
        yield family


def _conditions(manifest: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """What a status says, which anybody may have written."""
    status = manifest.get("status")
    found = status.get("conditions") if isinstance(status, Mapping) else None
    yield from (each for each in found or () if isinstance(each, Mapping))
