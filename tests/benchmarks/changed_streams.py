"""Rows in which something changes after some windows, and when each scan says so.

Rows are counted by the server's tally. The monitor judges them all the way from epochs to verdicts; the other scans
(`null_streams.SCANS`) are asked of the same windows, and the plain one learns how much rows waver from those that the
run held out, as the monitor does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from perennial.monitoring import judge
from perennial.monitoring.dispersion import Dispersion
from perennial.monitoring.history import stretches
from perennial.monitoring.scan import Normal
from perennial.wire.layout import layout_of, reference_cells
from tests.benchmarks.drift_world import Change, Found, Watched, draw
from tests.benchmarks.null_streams import SCAN_SHARE, SCANS, plain_scan
from tests.benchmarks.plain_scan import LENGTHS

CHUNKS = 40
"""Of the reference in the order of time, by which the plain scan learns how much it wavers."""


@dataclass(frozen=True)
class Delays:
    """Streams of windows of `n` rows that change after so many windows or up to 7 more, since merged ones begin at
    multiples of their length, and end `most` windows later. One false alarm is allowed `every` so long."""

    streams: int
    every: str
    before: int
    n: int = 1000
    most: int = 60


class Asked:
    """A monitor and the other scans, which see the windows of one stream; what comes before the change once only."""

    def __init__(self, seed: int, wanted: Delays) -> None:
        self._wanted = wanted
        self._watched = Watched(np.random.default_rng([8000, seed]), every=wanted.every)
        reference = self._watched.reference
        self._layout = layout_of(reference)
        normal = Normal(reference_cells(reference.columns), Dispersion(self._layout))
        self._told_iid = judge.scanner(self._layout, normal, self._watched.spec)
        held = self._watched.held
        blocks = np.array_split(np.arange(len(held)), CHUNKS)
        self._plain = plain_scan(self._layout, np.array([self._watched.cells(held.iloc[block]) for block in blocks]))
        self._bounds = self._plain.bounds(judge.looks(self._watched.spec, SCAN_SHARE))
        self._seen: list[list[int]] = []
        for _ in range(wanted.before + seed % 8):
            self._serve(self._watched, self._seen, None)

    def until_found(self, change: Change) -> list[Found | None]:
        """By each of SCANS, of which only the first says more than how soon."""
        watched, seen = self._watched.twin(), list(self._seen)
        began = watched.number + 1
        found: list[Found | None] = [None] * len(SCANS)
        for count in range(1, self._wanted.most + 1):
            self._serve(watched, seen, change)
            others = [Found(count, (), 0.0) if said else None for said in self._others(watched, seen)]
            found = [before or now for before, now in zip(found, [watched.found(began), *others], strict=True)]
            if all(found):
                break
        return found

    def _serve(self, watched: Watched, seen: list[list[int]], change: Change | None) -> None:
        rows = draw(watched.rng, self._wanted.n)
        if change:
            change(rows, watched.rng)
        cells = watched.cells(rows)
        watched.count(cells, len(rows))
        seen.append(cells)

    def _others(self, watched: Watched, seen: list[list[int]]) -> list[bool]:
        ours = self._told_iid.statistics(stretches(watched.checkpoint.history))
        newest_first = np.cumsum(np.array(seen[: -LENGTHS[-1] - 1 : -1]), axis=0)
        inside, n = self._layout.cut_counts(newest_first[[length - 1 for length in LENGTHS if length <= len(seen)]])
        plain = ~self._layout.is_whole
        statistics = self._plain.statistics(inside[:, plain], n[:, plain])
        return [self._told_iid.excess(ours) > 1.0, *(bool((statistics > bound).any()) for bound in self._bounds)]
