"""The counts file against real deaths: child processes killed at random moments, their counts compared row by row."""

from __future__ import annotations

import dataclasses
import os
import random
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from perennial.runtime.server.counts import slot as slots
from perennial.runtime.server.counts.mapped import RING, Layout, Mapped, open_counts
from perennial.runtime.server.counts.tally import Tally
from perennial.wire.reference import Reference
from perennial.wire.schema import Feature, Kind, Schema

MODEL = "ab" * 32
KINDS: list[tuple[str, Kind]] = [
    ("wide", "numeric"),
    ("carrier", "categorical"),
    ("tied", "numeric"),
    ("flag", "boolean"),
    ("single", "numeric"),
]
SCHEMA = Schema("classification", "late", [Feature(name, kind) for name, kind in KINDS], "positive")


def tally_of(reference: Reference) -> Tally:
    return Tally(reference, SCHEMA)


def layout_of(reference: Reference, workers: int = 1) -> Layout:
    return Layout(len(SCHEMA.numbers), len(SCHEMA.texts), tally_of(reference).cells, workers)


Rows = tuple[np.ndarray, np.ndarray, np.ndarray]


def rows(start: int, end: int) -> Rows:
    """Rows `start` to `end` of a sequence that every process knows: numbers, codes, scores."""
    number = np.arange(start, end)
    numbers = np.stack([np.sin(number), number % 3, number % 2, number % 2 + 1.5], axis=1)
    return numbers, (number % 5).astype(float).reshape(-1, 1), number % 11 / 10


def row(number: int) -> Rows:
    return rows(number, number + 1)


def expected(reference: Reference, end: int) -> list[int]:
    cells: list[int] = tally_of(reference)(np.column_stack(rows(0, end))).tolist()
    return cells


def test_rows_and_batches_count_the_same(tmp_path: Path, reference: Reference) -> None:
    tally, total = tally_of(reference), 2 * RING + 57
    single = slots.claim(open_counts(tmp_path, layout_of(reference, 2), MODEL), tally)
    batched = slots.claim(mapped := open_counts(tmp_path, layout_of(reference, 2), MODEL), tally)
    parts = rows(0, total)
    for number in range(total):
        single.add(*row(number))
    start = 0
    for size in (1, 3, RING, 200, total):
        numbers, codes, scores = (part[start : start + size] for part in parts)
        batched.add(numbers, codes, scores)
        start = min(start + size, total)
    single.flush()
    batched.flush()
    read = [slots.snapshot(mapped, index).tolist() for index in (0, 1)]
    assert read[0] == read[1] == [total, *expected(reference, total)]
    assert slots.snapshot_all(mapped)[0] == 2 * total


def test_a_living_workers_slot_is_not_given_away(tmp_path: Path, reference: Reference) -> None:
    tally = tally_of(reference)
    mapped = open_counts(tmp_path, layout_of(reference, 2), MODEL)
    first, second = slots.claim(mapped, tally), slots.claim(mapped, tally)
    assert {first.index, second.index} == {0, 1}
    with pytest.raises(slots.NoFreeSlot):
        slots.claim(mapped, tally)
    first.release()
    assert slots.claim(mapped, tally).index == 0


def test_another_model_or_shape_begins_a_new_incarnation(tmp_path: Path, reference: Reference) -> None:
    first = open_counts(tmp_path, layout_of(reference), MODEL)
    slots.claim(first, tally_of(reference)).add(*row(0))
    assert open_counts(tmp_path, layout_of(reference), MODEL).incarnation == first.incarnation
    other = open_counts(tmp_path, layout_of(reference), "cd" * 32)
    assert other.incarnation != first.incarnation
    assert slots.snapshot_all(other).sum() == 0
    assert open_counts(tmp_path, layout_of(reference, 2), "cd" * 32).incarnation != other.incarnation


def test_a_truncated_file_is_begun_anew(tmp_path: Path, reference: Reference) -> None:
    first = open_counts(tmp_path, layout_of(reference), MODEL)
    os.truncate(tmp_path / "counts", 5000)
    assert open_counts(tmp_path, layout_of(reference), MODEL).incarnation != first.incarnation


class Died(Exception):
    """The process was killed here."""


class DyingWords:
    """The slot's words, of which writing the generation is the last thing that the process does."""

    def __init__(self, words: memoryview, *, written: bool) -> None:
        self._words = words
        self._written = written

    def __getitem__(self, index: int) -> int:
        value: int = self._words[index]
        return value

    def __setitem__(self, index: int, value: int) -> None:
        if index or self._written:
            self._words[index] = value
        if not index:
            raise Died


