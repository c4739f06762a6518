"""What is normal: the run's held-out rows, or the first rows served, learned window by window.

How much windows differ from one another when nothing has changed is learned beside it, and on for as long as nothing is
found: without it, the rows of one hour being alike looks like drift. It takes only sums over pairs of neighbouring
stretches, which are seen when the history merges them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Literal

import msgspec
import numpy as np

from perennial.wire.differences import between
from perennial.wire.layout import Ints, Layout, reference_cells
from perennial.wire.reference import Differences, Reference

from .dispersion import Block, Contrast, Dispersion
from .expectation import Expectation
from .history import LONGEST, Bucket, History, Pair, adjoining, evened, pushed, stretches, unevenness
from .scan import Normal
from .season import SPAN, Making, Season, week

FEWEST_WINDOWS = 10
"""Of a baseline from serving: fewer say too little of how windows differ."""

SURPRISING = 6.0
"""Times its mean that a squared difference exceeds once in seventy."""


class Baseline(msgspec.Struct, frozen=True):
    """A baseline, whole or in the making.

    `trained` are the differences of the run's held-out rows, `served` those of windows served, by how often their
    stretches doubled. `recent` are the windows of a baseline in the making, and `making` what their hours were like;
    where that came to a `season` once it was whole, `served` is of what the season leaves. `closed` is when the last
    window did that was learned from. `worth` is how many independent rows those of the last window that was judged and
    of the longest stretch tell as much as, `of` how many they were. `uneven` is as in `history.py`. `after` is how far
    all that was served since lay from it when that last had doubled.
    """

    source: Literal["Serving", "Training"]
    since: float
    rows: int = 0
    windows: int = 0
    cells: list[int] = []
    complete: bool = False
    trained: list[Differences] = []
    served: list[Differences] = []
    recent: History = ()
    making: Making = Making()
    season: Season | None = None
    closed: float = 0.0
    of: list[int] = []
    worth: list[int] = []
    uneven: float = 1.0
    after: Contrast | None = None

    @property
    def crowd(self) -> float | None:
        """How many rows there are in a row's own window, on average; nobody knows of those that the run held out."""
        return self.uneven * self.rows / self.windows if self.windows else None


def from_training(reference: Reference, since: float) -> Baseline:
    """The run's held-out rows, and how they differ in the order of time."""
    return Baseline(
        source="Training",
        since=since,
        rows=reference.rows,
        cells=reference_cells(reference.columns).tolist(),
        complete=True,
        trained=reference.differences,
    )


def from_serving(layout: Layout, since: float) -> Baseline:
    """A baseline that has yet to see its first row."""
    return Baseline(source="Serving", since=since, cells=[0] * layout.cells)


def learn(
    baseline: Baseline,
    layout: Layout,
    window: Bucket,
    *,
    of: int,
    by_hour: Mapping[int, bytes] | None = None,
    period: float = 0.0,
) -> Baseline:
    """The baseline with one more window, whose packed counts are also given by hour of the week; whole once it has `of`
    rows from at least ten windows and has taken at least a `period` in seconds."""
    recent, pairs = pushed(baseline.recent, window)
    number = week(baseline.since, window.opened)
    learned = msgspec.structs.replace(
        baseline,
        rows=baseline.rows + window.rows,
        windows=baseline.windows + 1,
        cells=(np.asarray(baseline.cells) + np.asarray(window.cells)).tolist(),
        recent=recent,
        making=baseline.making.plus(by_hour or {}, number),
        closed=window.closed,
        uneven=unevenness([(baseline.windows, baseline.rows, baseline.uneven), (1, window.rows, 1.0)]),
    )
    learned = _differed(learned, layout, pairs, number)
    if not suffices(learned, of, period):
        return learned
    return _whole(_differed(learned, layout, adjoining(recent), number), layout)


def suffices(baseline: Baseline, of: int, period: float) -> bool:
    """Whether a baseline from serving has `of` rows, from ten windows or more, and has taken a `period` in seconds."""
    is_large = baseline.rows >= of and baseline.windows >= FEWEST_WINDOWS
    return is_large and baseline.closed - baseline.since >= period


def compare(baseline: Baseline, layout: Layout, pairs: Sequence[Pair], normal: Normal) -> Baseline:
    """The whole baseline after pairs of neighbouring stretches, each pair of one length, were compared.

    By what is `normal`, no pair counts for much more than is to be expected: a change too small to be found yet must
    not pass for wavering.
    """
    season = normal.season
    if season:
        pairs = [pair for pair in pairs if season.knows(pair[0].hours) and season.knows(pair[1].hours)]
    served = _compared(baseline.served, layout, pairs, normal.dispersion, season)
    return msgspec.structs.replace(baseline, served=served)


