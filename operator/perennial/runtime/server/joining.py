"""Labels that a Job found in a table, for predictions that this pod remembers: judged and counted as those that come
with receipts are.
"""

from __future__ import annotations

from perennial.runtime.server.counts.epochs import Book
from perennial.runtime.server.counts.journal import Journal
from perennial.runtime.server.feedback import check_class, judge
from perennial.wire.journal import Match, Outcome, Outcomes


class Joining:
    """Takes labels for one pod. `model` is the digest that it serves."""

    def __init__(self, book: Book, journal: Journal, model: str) -> None:
        self._book = book
        self._journal = journal
        self._model = model

    def __call__(self, matches: list[Match]) -> Outcomes:
        """What became of each. A label that is nonsense spoils no other."""
        outcomes, rejected = bytearray(), None
        for match in matches:
            try:
                outcomes.append(self._take(match))
            except ValueError as error:
                outcomes.append(Outcome.REJECTED)
                rejected = rejected or str(error)
        return Outcomes(bytes(outcomes), rejected)

    def _take(self, match: Match) -> Outcome:
        record = self._journal.find(match.at, match.key)
        if record is None:
            return Outcome.GONE
        counted = Outcome.COUNTED if record.receipt.model.hex() == self._model else Outcome.LATE
        if record.mark:
            return counted if record.mark == match.mark else Outcome.DUPLICATE
        check_class(match.label, record.classes)
        # A crash between the two leaves a label that is counted and not marked: the ledger knows it then.
        self._book.label(judge(record.receipt, match.label))
        self._journal.mark(match.at, match.mark)
        return counted
