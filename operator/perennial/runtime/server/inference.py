"""From an inference request to its answer, with everything that happens to its rows on the way."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from perennial.runtime.server import receipt as receipts
from perennial.runtime.server.companion import Companion, Sample
from perennial.runtime.server.counting import Counting
from perennial.runtime.server.engine import Answers, datatype_of
from perennial.runtime.server.feedback import uniform_ends
from perennial.runtime.server.model import Model
from perennial.runtime.server.receipt import Ids, Receipt
from perennial.runtime.server.refusal import Refusal, invalid
from perennial.runtime.server.rows import Gatherer, Rows
from perennial.runtime.server.scheduling import Scheduler, Scores
from perennial.runtime.server.tensors import InferenceRequest
from perennial.wire.schema import LABEL, PREDICTION, PROBABILITIES, Schema

logger = logging.getLogger(__name__)

PREDICT, PREDICT_PROBA = "predict", "predict_proba"
"""scikit-learn's names for the outputs, which clients of other servers ask for."""


class OutputTensor(msgspec.Struct):
    name: str
    shape: list[int]
    datatype: str
    data: list[Any]


class InferenceResponse(msgspec.Struct, omit_defaults=True):
    model_name: str
    model_version: str
    outputs: list[OutputTensor]
    id: str | None = None
    parameters: dict[str, list[str]] | None = None


Output = Callable[[str, Answers], OutputTensor]
NamedOutput = tuple[str, Output]
Compared = tuple[NDArray[np.intp], Answers]
"""Which rows the companion scored, and what it said to them."""


Answered = Callable[[InferenceResponse | Exception], None]


@dataclass(slots=True)
class Asked:
    """A request that fits the model, and who waits for its answer."""

    request: InferenceRequest
    rows: Rows
    outputs: list[NamedOutput]
    answered: Answered


class Intake:
    """Which requests fit a model: what it takes, and what it can be asked for."""

    def __init__(self, schema: Schema) -> None:
        self._gather = Gatherer(schema)
        self._default, self._named = _outputs(schema)

    def __call__(self, request: InferenceRequest, answered: Answered) -> Asked:
        """Raises Refusal 400 that names the field which does not fit."""
        return Asked(request, self._gather(request), self._outputs_of(request), answered)

    def fits(self, request: InferenceRequest) -> bool:
        try:
            self._gather(request)
            self._outputs_of(request)
        except Refusal:
            return False
        return True

    def _outputs_of(self, request: InferenceRequest) -> list[NamedOutput]:
        if not request.outputs:
            return self._default
        asked = []
        for position, output in enumerate(request.outputs):
            if output.name not in self._named:
                known = ", ".join(self._named)
                raise invalid(f"outputs[{position}].name", f"{output.name!r} is not an output; there are {known}")
            asked.append((output.name, self._named[output.name]))
        return asked


