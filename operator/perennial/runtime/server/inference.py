"""From the body of an inference request to the body of its answer, with everything that happens to its rows on the
way.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from perennial.runtime.keys import digest_of_any
from perennial.runtime.server import attributing
from perennial.runtime.server import receipt as receipts
from perennial.runtime.server.answer import ATTRIBUTIONS, BASE_VALUES, PREDICT, PREDICT_PROBA, Answer, Output
from perennial.runtime.server.attributing import Attributions, Attributor, Helper
from perennial.runtime.server.companion import Companion, Sample
from perennial.runtime.server.counted import Counted
from perennial.runtime.server.counting import Counting
from perennial.runtime.server.counts.journal import Basis
from perennial.runtime.server.engine import Answers, datatype_of
from perennial.runtime.server.feedback import Feedback, uniform_ends
from perennial.runtime.server.model import Model
from perennial.runtime.server.receipt import Ids, Receipt
from perennial.runtime.server.records import Reader
from perennial.runtime.server.refusal import Refusal, invalid
from perennial.runtime.server.request import Question
from perennial.runtime.server.rows import Gatherer, Rows, keys_of
from perennial.runtime.server.scheduling import Scheduler, Waiter
from perennial.wire.journal import ID
from perennial.wire.schema import DECISIONS, LABEL, PREDICTION, PROBABILITIES, Schema

logger = logging.getLogger(__name__)

NamedOutput = tuple[str, Callable[[str, Answers], Output]]
Compared = tuple[NDArray[np.intp], Answers]
"""Which rows the companion scored, and what it said to them."""


Answered = Callable[[Answer | Exception], None]


class Client(Waiter, Protocol):
    """Who asks. `explained` is set once they wait for attributions too, which is no measure of the model's time."""

    explained: bool


class Asked(msgspec.Struct, eq=False):
    """A question that fits the model, and who waits for its answer."""

    question: Question
    rows: Rows
    outputs: list[NamedOutput]
    answered: Answered
    waiter: Client
    attributions: Attributions | None = None

    @property
    def alone(self) -> bool:
        """The decision function was not tried to be the same for rows that go together."""
        return DECISIONS in self.question.outputs


class Intake:
    """Which questions fit a model: what it takes, and what it can be asked for."""

    def __init__(self, model: Model) -> None:
        self._manifest = model.manifest
        self._schema = model.schema
        self._gather = Gatherer(model.schema)
        self._read = Reader(model.schema)
        self._key: str | None = None
        self._default, self._named = _outputs(model.schema, decides=model.engine.decide is not None)

    def __call__(self, question: Question) -> tuple[Rows, list[NamedOutput]]:
        """Raises Refusal 400 that names the field which does not fit."""
        records = question.records
        rows = self._gather(question.inputs) if records is None else self._read(records)
        if self._key is not None:
            if rows.keys is None:
                rows.keys = keys_of(self._key, question.inputs, rows.count)
            if self._key == ID:
                _take_id(question, rows)
        if question.attributions:
            attributing.check(self._manifest, rows.count)
        return rows, self._outputs_of(question.outputs)

    def find_by(self, key: str | None) -> None:
        """Give rows the key of this name from here on."""
        self._key = key
        self._read = Reader(self._schema, key)

    def fits(self, question: Question) -> bool:
        try:
            self(question)
        except Refusal:
            return False
        return True

    def _outputs_of(self, names: Sequence[str]) -> list[NamedOutput]:
        if not names:
            return self._default
        asked = []
        for position, name in enumerate(names):
            if name not in self._named:
                known = ", ".join(self._named)
                raise invalid(f"outputs[{position}].name", f"{name!r} is not an output; there are {known}")
            asked.append((name, self._named[name]))
        return asked


def _take_id(question: Question, rows: Rows) -> None:
    """The protocol's own id, where a single row has none of its own."""
    if rows.count == 1 and question.id and not (rows.keys and digest_of_any(rows.keys[0])):
        rows.keys = [question.id]


