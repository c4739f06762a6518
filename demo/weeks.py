"""What the airport saw, each week once: one is flown again while something is under way, and its errors are those of
all its rows together.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any


@dataclass
class Seen:
    """Rows that a version answered, and the sum of the errors of these [minutes]."""

    rows: int = 0
    error: float = 0.0

    @property
    def mean(self) -> float:
        return self.error / max(self.rows, 1)


@dataclass
class Week:
    """A week from the day `start` on, flown so many `times`."""

    start: str
    times: int = 0
    versions: dict[str, Seen] = field(default_factory=dict)


def each_once(lines: Iterable[dict[str, Any]]) -> list[Week]:
    """The weeks of these lines of the airport, in their order."""
    return [_together(start, same) for start, same in groupby(lines, lambda line: str(line["from"]))]


def mean_error(weeks: Iterable[Week], version: str) -> float:
    """Of all rows of these weeks that this version answered [minutes]."""
    seen = [week.versions[version] for week in weeks]
    return Seen(sum(each.rows for each in seen), sum(each.error for each in seen)).mean


def _together(start: str, lines: Iterable[dict[str, Any]]) -> Week:
    week = Week(start)
    for line in lines:
        week.times += 1
        for version, said in line["versions"].items():
            seen = week.versions.setdefault(version, Seen())
            seen.rows += said["rows"]
            seen.error += said["rows"] * said["mae"]
    return week
