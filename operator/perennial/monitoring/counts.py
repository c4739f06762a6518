"""Folding what pods hand over into the open window and the tallies, each epoch exactly once.

A pod sends every epoch until it is acknowledged, so an epoch may come again; its number within the pod's incarnation
tells. Epochs of several pods are added up: only which model they were counted for matters. What was served and is not
counted is lost, and said to be: exactly where pods tell of it, and estimated where they are gone.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

import msgspec
import numpy as np

from perennial.wire.counts import Epoch, Epochs, Labels, ModelCounts, summed
from perennial.wire.season import pack, spread, unpack
from perennial.wire.stats import Pairs

from .checkpoint import Checkpoint, Judged, Mark, Open, Tally
from .course import Course, credit, judged, moments
from .history import add_hours

MODELS = 8
"""Models that are counted at a time: the judged one, those before it and candidates."""

COMPARED = 4
"""Models that a model is compared with at a time: what is wrong about a receipt must not grow the checkpoint."""

FORGOTTEN_AFTER = 3600.0
"""Seconds after which the mark of a pod that is gone is dropped: no cache lags so far behind."""


def fold(checkpoint: Checkpoint, answers: Mapping[str, Epochs], *, cells: int, now: float) -> Checkpoint:
    """The checkpoint with what the pods (by uid) handed over at `now` (Unix seconds). `cells` is how many a window of
    the judged model has."""
    for pod in sorted(answers):
        checkpoint = _fold_pod(checkpoint, pod, answers[pod], cells, now)
    return checkpoint


def miss(checkpoint: Checkpoint, present: Collection[str], now: float, quiet: Mapping[str, float]) -> Checkpoint:
    """The checkpoint once the pods that are no more have been noticed.

    What a pod served after its last epoch, and did not hand over before it ended, is lost: estimated by its rate, and
    missing of the model that it served. `quiet` is how many seconds ago pods said that they had served nothing since.
    """
    pods: dict[str, Mark] = {}
    missed = checkpoint
    for pod, mark in checkpoint.pods.items():
        if pod in present:
            pods[pod] = mark if mark.gone is None else msgspec.structs.replace(mark, gone=None)
        elif mark.gone is None:
            pods[pod] = msgspec.structs.replace(mark, gone=now)
            seconds = min(now - mark.seen, quiet.get(pod, math.inf))
            missed = _lose(missed, mark.model, _owed(checkpoint, mark, seconds))
        elif now - mark.gone < FORGOTTEN_AFTER:
            pods[pod] = mark
    if pods == checkpoint.pods:
        return checkpoint
    return msgspec.structs.replace(missed, pods=pods)


def coverage(tally: Tally) -> float | None:
    """The share of served rows that was counted; None before the first."""
    served = tally.rows + tally.lost
    return tally.rows / served if served else None


def _fold_pod(checkpoint: Checkpoint, pod: str, answer: Epochs, cells: int, now: float) -> Checkpoint:
    known = mark = checkpoint.pods.get(pod)
    if mark is None:
        mark = Mark(answer.incarnation, model=answer.model)
    elif mark.incarnation != answer.incarnation:
        # Its node was started anew, and what its file still had is gone with it.
        until = answer.epochs[0].opened if answer.epochs else now
        checkpoint = _lose(checkpoint, mark.model, _owed(checkpoint, mark, until - mark.seen))
        mark = Mark(answer.incarnation, model=answer.model, rate=mark.rate)
    fresh = [epoch for epoch in answer.epochs if epoch.number > mark.number]
    checkpoint = _lose(checkpoint, answer.model, _taken_by_others(checkpoint, mark, answer, fresh))
    for epoch in fresh:
        # Who was heard since the monitor goes on has handed over all that was served before.
        if max(epoch.opened, mark.seen) >= checkpoint.begun:
            checkpoint = _fold_epoch(checkpoint, epoch, cells)
        mark = _marked(mark, epoch)
    if not mark.seen or mark.seen < checkpoint.begun:
        mark = msgspec.structs.replace(mark, seen=now)
    mark = msgspec.structs.replace(mark, rows=answer.counted, last=answer.last)
    if known == mark:
        return checkpoint
    return msgspec.structs.replace(checkpoint, pods={**checkpoint.pods, pod: mark})


def _marked(mark: Mark, epoch: Epoch) -> Mark:
    rows = _rows(epoch)
    # One of labels alone says nothing of how many rows there will be.
    rate = rows / max(epoch.closed - epoch.opened, 1.0) if rows else mark.rate
    return msgspec.structs.replace(mark, number=epoch.number, seen=epoch.closed, rate=rate, gone=None)


def _taken_by_others(checkpoint: Checkpoint, mark: Mark, answer: Epochs, fresh: list[Epoch]) -> int:
    """Rows of epochs that the pod has forgotten, since somebody else acknowledged them: another monitor, or this one
    before its checkpoint was put back to an older one."""
    if mark.rows is None or mark.seen < checkpoint.begun:
        return 0
    return max(answer.counted - mark.rows - sum(map(_rows, fresh)), 0)


def _rows(epoch: Epoch) -> int:
    return sum(counts.rows for counts in epoch.models.values())


def _owed(checkpoint: Checkpoint, mark: Mark, seconds: float) -> float:
    """Rows that a pod is thought to have served within so many seconds after its last epoch."""
    if mark.last or mark.seen < checkpoint.begun:
        return 0.0
    return (mark.rate or _usual_rate(checkpoint, mark.model)) * max(seconds, 0.0)


def _usual_rate(checkpoint: Checkpoint, model: str | None) -> float:
    """What a pod of this model serves a second, for one that has told of no row yet."""
    rates = [mark.rate for mark in checkpoint.pods.values() if mark.model == model and mark.rate]
    return sum(rates) / len(rates) if rates else 0.0


def _fold_epoch(checkpoint: Checkpoint, epoch: Epoch, cells: int) -> Checkpoint:
    tallies = dict(checkpoint.tallies)
    unseen = Tally(losses=Course(begun=checkpoint.begun))
    for digest, counts in epoch.models.items():
        # Labels of a candidate reach the stable pods too, and a pod of its own may end: they wait for its promotion.
        if digest not in tallies and len(tallies) >= MODELS:
            if not counts.rows:
                # A receipt may name any model, rows come of one that is rolled out.
                continue
            del tallies[_outlived(tallies, checkpoint.model)]
        tallies[digest] = _tallied(tallies.get(digest, unseen), counts, epoch.closed)
    checkpoint = msgspec.structs.replace(checkpoint, tallies=tallies)
    own = epoch.models.get(checkpoint.model.sha256) if checkpoint.model else None
    if own is None or not own.rows:
        return checkpoint
    if len(own.cells) != cells:
        return _lose(checkpoint, None, own.rows)
    return msgspec.structs.replace(checkpoint, open=_filled(checkpoint, epoch, own))


def _outlived(tallies: Mapping[str, Tally], model: Judged | None) -> str:
    """The candidate that came first since the judged model did: others have been rolled out after it."""
    digests = list(tallies)
    judged = digests.index(model.sha256) if model and model.sha256 in tallies else -1
    return next(iter(digests[judged + 1 :] or digests))


def _filled(checkpoint: Checkpoint, epoch: Epoch, counts: ModelCounts) -> Open:
    window = checkpoint.open or Open(max(epoch.opened, checkpoint.closed), epoch.closed, 0, [0] * len(counts.cells))
    hours = spread(epoch.opened, epoch.closed, counts.rows)
    # Of one that is of several hours nobody knows which rows are of which: what follows the clock would mix them.
    one = next(iter(hours)) if len(hours) == 1 else None
    is_learned = checkpoint.baseline is not None and not checkpoint.baseline.complete
    return Open(
        opened=window.opened,
        closed=max(window.closed, epoch.closed),
        rows=window.rows + counts.rows,
        cells=[a + b for a, b in zip(window.cells, counts.cells, strict=True)],
        hours=add_hours(window.hours, hours),
        by_hour=window.by_hour if one is None or not is_learned else _by_hour(window.by_hour, one, counts.cells),
    )


def _by_hour(known: dict[int, bytes], one: int, cells: list[int]) -> dict[int, bytes]:
    counted = np.array(cells, dtype=np.int64)
    return {**known, one: pack(counted + unpack(known[one]) if one in known else counted)}


def _tallied(tally: Tally, counts: ModelCounts, closed: float) -> Tally:
    labels = counts.labels or Labels()
    made = moments(labels.loss, labels.grain, closed)
    return msgspec.structs.replace(
        tally,
        rows=tally.rows + counts.rows,
        lost=tally.lost + counts.unread,
        labels=tally.labels + sum(sum(cells) for _, cells in made),
        waiting=summed(tally.waiting, judged(tally.losses, made)),
        losses=credit(tally.losses, made),
        pairs=_paired(tally, labels, closed),
        scored=tally.scored + sum(labels.score),
        positives=tally.positives + sum(labels.by_score),
    )


def _paired(tally: Tally, labels: Labels, closed: float) -> dict[str, Pairs]:
    """What labels of predictions that are judged say of two models: that one does better without a column that was
    broken is no reason to go back to it."""
    paired = dict(tally.pairs)
    for companion, made in labels.pairs.items():
        more = [pairs for moment, pairs in moments(made, labels.grain, closed) if moment >= tally.losses.begun]
        if more and (companion in paired or len(paired) < COMPARED):
            paired[companion] = sum(more, paired.get(companion, Pairs()))
    return paired


def _lose(checkpoint: Checkpoint, model: str | None, rows: float) -> Checkpoint:
    """Rows of this model, or of the judged one, that were not counted. Of a model that is not remembered nobody asks
    for the coverage."""
    digest = model or (checkpoint.model.sha256 if checkpoint.model else "")
    tally = checkpoint.tallies.get(digest)
    if not rows or tally is None:
        return checkpoint
    lossy = msgspec.structs.replace(tally, lost=tally.lost + rows)
    return msgspec.structs.replace(checkpoint, tallies={**checkpoint.tallies, digest: lossy})