class Predictor:
    """Answers inference requests of one model.

    `predecessor` is what the version took that was stable when this one was rolled out, once that is known. `is_front`:
    it is another server that predicts.
    """

    is_front = False

    def __init__(self, name: str, model: Model, counting: Counting) -> None:
        self.model = model
        self.companion: Companion | None = None
        self.predecessor: Intake | None = None
        self._name = name
        self._counting = counting
        self._intake = Intake(model)
        self.scheduler = Scheduler(self, inline_rows=model.inline_rows, batch_rows=model.batch_rows)
        self.attributor = Attributor(Helper(model.served, model.manifest), counting.totals.attributed)
        self._comparing: set[asyncio.Task[None]] = set()
        self._attributing: set[asyncio.Task[None]] = set()
        self._companion_pool = ThreadPoolExecutor(1, "companion")
        self._receipt = _receipt_of(model)
        self._ids = Ids()
        self.keep(counting.kept)

    def keep(self, key: str | None) -> None:
        """Remember predictions by the key of this name, for labels that come in a table; None: forget them."""
        reference = self.model.reference
        basis = Basis(self._receipt, self.model.schema.classes, reference.score if reference else None)
        if key != self._counting.kept:
            # What was remembered by another key is forgotten everywhere.
            self.feedback.settle_all()
        self._counting.keep(key, basis)
        self._intake.find_by(key)

    @property
    def feedback(self) -> Feedback:
        """What takes labels."""
        return Feedback(self._counting, self.model)

    def tick(self) -> None:
        """Once a second."""
        if self._counting.waiting.ends:
            self.feedback.settle_all()
        if self.companion is not None:
            self.companion.tick()

    def infer(self, question: Question, answered: Answered, waiter: Client) -> None:
        """Have a question answered: `answered` is called once, on the event loop, with the answer or with what went
        wrong, a Refusal where it is not ours (422: the model cannot work with the rows; 504: the waiter's deadline
        passed, or it is gone).

        Raises Refusal at once: 400 for what the client can mend, 503 where too much waits already.
        """
        asked = self._taken(question, answered, waiter)
        if not question.attributions:
            self.scheduler.submit(asked)
            return
        self.attributor.admit()
        waiter.explained = True
        explaining = asyncio.get_running_loop().create_task(self._submit_explained(asked))
        self._attributing.add(explaining)
        explaining.add_done_callback(self._attributing.discard)

    async def _submit_explained(self, asked: Asked) -> None:
        """Explained first: rows whose attributions do not come in time are not answered, and so not counted either."""
        try:
            asked.attributions = await self.attributor.explain(asked.rows, asked.waiter)
            self.scheduler.submit(asked)
        except Exception as error:
            asked.answered(error)

    def _taken(self, question: Question, answered: Answered, waiter: Client) -> Asked:
        """A question that only the version before took is no client's mistake: this version breaks its clients, which
        a rollout has to see as errors."""
        try:
            rows, outputs = self._intake(question)
            return Asked(question, rows, outputs, answered, waiter)
        except Refusal as refusal:
            if self.predecessor is None or not self.predecessor.fits(question):
                raise
            raise Refusal(422, f"{refusal.message}; the version before this one took such requests") from refusal

    # What the scheduler has done.

    def compute(self, batch: Sequence[Asked], rows: Rows) -> Answers:
        engine = self.model.engine
        try:
            answers = engine(rows)
            if engine.decide is not None and any(asked.alone for asked in batch):
                answers.decisions = engine.decide(rows)
            return answers
        except ValueError as error:
            # scikit-learn's way to say that it cannot work with such values, for example with missing ones. The request
            # is well formed: it is the model that fails, and a rollout counts that.
            raise Refusal(422, f"the model does not take these rows: {error}") from error

    def count(self, rows: Rows, answers: Answers) -> Counted:
        return self._counting.add(rows, answers)

    def waited(self, seconds: float) -> None:
        self._counting.totals.waited(seconds)

    def predicted(self, rows: int, seconds: float) -> None:
        self._counting.totals.batch(rows, seconds)

    def answer(self, asked: Asked, answers: Answers, counted: Counted) -> None:
        if self.companion is not None and asked.question.receipt:
            comparing = asyncio.get_running_loop().create_task(
                self._answer_compared(self.companion, asked, answers, counted)
            )
            self._comparing.add(comparing)
            comparing.add_done_callback(self._comparing.discard)
            return
        if self.companion is not None:
            self._compare_later(self.companion, asked.rows, answers, counted)
        asked.answered(self._said(asked, answers, counted, None))

    def fail(self, asked: Asked, error: Exception) -> None:
        asked.answered(error)

    async def _answer_compared(self, companion: Companion, asked: Asked, answers: Answers, counted: Counted) -> None:
        compared = await self._compare(companion, asked.rows, answers, counted)
        asked.answered(self._said(asked, answers, counted, compared))

    def _said(self, asked: Asked, answers: Answers, counted: Counted, compared: Compared | None) -> Answer | Exception:
        """What is wrong with one answer is said to the one who asked, and to none of its batch."""
        try:
            given = self._receipts(answers, counted, compared) if asked.question.receipt else None
            outputs = [output(name, answers) for name, output in asked.outputs]
            if asked.attributions is not None:
                outputs += _attributed(asked.attributions)
            return Answer(self._name, self.model.version, asked.question.id, outputs, given)
        except Exception as error:
            return error

    async def score_samples(self) -> None:
        """Score what waits for the companion, as far as its budget goes."""
        companion = self.companion
        while companion is not None and (sample := companion.due()) is not None:
            await self._score(companion, sample, inline=False)

    def _compare_later(self, companion: Companion, rows: Rows, answers: Answers, counted: Counted) -> None:
        chosen = companion.sample(rows.count)
        if chosen is None:
            return
        if not companion.later(self._sample(rows, answers, counted, chosen)):
            self._counting.totals.not_compared(len(chosen))

    async def _compare(self, companion: Companion, rows: Rows, answers: Answers, counted: Counted) -> Compared | None:
        """Have a sample of the rows scored by the companion before their receipts are written."""
        chosen = companion.sample(rows.count)
        if chosen is None:
            return None
        if not companion.afford(len(chosen)):
            self._counting.totals.not_compared(len(chosen))
            return None
        sample = self._sample(rows, answers, counted, chosen)
        other = await self._score(companion, sample, inline=len(chosen) <= companion.inline_rows)
        return None if other is None else (chosen, other)

    async def _score(self, companion: Companion, sample: Sample, *, inline: bool) -> Answers | None:
        """What the companion fails at costs the comparison, never the answer."""
        try:
            if inline:
                other, seconds = companion.score(sample.rows)
            else:
                loop = asyncio.get_running_loop()
                other, seconds = await loop.run_in_executor(self._companion_pool, companion.score, sample.rows)
        except Exception as error:
            logger.warning("the companion failed on %d rows: %s", sample.rows.count, error)
            self._counting.totals.not_compared(sample.rows.count)
            return None
        companion.compare(self._counting.totals, sample.answers, other, seconds)
        self._counting.paired(sample.remembered, companion, other)
        return other

    def _sample(self, rows: Rows, answers: Answers, counted: Counted, chosen: NDArray[np.intp]) -> Sample:
        remembered = self._counting.remembered(counted, chosen.tolist())
        return Sample(rows.take(chosen), Answers(answers.predictions[chosen]), remembered)

    def _receipts(self, answers: Answers, counted: Counted, compared: Compared | None) -> list[str]:
        predictions = answers.predictions.tolist()
        rows = len(predictions)
        cells = self._counting.score_cells(counted.scores) if counted.scores is not None else [0] * rows
        kept = self._counting.ids(counted, rows) or [-1] * rows
        paired: dict[int, receipts.Companion] = {}
        if compared is not None and self.companion is not None:
            digest, said = bytes.fromhex(self.companion.digest), compared[1].predictions.tolist()
            paired = {
                row: receipts.Companion(digest, other) for row, other in zip(compared[0].tolist(), said, strict=True)
            }
        issued = int(time.time())
        replace = msgspec.structs.replace
        return [
            receipts.write(
                replace(
                    self._receipt,
                    id=self._ids() if id_ < 0 else id_,
                    issued=issued,
                    prediction=prediction,
                    score_cell=cell,
                    companion=paired.get(row),
                    kept=id_ >= 0,
                )
            )
            for row, (prediction, cell, id_) in enumerate(zip(predictions, cells, kept, strict=True))
        ]


