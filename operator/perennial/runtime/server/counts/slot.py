"""One worker's part of the counts file: a ring of rows in front of two buffers of cells, of which one is valid.

Rows go into the ring; a full ring is sorted into the buffer that is not valid, and one word, the generation, makes it
the valid one. A worker that is killed anywhere thus loses and doubles nothing: until that word is written the ring
still holds the rows, from then on it does not.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from perennial.runtime.server.counts.mapped import RING, Mapped, only_one

Tallies = Callable[[NDArray[np.float64]], NDArray[np.int64]]

_GENERATION, _WRITTEN = 0, 1


class NoFreeSlot(RuntimeError):
    """All slots are claimed by living workers."""


def snapshot(mapped: Mapped, index: int) -> NDArray[np.int64]:
    """Rows, then cells, that the slot has flushed so far. Safe while its worker flushes.

    The buffer read is overwritten only after the generation has moved on, so an unmoved generation means a whole read.
    """
    arrays = mapped.slot(index)
    while True:
        generation = arrays.words[_GENERATION]
        read: NDArray[np.int64] = arrays.buffers[generation & 1].copy()
        if arrays.words[_GENERATION] == generation:
            return read


def snapshot_all(mapped: Mapped) -> NDArray[np.int64]:
    """Rows, then cells, of all workers together."""
    total = np.zeros(mapped.layout.buffer_words, np.int64)
    for index in range(mapped.layout.slots):
        total += snapshot(mapped, index)
    return total


class Slot:
    """A claimed slot. The claim is an flock, which ends with the process however it ends."""

    def __init__(self, mapped: Mapped, index: int, lock: int, tally: Tallies) -> None:
        arrays = mapped.slot(index)
        self.index = index
        self.totals = arrays.totals
        self._lock = lock
        self._tally = tally
        self._words = arrays.words
        self._buffers = arrays.buffers
        self._numbers = arrays.ring[:, : mapped.layout.numbers]
        self._codes = arrays.ring[:, mapped.layout.numbers : -1]
        self._scores = arrays.ring[:, -1]
        self._ring = arrays.ring
        self._written: int = self._words[_WRITTEN]
        self._flushed = int(self._buffers[self._words[_GENERATION] & 1][0])
        self.flush()

    def add(self, numbers: NDArray[np.float64], codes: NDArray[np.float64] | None, scores: NDArray[np.float64]) -> None:
        """Count n rows: their numbers [n, ...], the codes of their texts [n, ...] if there are some, their scores
        [n].
        """
        start, end = 0, len(scores)
        if end == 1:
            pending = self._written - self._flushed
            self._numbers[pending] = numbers[0]
            self._scores[pending] = scores[0]
            if codes is not None:
                self._codes[pending] = codes[0]
            self._advance(1)
            return
        while start < end:
            pending = self._written - self._flushed
            taken = min(RING - pending, end - start)
            self._numbers[pending : pending + taken] = numbers[start : start + taken]
            self._scores[pending : pending + taken] = scores[start : start + taken]
            if codes is not None:
                self._codes[pending : pending + taken] = codes[start : start + taken]
            self._advance(taken)
            start += taken

    def _advance(self, rows: int) -> None:
        self._written += rows
        self._words[_WRITTEN] = self._written
        if self._written - self._flushed == RING:
            self.flush()

    def flush(self) -> None:
        """Sort the ring's rows into cells."""
        pending = self._written - self._flushed
        if not pending:
            return
        generation: int = self._words[_GENERATION]
        valid, other = self._buffers[generation & 1], self._buffers[1 - (generation & 1)]
        np.add(valid[1:], self._tally(self._ring[:pending]), out=other[1:])
        other[0] = self._written
        self._words[_GENERATION] = generation + 1
        self._flushed = self._written

    def release(self) -> None:
        """Flush and let another worker have the slot."""
        self.flush()
        os.close(self._lock)


def claim(mapped: Mapped, tally: Tallies) -> Slot:
    """Claim a free slot, and count what dead workers left in the ring of any free one.

    Raises NoFreeSlot when every slot has a living worker.
    """
    with only_one(mapped.folder / "slots.lock"):
        found = [_try_claim(mapped, tally, index) for index in range(mapped.layout.slots)]
        free = [slot for slot in found if slot is not None]
        for slot in free[1:]:
            slot.release()
    if not free:
        raise NoFreeSlot(f"all {mapped.layout.slots} slots of {mapped.folder} are claimed by living workers")
    return free[0]


def _try_claim(mapped: Mapped, tally: Tallies, index: int) -> Slot | None:
    lock = os.open(mapped.folder / f"slot-{index}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return Slot(mapped, index, lock, tally)