class Predictor:
    """Answers inference requests of one model.

    `predecessor` is what the version took that was stable when this one was rolled out, once that is known.
    """

    def __init__(self, name: str, model: Model, counting: Counting) -> None:
        self.model = model
        self.companion: Companion | None = None
        self.predecessor: Intake | None = None
        self._name = name
        self._counting = counting
        self._intake = Intake(model.schema)
        self._scheduler = Scheduler(self, inline_rows=model.inline_rows, batch_rows=model.batch_rows)
        self._comparing: set[asyncio.Task[None]] = set()
        self._companion_pool = ThreadPoolExecutor(1, "companion")
        self._receipt = _receipt_of(model)
        self._ids = Ids()

    def infer(self, request: InferenceRequest, answered: Answered) -> None:
        """Have a request answered: `answered` is called once, on the event loop, with the answer or what went wrong,
        a Refusal where the client or the model is to blame (422: what the model cannot work with).

        Raises Refusal 400 at once for what the client can mend.
        """
        self._scheduler.submit(self._taken(request, answered))

    def _taken(self, request: InferenceRequest, answered: Answered) -> Asked:
        """A request that only the version before took is no client's mistake: this version breaks its clients, which a
        rollout has to see as errors."""
        try:
            return self._intake(request, answered)
        except Refusal as refusal:
            if self.predecessor is None or not self.predecessor.fits(request):
                raise
            raise Refusal(422, f"{refusal.message}; the version before this one took such requests") from refusal

    def compute(self, rows: Rows) -> Answers:
        try:
            return self.model.engine(rows)
        except ValueError as error:
            # scikit-learn's way to say that it cannot work with such values, for example with missing ones. The request
            # is well formed: it is the model that fails, and a rollout counts that.
            raise Refusal(422, f"the model does not take these rows: {error}") from error

    def count(self, rows: Rows, answers: Answers) -> Scores:
        return self._counting.add(rows, answers)

    def fail(self, asked: Asked, error: Exception) -> None:
        asked.answered(error)

    def answer(self, asked: Asked, answers: Answers, scores: Scores) -> None:
        """Have a sample of the rows compared, and answer."""
        wants_receipt = asked.request.parameters is not None and asked.request.parameters.receipt
        if wants_receipt and self.companion is not None:
            compared = self._answer_compared(self.companion, asked, answers, scores)
            task = asyncio.get_running_loop().create_task(compared)
            self._comparing.add(task)
            task.add_done_callback(self._comparing.discard)
            return
        if self.companion is not None:
            self._compare_later(self.companion, asked.rows, answers)
        self._answer(asked, answers, scores, None, wants_receipt=wants_receipt)

    async def _answer_compared(self, companion: Companion, asked: Asked, answers: Answers, scores: Scores) -> None:
        compared = await self._compare(companion, asked.rows, answers)
        self._answer(asked, answers, scores, compared, wants_receipt=True)

    def _answer(
        self, asked: Asked, answers: Answers, scores: Scores, compared: Compared | None, *, wants_receipt: bool
    ) -> None:
        try:
            response = self._response(asked, answers)
            if wants_receipt:
                response.parameters = {"receipts": self._receipts(answers, scores, compared)}
        except Exception as error:
            asked.answered(error)
        else:
            asked.answered(response)

    def _response(self, asked: Asked, answers: Answers) -> InferenceResponse:
        outputs = [output(name, answers) for name, output in asked.outputs]
        return InferenceResponse(self._name, self.model.version, outputs, asked.request.id)

    async def score_samples(self) -> None:
        """Score what waits for the companion, as far as its budget goes."""
        companion = self.companion
        while companion is not None and (sample := companion.due()) is not None:
            await self._score(companion, sample, inline=False)

    def _compare_later(self, companion: Companion, rows: Rows, answers: Answers) -> None:
        chosen = companion.sample(rows.count)
        if chosen is None:
            return
        if not companion.later(Sample(rows.take(chosen), Answers(answers.predictions[chosen]))):
            self._counting.totals.not_compared(len(chosen))

    async def _compare(self, companion: Companion, rows: Rows, answers: Answers) -> Compared | None:
        """Have a sample of the rows scored by the companion before their receipts are written."""
        chosen = companion.sample(rows.count)
        if chosen is None:
            return None
        if not companion.afford(len(chosen)):
            self._counting.totals.not_compared(len(chosen))
            return None
        sample = Sample(rows.take(chosen), Answers(answers.predictions[chosen]))
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
        return other

    def _receipts(self, answers: Answers, scores: Scores, compared: Compared | None) -> list[str]:
        predictions = answers.predictions.tolist()
        cells = self._counting.score_cells(scores) if scores is not None else [0] * len(predictions)
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
                    id=self._ids(),
                    issued=issued,
                    prediction=prediction,
                    score_cell=cell,
                    companion=paired.get(row),
                )
            )
            for row, (prediction, cell) in enumerate(zip(predictions, cells, strict=True))
        ]


def _outputs(schema: Schema) -> tuple[list[NamedOutput], dict[str, Output]]:
    """The outputs given when none are asked for, and all by each of their names."""
    datatype = datatype_of(schema)

    def predictions(name: str, answers: Answers) -> OutputTensor:
        return OutputTensor(name, [len(answers.predictions)], datatype, answers.predictions.tolist())

    def probabilities(name: str, answers: Answers) -> OutputTensor:
        assert answers.probabilities is not None
        return OutputTensor(name, list(answers.probabilities.shape), "FP64", answers.probabilities.ravel().tolist())

    name = PREDICTION if schema.task == "regression" else LABEL
    default: list[NamedOutput] = [(name, predictions)]
    named: dict[str, Output] = {name: predictions, PREDICT: predictions}
    if schema.task == "classification" and schema.score != "label":
        default.append((PROBABILITIES, probabilities))
        named |= {PROBABILITIES: probabilities, PREDICT_PROBA: probabilities}
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
