"""The memory-mapped file that a pod's workers count into, and how it is laid out.

A process that is killed leaves its mapped pages to the kernel, so what was written here survives the container's
crash; the pod's emptyDir ends with the pod. Each worker writes a slot of its own (two writers on one slot lose a
third of the increments); one of them also writes the labels.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import secrets
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

RING = 256
"""Rows that a slot buffers before they are sorted into cells: 0.2 us a row then, against 20 us for a row alone."""

TOTALS = 80
"""Words of cumulative totals in a slot; `totals.py` says which is which."""

SLOT_WORDS = 8
LABELS = 65_536
"""Labels that the ledger holds: those not yet in an epoch, and the memory against duplicates."""

LABEL = np.dtype(
    [
        ("id", "<u8"),
        ("issued", "<u4"),
        ("model", "V32"),
        ("companion", "V32"),
        ("loss_cells", "<u2"),
        ("loss_cell", "<u2"),
        ("score_cells", "<u2"),
        ("score_cell", "<u2"),
        ("positive", "<u1"),
        ("paired", "<u1"),
        ("loss", "<f8"),
        ("companion_loss", "<f8"),
    ]
)

_MAGIC = b"PRNLCNT1"
_HEADER = struct.Struct("<8s7I16s32s36s")
_HEADER_BYTES = 4096
_WORD = 8


@dataclass(frozen=True)
class Layout:
    """Sizes of a counts file: `numbers` and `texts` of a ring row before the score, `cells` of the reference, slots."""

    numbers: int
    texts: int
    cells: int
    slots: int = 1

    @property
    def width(self) -> int:
        return self.numbers + self.texts + 1

    @property
    def buffer_words(self) -> int:
        return 1 + self.cells

    @property
    def slot_words(self) -> int:
        return SLOT_WORDS + TOTALS + 2 * self.buffer_words + RING * self.width

    @property
    def labels_at(self) -> int:
        return _HEADER_BYTES + self.slots * self.slot_words * _WORD

    @property
    def size(self) -> int:
        return self.labels_at + SLOT_WORDS * _WORD + LABELS * LABEL.itemsize


@dataclass(frozen=True)
class SlotArrays:
    """One slot's parts, as views of the mapping."""

    words: memoryview
    totals: memoryview
    buffers: tuple[NDArray[np.int64], NDArray[np.int64]]
    ring: NDArray[np.float64]


class Mapped:
    """An open counts file. `incarnation` is new whenever the file is: cumulative numbers start anew with it."""

    def __init__(self, folder: Path, layout: Layout, data: mmap.mmap, incarnation: str, model: str) -> None:
        self.folder = folder
        self.layout = layout
        self.incarnation = incarnation
        self.model = model
        self._data = data

    def slot(self, index: int) -> SlotArrays:
        layout = self.layout
        start = _HEADER_BYTES + index * layout.slot_words * _WORD
        whole = memoryview(self._data)[start : start + layout.slot_words * _WORD]
        totals_at, counts_at = SLOT_WORDS * _WORD, (SLOT_WORDS + TOTALS) * _WORD
        counts = np.frombuffer(whole, np.int64, 2 * layout.buffer_words, counts_at)
        ring_at = counts_at + 2 * layout.buffer_words * _WORD
        return SlotArrays(
            words=whole[:totals_at].cast("q"),
            totals=whole[totals_at:counts_at],
            buffers=(counts[: layout.buffer_words], counts[layout.buffer_words :]),
            ring=np.frombuffer(whole, np.float64, RING * layout.width, ring_at).reshape(RING, layout.width),
        )

    def labels(self) -> tuple[memoryview, NDArray[np.void]]:
        """The ledger's words (the first is how many were ever written) and its ring of records."""
        at = self.layout.labels_at
        words = memoryview(self._data)[at : at + SLOT_WORDS * _WORD].cast("q")
        return words, np.frombuffer(self._data, LABEL, LABELS, at + SLOT_WORDS * _WORD)


def open_counts(folder: Path, layout: Layout, model: str) -> Mapped:
    """Open the folder's counts file for the model digest `model` (64 hex digits), or begin a new one where it does
    not fit.

    It does not fit when it counts for another model or in another shape, or when the node was started anew since:
    pages may then have been lost singly.
    """
    path = folder / "counts"
    with only_one(folder / "counts.lock"):
        incarnation = _read_header(path, layout, model)
        if incarnation is None:
            incarnation = _create(path, layout, model)
        with path.open("r+b") as file:
            data = mmap.mmap(file.fileno(), layout.size)
    return Mapped(folder, layout, data, incarnation, model)


def _header(layout: Layout, model: str, incarnation: bytes) -> bytes:
    sizes = (layout.numbers, layout.texts, layout.cells, layout.slots, RING, LABELS, TOTALS)
    return _HEADER.pack(_MAGIC, *sizes, incarnation, bytes.fromhex(model), boot_id())


def boot_id() -> bytes:
    return Path("/proc/sys/kernel/random/boot_id").read_bytes().strip()


def _read_header(path: Path, layout: Layout, model: str) -> str | None:
    try:
        with path.open("rb") as file:
            found = file.read(_HEADER.size)
            size = os.fstat(file.fileno()).st_size
    except FileNotFoundError:
        return None
    if len(found) != _HEADER.size or size != layout.size:
        return None
    incarnation: bytes = _HEADER.unpack(found)[8]
    return incarnation.hex() if found == _header(layout, model, incarnation) else None


def _create(path: Path, layout: Layout, model: str) -> str:
    incarnation = secrets.token_bytes(16)
    fresh = path.with_suffix(".new")
    with fresh.open("wb") as file:
        file.write(_header(layout, model, incarnation))
        file.truncate(layout.size)
    fresh.replace(path)
    return incarnation.hex()


@contextlib.contextmanager
def only_one(path: Path) -> Iterator[None]:
    """What is done inside is done by one process at a time."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