def _attributed(attributions: Attributions) -> list[Output]:
    """[rows, features] and [rows] of one target; [rows, targets, features] and [rows, targets] of more."""
    values = attributions.values
    base = np.broadcast_to(attributions.base, values.shape[:2])
    if values.shape[1] == 1:
        values, base = values[:, 0], base[:, 0]
    return [Output(ATTRIBUTIONS, "FP64", values), Output(BASE_VALUES, "FP64", base)]


def _outputs(schema: Schema, *, decides: bool) -> tuple[list[NamedOutput], dict[str, Callable[[str, Answers], Output]]]:
    """The outputs given when none are asked for, and all by each of their names."""
    datatype = datatype_of(schema)

    def predictions(name: str, answers: Answers) -> Output:
        return Output(name, datatype, answers.predictions)

    def probabilities(name: str, answers: Answers) -> Output:
        assert answers.probabilities is not None
        return Output(name, "FP64", answers.probabilities)

    def decisions(name: str, answers: Answers) -> Output:
        assert answers.decisions is not None
        return Output(name, "FP64", answers.decisions)

    name = PREDICTION if schema.task == "regression" else LABEL
    default: list[NamedOutput] = [(name, predictions)]
    named: dict[str, Callable[[str, Answers], Output]] = {name: predictions, PREDICT: predictions}
    if schema.task == "classification" and schema.score != "label":
        default.append((PROBABILITIES, probabilities))
        named |= {PROBABILITIES: probabilities, PREDICT_PROBA: probabilities}
    if decides:
        named[DECISIONS] = decisions
    return default, named


def _receipt_of(model: Model) -> Receipt:
    """What all receipts of the model have in common."""
    reference, schema = model.reference, model.schema
    receipt = Receipt(0, 0, bytes.fromhex(model.digest), schema.score, 0.0)
    if schema.score == "positive":
        receipt.positive = schema.classes[1]
    if reference is None:
        return receipt
    receipt.score_cells = reference.score.cells
    if schema.task == "regression" and reference.loss is not None:
        ends = reference.loss.values
        receipt.loss_ends = len(ends) - 1 if ends == uniform_ends(len(ends) - 1) else ends
        receipt.scale, receipt.loss_mean = reference.loss.scale, reference.loss.mean
    return receipt
