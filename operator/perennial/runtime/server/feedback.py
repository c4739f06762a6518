"""Labels that come back: each with the receipt of its prediction, judged by what the receipt says and counted under
its model.

A label may come late, twice, for a model that is not served any more, or be nonsense: every one of them is answered
for, none spoils the others. One whose prediction is remembered by key may come in a table too: it is counted where the
prediction is remembered, and waits where that is not here (`counts/waiting.py`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from enum import Enum
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from perennial.runtime.binning import loss_cells
from perennial.runtime.scoring import regression_loss, same_label
from perennial.runtime.server import receipt as receipts
from perennial.runtime.server.counts.labels import Label
from perennial.runtime.server.counts.waiting import Waits
from perennial.runtime.server.receipt import BadReceipt, Receipt
from perennial.runtime.server.refusal import malformed
from perennial.wire.schema import Class

if TYPE_CHECKING:
    from perennial.runtime.server.counting import Counting
    from perennial.runtime.server.model import Model


class Item(msgspec.Struct):
    """One label and the receipt that came with its prediction."""

    receipt: str
    label: float | Class


class Rejected(msgspec.Struct):
    index: int
    message: str


class Verdict(msgspec.Struct):
    """What became of the labels. Of the accepted ones `retired` were for a model that this pod does not serve, and
    `waiting` count with the next join of the table."""

    accepted: int = 0
    duplicates: int = 0
    retired: int = 0
    waiting: int = 0
    rejected: list[Rejected] = []


class Taken(Enum):
    """What became of one label."""

    ACCEPTED = "accepted"
    RETIRED = "retired"
    WAITING = "waiting"
    DUPLICATE = "duplicate"


class _Body(msgspec.Struct):
    labels: list[msgspec.Raw]


_decode_body = msgspec.json.Decoder(_Body).decode
_decode_item = msgspec.json.Decoder(Item).decode


class Feedback:
    """Takes labels for one pod, which serves `model`."""

    def __init__(self, counting: Counting, model: Model) -> None:
        self._book = counting.book
        self._journal = counting.journal
        self._waiting = counting.waiting
        self._model = model.digest
        self._schema = model.schema

    def __call__(self, body: bytes) -> Verdict:
        """Raises Refusal 400 when the body as a whole is not what it must be."""
        try:
            raw = _decode_body(body).labels
        except (ValueError, RecursionError) as error:
            raise malformed(error) from error
        verdict = Verdict(rejected=[])
        for index, item in enumerate(raw):
            try:
                outcome = self._take(item)
            except (ValueError, RecursionError) as error:
                verdict.rejected.append(Rejected(index, _said(error)))
                continue
            verdict.duplicates += outcome is Taken.DUPLICATE
            verdict.accepted += outcome is not Taken.DUPLICATE
            verdict.retired += outcome is Taken.RETIRED
            verdict.waiting += outcome is Taken.WAITING
        return verdict

    def settle(self, counted: Iterable[int], forgotten: Iterable[int]) -> None:
        """Of the labels that wait, these were `counted` elsewhere. Those `forgotten` are counted here."""
        ids = set(forgotten)
        for item in self._waiting.all:
            if item.id in ids:
                self._book.label(judge(receipts.read(item.receipt), item.label))
        # A crash before this has them asked about again: the ledger knows those that are counted.
        self._waiting.forget([*counted, *ids])

    def settle_all(self) -> None:
        """Count what waits here: nobody joins labels any more, or the predictions are remembered nowhere."""
        if len(self._waiting):
            self.settle((), [item.id for item in self._waiting.all])

    def _take(self, raw: msgspec.Raw) -> Taken:
        item = _decode_item(raw)
        receipt = receipts.read(item.receipt)
        label = self._judge(receipt, item.label)
        number = None
        if receipt.kept and self._journal is not None:
            number = self._journal.number_of(receipt.id)
            if number is None and not self._waiting.ends:
                return self._wait(Waits(receipt.id, item.receipt, item.label))
            if number is not None and self._journal.at(number).mark:
                return Taken.DUPLICATE
        if not self._book.label(label):
            return Taken.DUPLICATE
        if number is not None and self._journal is not None:
            self._journal.mark(number, receipt.id)
        return Taken.ACCEPTED if label.model == self._model else Taken.RETIRED

    def _wait(self, item: Waits) -> Taken:
        """Raises ValueError where too many wait."""
        if item.id in self._book or item.id in self._waiting:
            return Taken.DUPLICATE
        if self._waiting.is_full:
            raise ValueError(f"{len(self._waiting)} labels wait for the next join of the table: send it again after it")
        self._waiting.add(item)
        return Taken.WAITING

    def _judge(self, receipt: Receipt, label: float | Class) -> Label:
        if receipt.model.hex() == self._model:
            check_class(label, self._schema.classes)
        return judge(receipt, label)


def check_class(label: float | Class, classes: Sequence[Class]) -> None:
    """Raises ValueError where there are classes, and the label is none of them."""
    if classes and not any(same_label(label, known) for known in classes):
        shown = ", ".join(repr(known) for known in classes[:10])
        raise ValueError(
            f"label {label!r} is none of the model's classes ({shown}{', ...' if len(classes) > 10 else ''})"
        )


def judge(receipt: Receipt, label: float | Class) -> Label:
    """The label's loss and cells, from the receipt alone. Raises ValueError for a label that cannot be compared."""
    if receipt.score == "value":
        return _judge_value(receipt, label)
    wrong = not _same(label, receipt.prediction)
    positive = _same(label, receipt.positive) if receipt.score == "positive" and receipt.positive is not None else wrong
    companion = receipt.companion
    return _label(
        receipt,
        loss=float(wrong),
        cell=int(wrong),
        cells=2,
        positive=positive,
        companion_loss=0.0 if companion is None else float(not _same(label, companion.prediction)),
    )


