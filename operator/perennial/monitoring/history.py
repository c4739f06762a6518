"""The last windows, merged at doubling lengths: what the scan looks back on, in a few buckets however long it has run.

Every boundary between buckets ends a *stretch*: the newest 1, 2, 4, 6, 10, 14, 22, 30, 46 windows, or fewer. A change
that began anywhere in the last 32 windows is met by a stretch that covers most of it and little else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise

import msgspec
import numpy as np

from perennial.wire.layout import Floats, Ints

LONGEST = 32
"""The oldest bucket goes when the others still cover so many windows."""

STRETCHES = 9
"""The most buckets that there are, at any time: the scan's bound pays for so many."""


Hours = dict[int, int]
"""Rows by hour of the week (`wire/season.py`)."""


class Bucket(msgspec.Struct, frozen=True):
    """One or several windows in a row. `opened` and `closed` are Unix seconds; `hours` say when the rows came.

    `uneven` is 1 where all windows have as many rows. If a few have most of them it is the greater, up to the number of
    windows: a row's own window has so many times the rows of a mean one.
    """

    windows: int
    rows: int
    opened: float
    closed: float
    cells: list[int]
    hours: Hours = {}
    uneven: float = 1.0

    @property
    def crowd(self) -> float:
        """How many rows there are in a row's own window, on average."""
        return self.uneven * self.rows / self.windows


History = tuple[Bucket, ...]
"""Newest first."""


Pair = tuple[Bucket, Bucket]
"""Neighbours of one length, the earlier one first."""


def push(history: History, window: Bucket) -> History:
    """The history with one more window."""
    return pushed(history, window)[0]


def pushed(history: History, window: Bucket) -> tuple[History, list[Pair]]:
    """The history with one more window, and the pairs that were merged: of three buckets of a length the older two
    become one."""
    buckets = [window, *history]
    pairs: list[Pair] = []
    start = 0
    while start + 2 < len(buckets) and buckets[start].windows == buckets[start + 2].windows:
        newer, older = buckets[start + 1 : start + 3]
        pairs.append((older, newer))
        buckets[start + 1 : start + 3] = [_merge(newer, older)]
        start += 1
    while sum(bucket.windows for bucket in buckets[:-1]) >= LONGEST:
        buckets.pop()
    return tuple(buckets), pairs


def adjoining(history: History) -> list[Pair]:
    """The pairs that more windows would merge next."""
    return [(older, newer) for newer, older in pairwise(history) if newer.windows == older.windows]


def stretches(history: History) -> Ints:
    """Counts of the newest bucket, of the newest two, and so on: shape (buckets, cells)."""
    cells = np.array([bucket.cells for bucket in history], dtype=np.int64)
    return np.cumsum(cells, axis=0)


def hours(history: History) -> list[Hours]:
    """When the rows of each stretch came."""
    return list(accumulate((bucket.hours for bucket in history), add_hours))


def lengths(history: History) -> list[int]:
    """How many windows each stretch has."""
    return [int(length) for length in np.cumsum([bucket.windows for bucket in history])]


def crowds(history: History) -> Floats:
    """How many rows there are in a row's own window of each stretch, on average."""
    counted = np.cumsum([(bucket.rows, bucket.rows * bucket.crowd) for bucket in history], axis=0)
    mean: Floats = counted[:, 1] / np.maximum(counted[:, 0], 1)
    return mean


def evened(pair: Pair) -> float:
    """How many rows blocks of evenly filled windows have that differ as these two do, where windows waver."""
    one, other = pair
    crowd = (one.crowd * other.rows + other.crowd * one.rows) / max(one.rows + other.rows, 1)
    return crowd * one.windows


def unevenness(parts: Sequence[tuple[int, int, float]]) -> float:
    """Of all windows, where these parts have so many windows, rows and are so uneven."""
    windows, rows = sum(part[0] for part in parts), sum(part[1] for part in parts)
    squares = sum(uneven * count**2 / max(size, 1) for size, count, uneven in parts)
    return windows * squares / rows**2 if rows else 1.0


def newest(history: History, windows: int) -> History:
    """What lies within the newest so many windows; a bucket that reaches beyond them goes."""
    kept: list[Bucket] = []
    for bucket in history:
        windows -= bucket.windows
        if windows < 0:
            break
        kept.append(bucket)
    return tuple(kept)


def opened_since(history: History, moment: float) -> History:
    """What lies after a moment (Unix seconds); a bucket that reaches beyond it goes."""
    return tuple(bucket for bucket in history if bucket.opened >= moment)


def rows(buckets: Sequence[Bucket]) -> int:
    return sum(bucket.rows for bucket in buckets)


def add_hours(one: Mapping[int, int], other: Mapping[int, int]) -> Hours:
    return {hour: one.get(hour, 0) + other.get(hour, 0) for hour in one.keys() | other.keys()}


def _merge(newer: Bucket, older: Bucket) -> Bucket:
    return Bucket(
        windows=newer.windows + older.windows,
        rows=newer.rows + older.rows,
        opened=older.opened,
        closed=newer.closed,
        cells=[a + b for a, b in zip(newer.cells, older.cells, strict=True)],
        hours=add_hours(newer.hours, older.hours),
        uneven=unevenness([(each.windows, each.rows, each.uneven) for each in (newer, older)]),
    )
