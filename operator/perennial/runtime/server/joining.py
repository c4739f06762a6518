"""Labels that a Job brings for predictions that this pod remembers, from a table or from a pod that was sent them with
receipts: judged and counted as those that come with receipts to this one are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from perennial.runtime.server.counts.epochs import Book
from perennial.runtime.server.counts.journal import Journal, Record
from perennial.runtime.server.feedback import check_class, judge
from perennial.wire.journal import Match, Outcome, Outcomes, Received
from perennial.wire.schema import Class


class Joining:
    """Takes labels for one pod. `model` is the digest that it serves."""

    def __init__(self, book: Book, journal: Journal, model: str) -> None:
        self._book = book
        self._journal = journal
        self._model = model

    def __call__(self, matches: list[Match]) -> Outcomes:
        """What became of labels of a table."""
        return _each(matches, self._join)

    def receive(self, labels: list[Received]) -> Outcomes:
        """What became of labels that came with receipts."""
        return _each(labels, self._receive)

    def _join(self, match: Match) -> Outcome:
        record = self._journal.find(match.at, match.key)
        return Outcome.GONE if record is None else self._take(match.at, record, match.mark, match.label)

    def _receive(self, received: Received) -> Outcome:
        number = self._journal.number_of(received.id)
        if number is None:
            return Outcome.GONE
        return self._take(number, self._journal.at(number), received.id, received.label)

    def _take(self, number: int, record: Record, mark: int, label: float | Class) -> Outcome:
        counted = Outcome.COUNTED if record.receipt.model.hex() == self._model else Outcome.LATE
        if record.mark:
            return counted if record.mark == mark else Outcome.DUPLICATE
        check_class(label, record.classes)
        # A crash between the two leaves a label that is counted and not marked: see `Journal.repair`.
        self._book.label(judge(record.receipt, label))
        self._journal.mark(number, mark)
        return counted


GivenT = TypeVar("GivenT")


def _each(given: list[GivenT], take: Callable[[GivenT], Outcome]) -> Outcomes:
    """A label that is nonsense spoils no other."""
    outcomes, rejected = bytearray(), None
    for one in given:
        try:
            outcomes.append(take(one))
        except ValueError as error:
            outcomes.append(Outcome.REJECTED)
            rejected = rejected or str(error)
    return Outcomes(bytes(outcomes), rejected)
