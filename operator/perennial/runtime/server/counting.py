"""Everything that a pod counts, put together for one model: drift cells, totals, labels and their epochs."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from perennial.runtime.binning import numeric_cells
from perennial.runtime.server.companion import Companion
from perennial.runtime.server.counted import Counted
from perennial.runtime.server.counts import journal as journals
from perennial.runtime.server.counts import slot as slots
from perennial.runtime.server.counts.epochs import Book
from perennial.runtime.server.counts.journal import Basis, Journal
from perennial.runtime.server.counts.mapped import Layout, open_counts
from perennial.runtime.server.counts.tally import Coder, Tally
from perennial.runtime.server.counts.totals import Totals
from perennial.runtime.server.counts.waiting import Waiting
from perennial.runtime.server.engine import Answers, Scorer
from perennial.runtime.server.model import Model
from perennial.runtime.server.rows import Rows
from perennial.wire.reference import Numeric

logger = logging.getLogger(__name__)


class Counting:
    """One worker's counting into the folder's files. Without a reference there are totals and labels, but no cells."""

    def __init__(self, folder: Path, model: Model, companion: str | None) -> None:
        reference, schema = model.reference, model.schema
        self._reference = reference
        self._scorer = self._coder = None
        tally: slots.Tallies = _no_cells
        layout = Layout(0, 0, 0)
        if reference is not None:
            self._scorer = Scorer(schema, reference)
            self._coder = Coder(reference, schema) if schema.texts else None
            tally = cells = Tally(reference, schema)
            layout = Layout(len(schema.numbers), len(schema.texts), cells.cells)
        self.mapped = open_counts(folder, layout, model.digest)
        self._slot = slots.claim(self.mapped, tally)
        self.totals = Totals(self._slot.totals)
        self.book = Book(self.mapped, self._read, time.time, companion)
        self.journal: Journal | None = None
        self.waiting = Waiting(folder)

    @property
    def kept(self) -> str | None:
        """By which key predictions are to be remembered."""
        return journals.remembered(self.mapped.folder)

    def keep(self, key: str | None, basis: Basis) -> None:
        """Remember predictions by this key from here on, None by none."""
        if self.journal is not None and self.journal.key == key:
            return
        self.journal = None
        try:
            journals.remember(self.mapped.folder, key)
            self.journal = Journal(self.mapped.folder, key, basis) if key is not None else None
            if self.journal is not None and self.book.newest is not None:
                self.journal.repair(self.book.newest)
        except OSError as error:
            logger.warning("predictions are not remembered, labels from a table will not find them: %s", error)

    def add(self, rows: Rows, answers: Answers) -> Counted:
        """Count rows and what the model said to them."""
        self.totals.predicted(rows.count)
        scores = None if self._scorer is None else self._scorer(answers)
        counted = Counted(scores)
        if self.journal is not None and rows.keys is not None:
            counted.appended = self.journal.append(rows.keys, answers, scores)
        if scores is None:
            return counted
        codes = self._coder(rows.texts) if self._coder is not None and rows.texts is not None else None
        self._slot.add(rows.numbers, codes, scores)
        return counted

    def remembered(self, counted: Counted, chosen: Iterable[int]) -> list[int]:
        """Numbers of these rows' predictions, -1 for none; empty where none are remembered."""
        appended = counted.appended
        if appended is None or appended.journal is not self.journal:
            return []
        return self.journal.numbers(appended, [counted.start + row for row in chosen])

    def ids(self, counted: Counted, rows: int) -> list[int]:
        """Ids of the rows' predictions, -1 for those that are not remembered; empty where none are."""
        numbers = self.remembered(counted, range(rows))
        return [number if self.journal is None or number < 0 else self.journal.id_of(number) for number in numbers]

    def paired(self, remembered: list[int], companion: Companion, other: Answers) -> None:
        """Remember what the companion said to rows that are remembered."""
        if self.journal is not None and remembered:
            digest = bytes.fromhex(companion.digest)
            self.journal.pair(remembered, digest, companion.classes, other.predictions.tolist())

    def score_cells(self, scores: NDArray[np.float64]) -> list[int]:
        """The cells of scores that `add` gave."""
        if self._reference is None:
            return []
        column = self._reference.score
        cells = numeric_cells(column, scores) if isinstance(column, Numeric) else scores.astype(np.intp)
        found: list[int] = cells.tolist()
        return found

    def flush(self) -> None:
        """Sort buffered rows into cells; once a second, so that an epoch misses less than a second."""
        self._slot.flush()
        if self.journal is not None:
            self.journal.flush()

    def _read(self) -> NDArray[np.int64]:
        self._slot.flush()
        return slots.snapshot_all(self.mapped)


def _no_cells(rows: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.zeros(0, np.int64)
