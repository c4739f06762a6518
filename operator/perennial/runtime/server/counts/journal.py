"""Predictions by key: the newest million of a pod in a ring of a mapped file, so that a label finds them later.

A record holds what a receipt would, with what all of a model's have in common written once. It is written within a
second, whole before it is counted as written; from then on it survives the container's crash as the counts do. It has a
place for the mark of the label that was counted for it, and the id that its receipt has: so no label counts twice,
however often a table is read, and whether it comes in one, with a receipt, or both.
"""

from __future__ import annotations

import math
import mmap
import os
import struct
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from perennial.runtime.binning import numeric_cells
from perennial.runtime.keys import DIGEST, digest_of_any
from perennial.runtime.server.counts.mapped import boot_id
from perennial.runtime.server.engine import Answers
from perennial.runtime.server.receipt import Companion, Receipt
from perennial.wire.journal import ROW
from perennial.wire.reference import Categorical, Numeric
from perennial.wire.schema import Class

CAPACITY = 2**20
"""Predictions: 56 MiB of the emptyDir, of which the kernel keeps in memory what it has room for."""

BUFFER = 256
"""Predictions that wait to be written, at most a second."""

MODELS = 64
"""Models that the records of a journal are of, at most."""

RECORD = np.dtype(
    [
        ("key", f"V{DIGEST}"),
        ("id", "<u8"),
        ("mark", "<u8"),
        ("issued", "<u4"),
        ("model", "<u4"),
        ("score", "<f8"),
        ("prediction", "<f8"),
        ("other", "<f8"),
    ]
)
_RECORD_BYTES = RECORD.itemsize

_pack = struct.Struct(f"<{DIGEST}sQQIIddd").pack_into
_NAN = math.nan
_HEADER = struct.Struct("<8sQ36s")
_MAGIC = b"PRNLJRN1"
_HEADER_BYTES = 4096
_WRITTEN = 64


class Basis(msgspec.Struct):
    """What all records of a model have in common: their receipt, and what turns numbers back into what it says.
    `companion` is the digest of the model that scored them too, which has `others` for classes.
    """

    receipt: Receipt
    classes: list[Class] = []
    score: Numeric | Categorical | None = None
    companion: bytes = b""
    others: list[Class] = []

    def prediction(self, number: float) -> float | Class:
        return self.classes[int(number)] if self.classes else number

    def pair(self, number: float) -> Companion | None:
        """What the companion said; None where it did not score the row."""
        if math.isnan(number):
            return None
        return Companion(self.companion, self.others[int(number)] if self.others else number)

    def score_cell(self, score: float) -> int:
        if isinstance(self.score, Numeric):
            return int(numeric_cells(self.score, [score])[0])
        return int(score) if self.score is not None else 0


class Record(msgspec.Struct):
    """A prediction that is remembered, as its receipt and the mark of its label, 0 without one."""

    receipt: Receipt
    classes: list[Class]
    mark: int


class Appended(msgspec.Struct, eq=False):
    """Rows on their way into the journal, with what was predicted and when. Once they are written, `first` is the
    number of the first of them; rows in `skipped` have none.
    """

    journal: Journal
    issued: int
    keys: list[Any]
    answers: Answers
    scores: NDArray[np.float64] | None
    first: int = -1
    skipped: list[int] = []

    def number(self, row: int) -> int:
        """The number of a row's prediction, -1 where it is not remembered."""
        if not self.skipped:
            return self.first + row
        return -1 if row in self.skipped else self.first + row - sum(skipped < row for skipped in self.skipped)


class _Run(NamedTuple):
    """Predictions whose ids follow one another as their numbers do: those of one process."""

    id: int
    number: int
    length: int


class _Names(msgspec.Struct):
    key: str
    models: list[Basis] = []