@pytest.mark.parametrize("written", [False, True], ids=["before", "after"])
def test_death_at_the_word_that_makes_a_flush_valid(
    tmp_path: Path, reference: Reference, monkeypatch: pytest.MonkeyPatch, written: bool
) -> None:
    mapped = open_counts(tmp_path, layout_of(reference), MODEL)
    worker = slots.claim(mapped, tally_of(reference))
    for number in range(10):
        worker.add(*row(number))
    worker.flush()
    for number in range(10, 17):
        worker.add(*row(number))
    monkeypatch.setattr(worker, "_words", DyingWords(worker._words, written=written))
    with pytest.raises(Died):
        worker.flush()
    os.close(worker._lock)
    slots.claim(mapped, tally_of(reference)).release()
    assert slots.snapshot_all(mapped).tolist() == [17, *expected(reference, 17)]


def test_a_read_that_a_flush_overtook_is_read_again(
    tmp_path: Path, reference: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    mapped = open_counts(tmp_path, layout_of(reference), MODEL)
    worker = slots.claim(mapped, tally_of(reference))
    arrays = mapped.slot(0)

    class Overtaken:
        """A buffer that is flushed over while it is copied, the first time."""

        flushes = 2

        def copy(self) -> np.ndarray:
            torn = arrays.buffers[0].copy()
            while self.flushes:
                self.flushes -= 1
                worker.add(*row(2 - self.flushes - 1))
                worker.flush()
            return torn if torn[0] else np.full_like(torn, 99)

    overtaken: Any = Overtaken()
    slow = dataclasses.replace(arrays, buffers=(overtaken, arrays.buffers[1]))
    monkeypatch.setattr(mapped, "slot", lambda index: slow)
    assert slots.snapshot(mapped, 0).tolist() == [2, *expected(reference, 2)]


@pytest.fixture
def spawn() -> Iterator[Callable[[Callable[[], None]], int]]:
    """Run a function in a child process that the test may kill; none is left behind."""
    children: list[int] = []

    def start(work: Callable[[], None]) -> int:
        child = os.fork()
        if not child:
            try:
                work()
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(1)
        children.append(child)
        return child

    yield start
    for child in children:
        try:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        except (ProcessLookupError, ChildProcessError):
            continue


class Counter:
    """A child that counts the known sequence from where the file is, and tells each row that it has counted."""

    def __init__(self, mapped: Mapped, reference: Reference, progress: Path, sizes: tuple[int, ...]) -> None:
        self.mapped, self.reference, self.progress, self.sizes = mapped, reference, progress, sizes

    def __call__(self) -> None:
        slot = slots.claim(self.mapped, tally_of(self.reference))
        number = start = int(slots.snapshot(self.mapped, slot.index)[0])
        told = os.open(self.progress, os.O_RDWR | os.O_CREAT)
        pick = random.Random(start)
        while True:
            size = pick.choice(self.sizes)
            slot.add(*rows(number, number + size))
            number += size
            os.pwrite(told, number.to_bytes(8, "little"), 8 * slot.index)


def told(progress: Path, index: int) -> int:
    return int.from_bytes(progress.read_bytes()[8 * index : 8 * index + 8], "little") if progress.exists() else 0


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "it did not come to be"
        time.sleep(0.001)


@pytest.mark.process
@pytest.mark.parametrize("sizes", [(1,), (1, 3, 40)], ids=["rows", "batches"])
def test_killed_at_random_nothing_is_lost_or_doubled(
    tmp_path: Path, reference: Reference, spawn: Callable[[Callable[[], None]], int], sizes: tuple[int, ...]
) -> None:
    layout = layout_of(reference, 2)
    mapped, progress = open_counts(tmp_path, layout, MODEL), tmp_path / "progress"
    reached = [0, 0]
    for death in range(6):
        children = [spawn(Counter(mapped, reference, progress, sizes)) for _ in range(2)]
        wait_for(lambda: all(told(progress, index) > reached[index] + RING for index in (0, 1)))
        time.sleep(random.Random(death).uniform(0.0, 0.1))
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        slots.claim(mapped, tally_of(reference)).release()
        for index in (0, 1):
            counted, *cells = slots.snapshot(mapped, index).tolist()
            assert told(progress, index) <= counted <= told(progress, index) + max(sizes)
            assert cells == expected(reference, counted)
            reached[index] = counted
    assert min(reached) > RING


@pytest.mark.process
def test_a_reader_never_sees_half_a_flush(
    tmp_path: Path, reference: Reference, spawn: Callable[[Callable[[], None]], int]
) -> None:
    mapped = open_counts(tmp_path, layout_of(reference), MODEL)
    spawn(Counter(mapped, reference, tmp_path / "progress", (RING,)))
    seen: set[int] = set()
    began = time.monotonic()
    # On a busy machine half a second may hold few flushes.
    while (elapsed := time.monotonic() - began) < 0.5 or (len(seen) <= 5 and elapsed < 30):
        counted, *cells = slots.snapshot(mapped, 0).tolist()
        assert sum(cells) == counted * len(reference.columns)
        seen.add(counted)
    assert len(seen) > 5