def _judge_value(receipt: Receipt, label: float | Class) -> Label:
    if isinstance(label, (bool, str)) or not math.isfinite(label):
        raise ValueError(f"label {label!r} is not a finite number, which a regression's label is")
    if receipt.loss_ends is None:
        raise ValueError("the model was published without a reference: no loss is known for it")
    ends = uniform_ends(receipt.loss_ends) if isinstance(receipt.loss_ends, int) else receipt.loss_ends
    loss = float(regression_loss(receipt.scale, label, _value(receipt.prediction)))
    cell = min(int(loss_cells(ends, loss)), len(ends) - 1)
    companion = receipt.companion
    return _label(
        receipt,
        loss=loss,
        cell=cell,
        cells=len(ends),
        positive=loss > receipt.loss_mean,
        companion_loss=0.0
        if companion is None
        else float(regression_loss(receipt.scale, label, _value(companion.prediction))),
    )


def uniform_ends(bins: int) -> list[float]:
    """Upper ends of `bins` bins of equal width over (0, 1], after the one that has no loss at all."""
    ends: list[float] = [0.0, *(np.arange(1, bins + 1) / bins).tolist()]
    return ends


def _label(receipt: Receipt, *, loss: float, cell: int, cells: int, positive: bool, companion_loss: float) -> Label:
    return Label(
        id=receipt.id,
        issued=receipt.issued,
        model=receipt.model.hex(),
        loss=loss,
        loss_cell=cell,
        loss_cells=cells,
        score_cell=receipt.score_cell,
        score_cells=receipt.score_cells,
        positive=positive,
        companion="" if receipt.companion is None else receipt.companion.model.hex(),
        companion_loss=companion_loss,
    )


def _same(label: float | Class, known: float | Class) -> bool:
    return not isinstance(known, float) and same_label(label, known)


def _value(prediction: float | Class) -> float:
    if isinstance(prediction, str) or not math.isfinite(prediction):
        raise BadReceipt(f"the prediction was {prediction!r}, which has no loss")
    return float(prediction)


def _said(error: Exception) -> str:
    if isinstance(error, msgspec.ValidationError):
        return malformed(error).message
    return str(error)