class Journal:
    """The predictions of one pod, and those that others gave it."""

    def __init__(self, folder: Path, key: str, basis: Basis, capacity: int = CAPACITY) -> None:
        self.key = key
        self.closed = False
        """Set once, when what is here is given away: nothing of it may be labelled from then on."""
        self._folder = folder
        self._capacity = capacity
        self._data = _opened(folder, key, capacity)
        self._words = memoryview(self._data)[_WRITTEN : _WRITTEN + 8].cast("Q")
        self._records = np.frombuffer(self._data, RECORD, capacity, _HEADER_BYTES)
        self._basis = basis
        self._waiting: list[Appended] = []
        self._waiting_rows = 0
        self._base = int.from_bytes(os.urandom(7), "little")
        self._begun = self._words[0]
        self._runs = self._runs_of(max(self._begun - capacity, 0), self._begun)
        self._models = _names(folder).models
        self._own = self._number(basis)
        self._place = {known: float(at) for at, known in enumerate(basis.classes)} if basis.classes else None

    @property
    def written(self) -> int:
        """How many predictions were ever remembered; the newest are still there."""
        self.flush()
        return self._words[0]

    @property
    def first(self) -> int:
        """The number of the oldest one that is still there."""
        return max(self.written - self._capacity, 0)

    def append(self, keys: list[Any], answers: Answers, scores: NDArray[np.float64] | None) -> Appended:
        """Remember what was predicted for rows with these keys, some of them together: by themselves rows take three
        times as long. What was not written yet is lost with the process.
        """
        appended = Appended(self, int(time.time()), keys, answers, scores)
        self._waiting.append(appended)
        self._waiting_rows += len(keys)
        if self._waiting_rows >= BUFFER:
            self.flush()
        return appended

    def flush(self) -> None:
        """Write what waits; once a second, and before anything is looked for."""
        if not self._waiting:
            return
        waiting, self._waiting, self._waiting_rows = self._waiting, [], 0
        for part in waiting:
            self._write(part)

    def _write(self, part: Appended) -> None:
        place, data, own, base, ring = self._place, self._data, self._own, self._base, self._capacity
        issued, number = part.issued, self._words[0]
        part.first = number
        said = part.answers.predictions.tolist()
        if place is not None:
            said = [place.get(each) for each in said]
        numbers = [0.0] * len(said) if part.scores is None else part.scores.tolist()
        for row, (key, prediction, score) in enumerate(zip(map(digest_of_any, part.keys), said, numbers, strict=True)):
            if not key or prediction is None:
                part.skipped.append(row)
                continue
            at = _HEADER_BYTES + number % ring * _RECORD_BYTES
            _pack(data, at, key, base + number, 0, issued, own, score, prediction, _NAN)
            number += 1
        self._words[0] = number

    def numbers(self, appended: Appended, rows: Sequence[int]) -> list[int]:
        """The numbers of these rows' predictions, -1 for those that are not remembered."""
        if appended.first < 0:
            self.flush()
        return [appended.number(row) for row in rows]

    def id_of(self, number: int) -> int:
        """The id of a prediction of this process, which its receipt has too."""
        return self._base + number

    def number_of(self, id_: int) -> int | None:
        """The number of the prediction with this id; None where it is not here."""
        own = _Run(self._base + self._begun, self._begun, self.written - self._begun)
        for run in (own, *self._runs):
            number = run.number + id_ - run.id
            if (
                run.id <= id_ < run.id + run.length
                and number >= self.first
                and self._records["id"][number % self._capacity] == id_
            ):
                return number
        return None

    def _runs_of(self, first: int, end: int) -> list[_Run]:
        """The runs among the predictions number `first` to `end`."""
        ids = self._records["id"][np.arange(first, end) % self._capacity]
        if not len(ids):
            return []
        starts = np.flatnonzero(np.diff(ids) != 1) + 1
        bounds = [0, *starts.tolist(), len(ids)]
        return [_Run(int(ids[low]), first + low, high - low) for low, high in pairwise(bounds)]

    def rows(self, after: int, limit: int) -> tuple[int, int, bytes]:
        """Numbers of the first prediction and the one after the last, and ROWs of those between."""
        first = max(after, self.first)
        end = min(first + limit, self.written)
        records = self._records[np.arange(first, end) % self._capacity]
        rows = np.empty(len(records), ROW)
        rows["key"], rows["issued"] = records["key"], records["issued"]
        return first, end, rows.tobytes()

    def find(self, number: int, key: bytes) -> Record | None:
        """The prediction of this number; None where it was written over since."""
        if not self.first <= number < self.written or self._records["key"][number % self._capacity].tobytes() != key:
            return None
        return self.at(number)

    def at(self, number: int) -> Record:
        """The prediction of a number that is there."""
        record = self._records[number % self._capacity]
        basis = self._models[int(record["model"])]
        receipt = msgspec.structs.replace(
            basis.receipt,
            id=int(record["id"]),
            issued=int(record["issued"]),
            prediction=basis.prediction(float(record["prediction"])),
            score_cell=basis.score_cell(float(record["score"])),
            companion=basis.pair(float(record["other"])),
        )
        return Record(receipt, basis.classes, int(record["mark"]))

    def pair(self, numbers: Sequence[int], companion: bytes, others: list[Class], said: Sequence[Any]) -> None:
        """Remember what the companion said to rows, too: of its classes `others`, or values."""
        model = self._number(msgspec.structs.replace(self._basis, companion=companion, others=others))
        place = {known: at for at, known in enumerate(others)}
        for number, other in zip(numbers, said, strict=True):
            value = place.get(other) if others else other
            if model >= 0 and number >= self.first and value is not None:
                self._records["other"][number % self._capacity] = value
                self._records["model"][number % self._capacity] = model

    def mark(self, number: int, mark: int) -> None:
        """Note which label was counted for a prediction: by its row in a table, or by its receipt's id."""
        self._records["mark"][number % self._capacity] = mark

    def repair(self, id_: int) -> None:
        """Mark the prediction with this id, whose label was counted last: a crash may have come before its mark, which
        has to be there when the prediction is given away."""
        number = self.number_of(id_)
        if number is not None and not self.at(number).mark:
            self.mark(number, id_)

    def given(self, after: int, limit: int) -> tuple[list[Basis], bytes, int]:
        """For another pod: records from number `after` on with the models that they are of, and the number to go on
        from."""
        end = min(after + limit, self.written)
        records = self._records[np.arange(after, end) % self._capacity]
        used, places = np.unique(records["model"], return_inverse=True)
        records["model"] = places
        return [self._models[number] for number in used.tolist()], records.tobytes(), end

    def take(self, models: Sequence[Basis], given: bytes) -> int:
        """Remember what another pod gave. Raises ValueError where it is none of that; gives how many it took.

        Of more models than a journal has room for the records are left.
        """
        records = np.frombuffer(given, RECORD).copy()
        if len(records) and int(records["model"].max()) >= len(models):
            raise ValueError("a record is of a model that is not among those sent")
        numbers = np.array([self._number(model) for model in models], np.int64)
        records = records[numbers[records["model"]] >= 0][-self._capacity :]
        records["model"] = numbers[records["model"]]
        number = self.written
        self._records[np.arange(number, number + len(records)) % self._capacity] = records
        self._words[0] = number + len(records)
        kept = [run for run in self._runs if run.number + run.length > self.first]
        self._runs = kept + self._runs_of(number, number + len(records))
        return len(records)

    def _number(self, basis: Basis) -> int:
        """The model's among those of the records, -1 where there is no room for it."""
        if basis in self._models:
            return self._models.index(basis)
        if len(self._models) == MODELS:
            return -1
        self._models.append(basis)
        _write_names(self._folder, _Names(self.key, self._models))
        return len(self._models) - 1


