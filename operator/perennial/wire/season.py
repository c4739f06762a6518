"""Hours of the week, and counts by them: what differs by the hour and the day is no change where it comes back.

A week has 168 hours, so counts by hour are many and mostly small: they are kept packed. All hours are UTC's.
"""

from __future__ import annotations

import zlib

import numpy as np

from .layout import Ints

HOUR = 3600.0
WEEK = 168
"""Hours. The first one is that in which Unix time began: on a Thursday at midnight."""

_BYTES = 8


def hour(seconds: float) -> int:
    """The hour of the week at a time in Unix seconds."""
    return int(seconds // HOUR) % WEEK


def spread(opened: float, closed: float, rows: int) -> dict[int, int]:
    """Rows by hour of the week, where they came evenly between two times (Unix seconds); they add up to `rows`."""
    found: dict[int, int] = {}
    given, place = 0, opened // HOUR
    while given < rows:
        until = (place + 1) * HOUR
        passed = 1.0 if until >= closed else (until - opened) / (closed - opened)
        if more := round(rows * passed) - given:
            found[int(place) % WEEK] = found.get(int(place) % WEEK, 0) + more
        given, place = given + more, place + 1
    return found


def pack(cells: Ints) -> bytes:
    """Counts in a few bits each where they are small: like bytes of all of them lie together before compression."""
    planes = np.ascontiguousarray(cells, dtype="<i8").view(np.uint8).reshape(-1, _BYTES).T
    return zlib.compress(planes.tobytes(), 1)


def unpack(packed: bytes) -> Ints:
    """What was packed, flat. Raises ValueError for anything else."""
    try:
        planes = np.frombuffer(zlib.decompress(packed), np.uint8)
    except zlib.error as error:
        raise ValueError(f"no packed counts: {error}") from None
    if len(planes) % _BYTES:
        raise ValueError(f"no packed counts: {len(planes)} bytes are no whole numbers")
    return np.ascontiguousarray(planes.reshape(_BYTES, -1).T).view("<i8").reshape(-1).astype(np.int64)