def look_back(baseline: Baseline, layout: Layout, history: History) -> Baseline:
    """The whole baseline after it was compared with all that was served since, which is this history.

    That is done when it has doubled, a last time at 32 windows, since no longer history is kept: a change that has just
    begun is then a small part of it. By what neighbours show, no difference counts for much more than is to be
    expected. A season has seen two weeks, and has no need of it.
    """
    windows = sum(bucket.windows for bucket in history)
    known = (baseline.after.later.windows or 0) if baseline.after else 0
    if baseline.season or windows <= known or windows.bit_count() > 1:
        return baseline
    cells = np.asarray(baseline.cells, dtype=np.int64)
    here = Block(baseline.rows, baseline.windows or None, baseline.uneven)
    uneven = unevenness([(bucket.windows, bucket.rows, bucket.uneven) for bucket in history])
    later = Block(sum(bucket.rows for bucket in history), windows, uneven)
    expected = Dispersion(layout, baseline.served, baseline.trained, cells).across(here, later)
    if expected is None:
        return baseline
    most = SURPRISING * expected[None]
    differences = between(layout, cells[None], stretches(history)[-1:], np.array([later.rows]), most)
    return msgspec.structs.replace(baseline, after=Contrast(here, later, differences))


def _differed(baseline: Baseline, layout: Layout, pairs: Sequence[Pair], number: int) -> Baseline:
    """The baseline in the making after pairs of stretches were compared: with each other, and as far as they lie in the
    present week also with what was between their hours in the weeks before."""
    served = _compared(baseline.served, layout, pairs)
    making = baseline.making
    for pair in pairs:
        here = all(week(baseline.since, each.opened) == number for each in pair)
        before = making.before(layout, pair[0].hours.keys() | pair[1].hours.keys(), number) if here else None
        if before is None:
            continue
        season = Expectation(layout, before, np.asarray(baseline.cells))
        making = msgspec.structs.replace(
            making, differences=_compared(making.differences, layout, [pair], season=season)
        )
    return msgspec.structs.replace(baseline, served=served, making=making)


def _whole(baseline: Baseline, layout: Layout) -> Baseline:
    """Complete: with a season if two weeks have shown one, and without what only the making needs."""
    done = msgspec.structs.replace(
        baseline, complete=True, recent=(), making=Making(too_large=baseline.making.too_large)
    )
    if baseline.closed - baseline.since < SPAN:
        return done
    season = baseline.making.whole(layout, baseline.rows)
    return msgspec.structs.replace(done, season=season, served=baseline.making.differences) if season else done


def _compared(
    known: Sequence[Differences],
    layout: Layout,
    pairs: Sequence[Pair],
    dispersion: Dispersion | None = None,
    season: Expectation | None = None,
) -> list[Differences]:
    """Differences by how often stretches doubled, after some more pairs."""
    found = list(known)
    for length, alike in groupby(sorted(pairs, key=_length), key=_length):
        if length > len(found):
            continue
        earlier, later = zip(*alike, strict=True)
        rows = np.array([evened(pair) for pair in zip(earlier, later, strict=True)])
        expected = dispersion.between(rows, earlier[0].windows) if dispersion else None
        most = None if expected is None else SURPRISING * expected
        normally = season.normally([each.hours for each in earlier], [each.hours for each in later]) if season else None
        more = between(layout, _cells(earlier), _cells(later), rows, most, normally)
        found[length : length + 1] = [found[length].plus(more) if length < len(found) else more]
    return found


def weighed(baseline: Baseline, layout: Layout, dispersion: Dispersion, rows: int) -> Baseline:
    """The baseline with what a window of so many rows is worth, by the median of its columns."""
    lengths = np.array([1, LONGEST]) * rows
    crowds = np.full(2, float(rows))
    typical = np.median(dispersion.of(lengths.astype(np.float64), crowds)[:, ~layout.fault], axis=1)
    worth: list[int] = (lengths / typical).round().astype(int).tolist()
    return msgspec.structs.replace(baseline, of=lengths.tolist(), worth=worth)


def _length(pair: Pair) -> int:
    """How often the shortest stretch was doubled."""
    return pair[0].windows.bit_length() - 1


def _cells(buckets: Sequence[Bucket]) -> Ints:
    return np.array([bucket.cells for bucket in buckets], dtype=np.int64)


def normal(baseline: Baseline, layout: Layout) -> Normal:
    """What the scan compares with."""
    cells = np.asarray(baseline.cells, dtype=np.int64)
    season = Expectation(layout, baseline.season, cells) if baseline.season else None
    return Normal(
        cells, Dispersion(layout, baseline.served, baseline.trained, cells, baseline.after), season, baseline.crowd
    )