def remember(folder: Path, key: str | None) -> None:
    """Note by which key predictions are to be remembered, for this process and those after it in the pod. With another
    key than before all are forgotten.
    """
    if key == remembered(folder):
        return
    # First the ring: what was remembered by another key must not be found by this one.
    _path(folder).unlink(missing_ok=True)
    if key is None:
        _names_path(folder).unlink(missing_ok=True)
    else:
        _write_names(folder, _Names(key))


def remembered(folder: Path) -> str | None:
    """The key; None where nothing is to be remembered."""
    try:
        return _names(folder).key
    except (FileNotFoundError, msgspec.MsgspecError):
        return None


def _path(folder: Path) -> Path:
    return folder / "journal"


def _names_path(folder: Path) -> Path:
    return folder / "journal.names"


def _names(folder: Path) -> _Names:
    return msgspec.msgpack.decode(_names_path(folder).read_bytes(), type=_Names)


def _write_names(folder: Path, names: _Names) -> None:
    fresh = folder / "journal.names.new"
    fresh.write_bytes(msgspec.msgpack.encode(names))
    fresh.replace(_names_path(folder))


def _opened(folder: Path, key: str, capacity: int) -> mmap.mmap:
    """The ring of this key, or a new one: also where the node was started anew, since pages may have been lost
    singly."""
    path = _path(folder)
    header = _HEADER.pack(_MAGIC, capacity, boot_id())
    size = _HEADER_BYTES + capacity * _RECORD_BYTES
    if remembered(folder) != key or not _fits(path, header, size):
        _write_names(folder, _Names(key))
        fresh = path.with_suffix(".new")
        with fresh.open("wb") as file:
            file.write(header)
            # Not only a length: where the disk is full it is now that it must be told, not when a page is written.
            os.posix_fallocate(file.fileno(), 0, size)
        fresh.replace(path)
    with path.open("r+b") as file:
        return mmap.mmap(file.fileno(), size)


def _fits(path: Path, header: bytes, size: int) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(header)) == header and os.fstat(file.fileno()).st_size == size
    except FileNotFoundError:
        return False
