"""Numbered epochs: what was counted between two calls, kept until the reader says that it has it for good.

Counts in the mapped file only grow; an epoch is their difference to where the epoch before it ended. That place, and
the epochs not yet acknowledged, are one small file that is replaced as a whole, so a crash before or after the
replacement is a state that makes sense.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from perennial.runtime.server.counts import labels, stretches
from perennial.runtime.server.counts.labels import Label, Ledger
from perennial.runtime.server.counts.mapped import LABELS, Mapped
from perennial.runtime.server.counts.totals import unread_rows
from perennial.wire.counts import Epoch, Epochs, Labels, ModelCounts, Take, summed
from perennial.wire.stats import Challenger, Pairs

KEPT = 8
"""Epochs kept unacknowledged. With so many waiting no further one is closed: the open one goes on."""

KEPT_MOMENTS = 4 * labels.MOMENTS
"""The same for labels of predictions of so many moments: some 3 MiB, of 8 that a reader takes at once."""

READER_GONE_SECONDS = 600.0

CHALLENGERS = 4
"""Other models of which labels are summed up, those whose rows were predicted last."""


class LabelTotals(msgspec.Struct):
    """Sums over all labels of the pod's own model; the paired ones are those that its companion had scored too.
    `challengers` are as in `Stats`."""

    labels: int = 0
    loss: float = 0.0
    pairs: Pairs = Pairs()
    challengers: dict[str, Challenger] = {}

    def add(self, label: Label, companion: str | None) -> None:
        self.labels += 1
        self.loss += label.loss
        if companion is not None and label.companion == companion:
            self.pairs += label.pair

    def challenge(self, label: Label) -> None:
        stretches.add(self.challengers.setdefault(label.model, Challenger()).stretches, label)
        if len(self.challengers) > CHALLENGERS:
            del self.challengers[min(self.challengers, key=self._newest)]

    def _newest(self, challenger: str) -> int:
        return max((stretch.last for stretch in self.challengers[challenger].stretches.values()), default=0)

    def copy(self) -> LabelTotals:
        copied = {model: Challenger(dict(each.stretches)) for model, each in self.challengers.items()}
        return msgspec.structs.replace(self, challengers=copied)


class _Waiting(msgspec.Struct):
    epoch: Epoch
    sent: bool = False


class _State(msgspec.Struct):
    incarnation: str
    opened: float
    number: int = 0
    counted: bytes = b""
    unread: int = 0
    labelled: int = 0
    totals: LabelTotals = msgspec.field(default_factory=LabelTotals)
    waiting: list[_Waiting] = []
    taken: float = 0.0


class Book:
    """The epochs of one pod. `read` gives rows, then cells, of everything that was counted since the file began.

    `clock` gives Unix seconds.
    """

    def __init__(
        self,
        mapped: Mapped,
        read: Callable[[], NDArray[np.int64]],
        clock: Callable[[], float],
        companion: str | None = None,
    ) -> None:
        self._path = mapped.folder / "epochs"
        self._mapped = mapped
        self._read = read
        self._clock = clock
        self._companion = companion
        self.finished = False
        """Whether nothing more is counted."""
        self._said_last = False
        self._ledger = Ledger(mapped)
        self._state = _load(self._path, mapped.incarnation) or _State(mapped.incarnation, opened=clock())
        self._open_labels: dict[str, Labels] = {}
        self._totals = self._state.totals.copy()
        for label in self._ledger.since(self._state.labelled):
            self._count(label)

    @property
    def totals(self) -> LabelTotals:
        return self._totals

    @property
    def waiting(self) -> int:
        """How many closed epochs are not acknowledged."""
        return len(self._state.waiting)

    @property
    def handed_over(self) -> bool:
        """Whether the reader has everything for good, and was told that it is everything."""
        return self._said_last and not self._state.waiting

    def __contains__(self, id_: int) -> bool:
        """Whether a label of this receipt's was counted lately."""
        return id_ in self._ledger

    @property
    def newest(self) -> int | None:
        """The id of the label that was counted last."""
        return self._ledger.newest

    def label(self, label: Label) -> bool:
        """Count a label; False when its receipt was answered before."""
        if label.id in self._ledger:
            return False
        if self._ledger.written - self._state.labelled == LABELS:
            self.close()
            self._save()
        self._ledger.append(label)
        self._count(label)
        return True

    def take(self, take: Take) -> Epochs:
        """Answer a call of the reader (see `wire/counts.py`)."""
        if not take.close:
            return self._answer()
        if take.incarnation == self._state.incarnation:
            self._forget(take.acknowledge)
        self._state.taken = self._clock()
        if self._has_room():
            self.close()
            for waiting in self._state.waiting:
                waiting.sent = True
        self._save()
        answer = self._answer()
        self._said_last = answer.last
        return answer

    def finish(self) -> None:
        """Close the last epoch, for a pod that counts no more."""
        self.finished = True
        self.close()
        self._save()

    def is_read(self) -> bool:
        """Whether a reader came lately enough to be waited for."""
        return self._clock() - self._state.taken < READER_GONE_SECONDS

    def close(self) -> None:
        """Close the open epoch if anything was counted in it. Beside an epoch that was never sent it joins that one."""
        now, state = self._clock(), self._state
        counted, unread = self._read(), unread_rows(self._mapped)
        before = np.frombuffer(state.counted, np.int64) if state.counted else np.zeros_like(counted)
        models = self._models(counted - before, unread - state.unread)
        if models:
            self._add(models, now)
        state.opened = now
        state.counted = counted.tobytes()
        state.unread = unread
        state.labelled = self._ledger.written
        state.totals = self._totals.copy()
        self._open_labels = {}

    def _has_room(self) -> bool:
        sent = [waiting.epoch for waiting in self._state.waiting if waiting.sent]
        labelled = [counts.labels for epoch in sent for counts in epoch.models.values() if counts.labels]
        return len(sent) < KEPT and sum(len(each.loss) for each in labelled) < KEPT_MOMENTS

    def _models(self, counted: NDArray[np.int64], unread: int) -> dict[str, ModelCounts]:
        models = {digest: ModelCounts(labels=counts) for digest, counts in self._open_labels.items()}
        if counted[0] or unread:
            own = models.setdefault(self._mapped.model, ModelCounts())
            own.rows, own.unread = int(counted[0]), unread
            own.cells = counted[1:].tolist() if own.rows else []
        return models

    def _add(self, models: dict[str, ModelCounts], now: float) -> None:
        state = self._state
        state.number += 1
        epoch = Epoch(number=state.number, opened=state.opened, closed=now, models=models)
        if state.waiting and not state.waiting[-1].sent:
            epoch = _merge(state.waiting.pop().epoch, epoch)
        state.waiting.append(_Waiting(epoch))

    def _count(self, label: Label) -> None:
        labels.add(self._open_labels.setdefault(label.model, Labels()), label)
        if label.model == self._mapped.model:
            self._totals.add(label, self._companion)
        elif label.companion == self._mapped.model:
            self._totals.challenge(label)

    def _forget(self, acknowledged: int) -> None:
        """Only what was sent can be acknowledged: a number from elsewhere must not lose an epoch."""
        state = self._state
        state.waiting = [w for w in state.waiting if not w.sent or w.epoch.number > acknowledged]

    def _answer(self) -> Epochs:
        state, model = self._state, self._mapped.model
        epochs = [waiting.epoch for waiting in state.waiting if waiting.sent]
        unsent = [waiting.epoch for waiting in state.waiting if not waiting.sent]
        counted = int(np.frombuffer(state.counted, np.int64, 1)[0]) if state.counted else 0
        counted -= sum(epoch.models[model].rows for epoch in unsent if model in epoch.models)
        return Epochs(state.incarnation, model, epochs, last=self.finished and not unsent, counted=counted)

    def _save(self) -> None:
        fresh = self._path.with_suffix(".new")
        fresh.write_bytes(msgspec.msgpack.encode(self._state))
        fresh.replace(self._path)


def _load(path: Path, incarnation: str) -> _State | None:
    try:
        state = msgspec.msgpack.decode(path.read_bytes(), type=_State)
    except (FileNotFoundError, msgspec.MsgspecError):
        # A node that lost its power may leave half a file, of an incarnation that has ended with it.
        return None
    return state if state.incarnation == incarnation else None


def _merge(first: Epoch, second: Epoch) -> Epoch:
    models = dict(first.models)
    for digest, counts in second.models.items():
        models[digest] = _merge_counts(models[digest], counts) if digest in models else counts
    return Epoch(number=second.number, opened=first.opened, closed=second.closed, models=models)


def _merge_counts(first: ModelCounts, second: ModelCounts) -> ModelCounts:
    return ModelCounts(
        rows=first.rows + second.rows,
        cells=summed(first.cells, second.cells),
        labels=_merge_labels(first.labels, second.labels),
        unread=first.unread + second.unread,
    )


def _merge_labels(first: Labels | None, second: Labels | None) -> Labels | None:
    if first is None or second is None:
        return first or second
    return labels.merge(first, second)
