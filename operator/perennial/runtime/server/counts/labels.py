"""The ledger of labels: fixed-size records in a ring of the counts file, each made whole before it is counted as
written.

The ring is a log between two epochs (a crash replays it) and the memory against duplicates: a receipt that is among
the newest records was already answered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from operator import add as plus
from typing import TypeVar

import numpy as np

from perennial.runtime.server.counts.mapped import LABELS, Mapped
from perennial.wire import counts as wire
from perennial.wire.counts import summed
from perennial.wire.stats import Pairs

MOMENTS = 2048
"""How many moments of predictions an epoch tells apart. Labels of more come by twice as long ones: of a week at once to
five minutes or so."""


@dataclass(frozen=True)
class Label:
    """A label that came back, already judged: which cells it counts in, under which model's digest. `issued` is the
    Unix second that the prediction was made in.

    `score_cells` 0 means that the score's cell is not known; `companion` is empty where the companion did not score
    the row.
    """

    id: int
    issued: int
    model: str
    loss: float
    loss_cell: int
    loss_cells: int
    score_cell: int
    score_cells: int
    positive: bool
    companion: str = ""
    companion_loss: float = 0.0

    @property
    def pair(self) -> Pairs:
        """The row as one that the companion scored too."""
        return Pairs(1, self.loss, self.companion_loss, (self.loss - self.companion_loss) ** 2)


class Ledger:
    """Labels in the order in which they came."""

    def __init__(self, mapped: Mapped) -> None:
        self._words, self._records = mapped.labels()
        self._seen = {int(id_) for id_ in self._records["id"][: min(self.written, LABELS)]}

    @property
    def written(self) -> int:
        """How many labels were ever written."""
        return int(self._words[0])

    @property
    def newest(self) -> int | None:
        """The id of the last label; None before the first."""
        return int(self._records["id"][(self.written - 1) % LABELS]) if self.written else None

    def __contains__(self, id_: int) -> bool:
        return id_ in self._seen

    def append(self, label: Label) -> None:
        """Write a label over the oldest one, which must be in an epoch by then."""
        position = self.written % LABELS
        if self.written >= LABELS:
            self._seen.discard(int(self._records["id"][position]))
        self._records[position] = (
            label.id,
            label.issued,
            bytes.fromhex(label.model),
            bytes.fromhex(label.companion),
            label.loss_cells,
            label.loss_cell,
            label.score_cells,
            label.score_cell,
            label.positive,
            bool(label.companion),
            label.loss,
            label.companion_loss,
        )
        self._seen.add(label.id)
        self._words[0] = self.written + 1

    def since(self, start: int) -> list[Label]:
        """The labels from the `start`-th on; at most the ring's length of them are left."""
        return [_label(self._records[number % LABELS]) for number in range(start, self.written)]


def count(labels: list[Label]) -> dict[str, wire.Labels]:
    """Labels as an epoch has them, by model digest."""
    counted: dict[str, wire.Labels] = {}
    for label in labels:
        add(counted.setdefault(label.model, wire.Labels()), label)
    return counted


def add(counts: wire.Labels, label: Label) -> None:
    """Count one label."""
    moment = label.issued - label.issued % counts.grain
    _increment(counts.loss.setdefault(moment, []), label.loss_cells, label.loss_cell)
    if label.companion:
        paired = counts.pairs.setdefault(label.companion, {})
        paired[moment] = paired.get(moment, Pairs()) + label.pair
    _coarsen(counts)
    if not label.score_cells:
        return
    _increment(counts.score, label.score_cells, label.score_cell)
    _increment(counts.by_score, label.score_cells, label.score_cell, int(label.positive))


def merge(first: wire.Labels, second: wire.Labels) -> wire.Labels:
    """Both, by moments that are as long as the longer ones of either."""
    grain = max(first.grain, second.grain)
    merged = wire.Labels(
        loss=_by_moment([first.loss, second.loss], grain, summed),
        grain=grain,
        by_score=summed(first.by_score, second.by_score),
        score=summed(first.score, second.score),
        pairs={
            name: _by_moment([first.pairs.get(name, {}), second.pairs.get(name, {})], grain, plus)
            for name in first.pairs | second.pairs
        },
    )
    _coarsen(merged)
    return merged


CountT = TypeVar("CountT")


def _by_moment(
    counts: Iterable[dict[int, CountT]], grain: int, join: Callable[[CountT, CountT], CountT]
) -> dict[int, CountT]:
    """Counts by moments of so many seconds."""
    by: dict[int, CountT] = {}
    for start, one in (item for each in counts for item in each.items()):
        moment = start - start % grain
        by[moment] = join(by[moment], one) if moment in by else one
    return by


def _coarsen(counts: wire.Labels) -> None:
    """Rows that the companion has scored too are some of all: they have no more moments than these."""
    while len(counts.loss) > MOMENTS:
        counts.grain *= 2
        counts.loss = _by_moment([counts.loss], counts.grain, summed)
        counts.pairs = {name: _by_moment([made], counts.grain, plus) for name, made in counts.pairs.items()}


def _increment(cells: list[int], length: int, cell: int, by: int = 1) -> None:
    cells.extend([0] * (length - len(cells)))
    cells[cell] += by


def _label(record: np.void) -> Label:
    return Label(
        id=int(record["id"]),
        issued=int(record["issued"]),
        model=record["model"].tobytes().hex(),
        companion=record["companion"].tobytes().hex() if record["paired"] else "",
        loss_cells=int(record["loss_cells"]),
        loss_cell=int(record["loss_cell"]),
        score_cells=int(record["score_cells"]),
        score_cell=int(record["score_cell"]),
        positive=bool(record["positive"]),
        loss=float(record["loss"]),
        companion_loss=float(record["companion_loss"]),
    )
