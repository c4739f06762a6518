"""The companion: the model that was stable when this revision was made, asked the same questions, so that the two can
be compared on the same rows however traffic is split.

It is asked for a random sample only, beside the event loop, and never beyond its budget: a tenth of the time. A
request that asks for receipts has its sample's answers computed before it is answered, because the paired loss of a
label that comes a week later must be in the receipt: the row itself is not kept.
"""

from __future__ import annotations

import random
import time
from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from perennial.runtime.scoring import label_text
from perennial.runtime.server.counts.totals import Totals
from perennial.runtime.server.engine import Answers
from perennial.runtime.server.model import Model
from perennial.runtime.server.rows import Rows, joined
from perennial.wire.reference import Reference
from perennial.wire.schema import Schema

SHARE = 0.1
"""The part of the time that the companion may take."""
ROWS_A_SECOND = 500
BATCH = 32
_BURST_SECONDS = 0.2
_QUEUE = 16


class Incomparable(ValueError):
    """The companion cannot answer this model's rows."""


@dataclass
class Sample:
    """Rows of one request that the companion is to score, and what the model said to them. `remembered` are the numbers
    of those predictions in the journal, where there is one.
    """

    rows: Rows
    answers: Answers
    remembered: list[int] = field(default_factory=list)


class Companion:
    """A second model and its budget. Only `score` may run beside the event loop."""

    def __init__(self, model: Model, main: Model) -> None:
        self.digest = model.digest
        self.classes = model.schema.classes
        self._engine = model.engine
        self._numbers, self._texts = _columns(model.schema, main.schema)
        self._tolerance = tolerance(main.reference)
        self._regression = main.schema.task == "regression"
        self._row_seconds = model.seconds_a_row
        self.inline_rows = model.inline_rows
        self._credit = _BURST_SECONDS
        self._refilled = time.monotonic()
        self._probability = 1.0
        self._seen = 0
        self._queue: deque[Sample] = deque()

    def tick(self) -> None:
        """Once a second: adapt the sampling to the traffic, so that the sample is spread evenly over it."""
        allowed = min(ROWS_A_SECOND, SHARE / max(self._row_seconds, 1e-9))
        self._probability = min(1.0, allowed / max(self._seen, 1))
        self._seen = 0

    def sample(self, rows: int) -> NDArray[np.intp] | None:
        """Which of a request's rows to compare, None for none of them."""
        self._seen += rows
        if self._probability < 1.0 and rows == 1:
            return None if random.random() >= self._probability else _FIRST
        chosen = np.flatnonzero(np.random.random(rows) < self._probability)
        if not len(chosen):
            return None
        return np.sort(np.random.choice(chosen, BATCH, replace=False)) if len(chosen) > BATCH else chosen

    def afford(self, rows: int) -> bool:
        """Whether the budget has time for the rows now."""
        now = time.monotonic()
        self._credit = min(_BURST_SECONDS, self._credit + SHARE * (now - self._refilled))
        self._refilled = now
        return self._credit >= rows * self._row_seconds

    def later(self, sample: Sample) -> bool:
        """Put a sample off until there is time; False where too many wait already."""
        if len(self._queue) >= _QUEUE * BATCH:
            return False
        self._queue.append(sample)
        return True

    def due(self) -> Sample | None:
        """What to score now, about one batch of rows: together they cost little more than one."""
        due: list[Sample] = []
        rows = 0
        while self._queue and rows < BATCH and self.afford(rows + self._queue[0].rows.count):
            due.append(self._queue.popleft())
            rows += due[-1].rows.count
        return _together(due) if due else None

    def score(self, rows: Rows) -> tuple[Answers, float]:
        """The companion's answers and the seconds that they took."""
        started = time.perf_counter()
        texts = rows.texts[:, self._texts] if rows.texts is not None and len(self._texts) else None
        answers = self._engine(Rows(rows.count, np.ascontiguousarray(rows.numbers[:, self._numbers]), texts))
        return answers, time.perf_counter() - started

    def compare(self, totals: Totals, mine: Answers, other: Answers, seconds: float) -> None:
        """Count how often the two disagree, and charge the time."""
        rows = len(mine.predictions)
        self._credit -= seconds
        self._row_seconds += 0.1 * (seconds / rows - self._row_seconds)
        totals.compared(rows, self._disagreed(mine, other), seconds)

    def _disagreed(self, mine: Answers, other: Answers) -> int:
        if self._regression:
            near = np.abs(mine.predictions - other.predictions) <= self._tolerance
            both_missing = np.isnan(mine.predictions) & np.isnan(other.predictions)
            return int(np.sum(~(near | both_missing)))
        pairs = zip(mine.predictions.tolist(), other.predictions.tolist(), strict=True)
        return sum(label_text(first) != label_text(second) for first, second in pairs)


def _together(samples: list[Sample]) -> Sample:
    predictions = np.concatenate([sample.answers.predictions for sample in samples])
    remembered = [number for sample in samples for number in sample.remembered or [-1] * sample.rows.count]
    return Sample(joined([sample.rows for sample in samples]), Answers(predictions), remembered)


_FIRST = np.zeros(1, np.intp)


def tolerance(reference: Reference | None) -> float:
    """How far two predictions of a regression may lie apart without disagreeing: one bin of the loss, in its scale.

    Two predictions nearer than that would mostly count the same loss. Without a reference any difference counts.
    """
    if reference is None or reference.loss is None:
        return 0.0
    return reference.loss.scale * next(end for end in reference.loss.values if end > 0)


def _columns(companion: Schema, main: Schema) -> tuple[list[int], list[int]]:
    """Where the companion's columns are among this model's. Raises Incomparable where one is not there."""
    if companion.task != main.task:
        raise Incomparable(f"it is for {companion.task}, this model for {main.task}")
    kinds = {feature.name: feature.kind for feature in main.features}
    for feature in companion.features:
        if kinds.get(feature.name) != feature.kind:
            raise Incomparable(f"its {feature.kind} feature {feature.name!r} is not one of this model's")
    return [main.numbers.index(name) for name in companion.numbers], [
        main.texts.index(name) for name in companion.texts
    ]
