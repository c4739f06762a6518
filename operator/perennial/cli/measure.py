"""How far each column lies from the baseline, alarm or not: what a person wants to see beside the verdicts."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from perennial.monitoring.faults import DOUBT
from perennial.monitoring.history import History, crowds, hours, stretches
from perennial.monitoring.scan import Peak, Scan
from perennial.wire.layout import Counts, CutKind, Floats, Ints, Layout


@dataclass(frozen=True)
class Measured:
    """Of each column [columns]: where its evidence is strongest, and what is known there.

    `excess` is the statistic as a share of its bound: above 1 it alarms. `effect` is in cumulative probability, less
    the doubt that the materiality is compared without (`faults.meaning`): what has surely changed.
    """

    stretch: NDArray[np.intp]
    cut: NDArray[np.intp]
    statistic: Floats
    excess: Floats
    effect: Floats

    def peak(self, scan: Scan, column: int) -> Peak:
        """The strongest evidence of a column, as the scan names what alarms."""
        cut = int(self.cut[column])
        bound = float(scan.bounds[cut])
        return Peak(column, int(self.stretch[column]), cut, float(self.statistic[column]), bound)


def explained_by(layout: Layout, column: int, changed: Collection[str]) -> list[str]:
    """The changed features that a joint column is made of, as `faults.unexplained` has it: they alone may move it."""
    return [name for name in layout.joint.get(layout.columns[column].name, ()) if name in changed]


def alarming(layout: Layout, largest: Floats) -> list[int]:
    """The columns with a `largest` effect [columns], the largest first, without those that others explain."""
    found = [place for place in np.argsort(-largest, kind="stable").tolist() if largest[place] > 0]
    changed = {layout.columns[place].name for place in found} - layout.joint.keys()
    return [place for place in found if not explained_by(layout, place, changed)]


def measure(scan: Scan, history: History) -> Measured:
    """The stretches of a history, as the scan takes them, against its baseline."""
    when = hours(history)
    statistics = scan.statistics(stretches(history), when, crowds(history))
    excess = np.abs(statistics) / scan.bounds
    best = excess.argmax(axis=0)
    cuts = np.arange(len(best))
    furthest = excess[best, cuts]
    firsts = np.searchsorted(scan.layout.column, np.arange(len(scan.layout.columns) + 1))
    cut = np.array(
        [first + int(furthest[first:last].argmax()) for first, last in pairwise(firsts)],
        dtype=np.intp,
    )
    stretch = best[cut]
    statistic = statistics[stretch, cut]
    expected = np.array([scan.expected(each) for each in when])
    difference = _differences(scan, stretches(history), expected)[stretch, cut]
    return Measured(
        stretch=stretch,
        cut=cut,
        statistic=statistic,
        excess=furthest[cut],
        effect=difference * (1 - DOUBT / np.maximum(np.abs(statistic), DOUBT)),
    )


def _differences(scan: Scan, counts: Ints, expected: Counts) -> Floats:
    """How far the share of rows at each cut is off: shape (stretches, cuts). Where a whole column is cut in part, the
    furthest of its plain cuts."""
    difference = np.abs(_shares(scan, counts) - _shares(scan, expected))
    plain = np.where(scan.layout.kind == CutKind.VALUE, difference, 0.0)
    for cut in np.flatnonzero(scan.layout.is_whole):
        of_column = scan.layout.column == scan.layout.column[cut]
        difference[:, cut] = plain[:, of_column].max(axis=1)
    return difference


def _shares(scan: Scan, cells: Counts) -> Floats:
    """Of each cut, the share of rows on its first side: shape (..., cuts)."""
    inside, n = scan.layout.cut_counts(cells)
    shares: Floats = inside / np.maximum(n, 1.0)
    return shares
