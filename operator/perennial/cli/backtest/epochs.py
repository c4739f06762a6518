"""Rows as the epochs of a pod that served them: counted by the server's own code, and closed as the controller looks.

A quiet stretch is one epoch, up to a window's period and the end of the hour: what is between two looks makes no
difference to the policy, but for the hour of the week.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from perennial.api.driftmonitor import Window
from perennial.monitoring.look import LONGEST, LOOKS_A_WINDOW, SHORTEST
from perennial.runtime.binning import count_cells
from perennial.runtime.server.counts.tally import Coder, Tally
from perennial.wire import counts as wire
from perennial.wire.counts import Epoch, Epochs, ModelCounts
from perennial.wire.reference import Categorical
from perennial.wire.season import HOUR
from perennial.wire.stats import Pairs

from .observations import Labels, Observations
from .replay import Handed
from .standard import Standard

POD = "backtest"


def epochs(
    observations: Observations, standard: Standard, window: Window, previous: str | None = None
) -> Iterator[Handed]:
    """What the pod hands over at each look at which there is something, in the order of time. `previous` is the digest
    of the version before, where it is known what that says to the rows."""
    count = _Counter(observations, standard, previous)
    model = standard.reference.model
    looks = enumerate(_looks(observations.seconds, window), start=1)
    for number, (rows, opened, closed) in looks:
        epoch = Epoch(number, opened, closed, {model: count(rows, opened, closed)})
        yield Handed(closed, {POD: Epochs(POD, model, [epoch])})


def _looks(seconds: NDArray[np.float64], window: Window) -> Iterator[tuple[slice, float, float]]:
    """Of each look: which rows were served since the last one, and from when to when."""
    period = float(window.period.seconds)
    pause = min(max(period / LOOKS_A_WINDOW, SHORTEST), LONGEST)
    number = np.floor(seconds / pause)
    ends = [*(np.flatnonzero(np.diff(number)) + 1).tolist(), len(seconds)]
    first, enough = 0, window.min_rows / LOOKS_A_WINDOW
    for end in ends:
        opened, closed = number[first] * pause, (number[end - 1] + 1) * pause
        following = number[end] if end < len(seconds) else np.inf
        quiet = end - first < enough and (following + 1) * pause - opened <= period
        waits = quiet and following * pause // HOUR == opened // HOUR
        if not waits:
            yield slice(first, end), float(opened), float(closed)
            first = end


class _Counter:
    """Counts rows as a server does: drift cells, and labels by their loss and score."""

    def __init__(self, observations: Observations, standard: Standard, previous: str | None) -> None:
        self._previous = previous
        reference, schema = standard.reference, standard.schema
        rows = observations.rows
        self._tally = Tally(reference, schema)
        self._labels = observations.labels
        self._score_cells = reference.score.cells
        self._loss_cells = len(reference.loss.values) if reference.loss else 0
        scores = observations.scores
        if scores is None:
            missing = reference.score.cells - 1 if isinstance(reference.score, Categorical) else np.nan
            scores = np.full(rows.count, missing)
        codes = [] if rows.texts is None else [Coder(reference, schema)(rows.texts)]
        self._rows = np.column_stack([rows.numbers, *codes, scores])

    def __call__(self, rows: slice, opened: float, closed: float) -> ModelCounts:
        cells = self._tally(self._rows[rows]).tolist()
        labels = self._labelled(self._labels, rows, opened, closed) if self._labels else None
        return ModelCounts(rows.stop - rows.start, cells, labels)

    def _labelled(self, labels: Labels, rows: slice, opened: float, closed: float) -> wire.Labels | None:
        part = slice(*np.searchsorted(labels.rows, [rows.start, rows.stop]).tolist())
        if part.start == part.stop:
            return None
        score = labels.score[part]
        return wire.Labels(
            loss={int(opened): count_cells(labels.loss[part], self._loss_cells).tolist()},
            grain=max(int(closed - opened), 1),
            by_score=count_cells(score[labels.positive[part]], self._score_cells).tolist(),
            score=count_cells(score, self._score_cells).tolist(),
            pairs=self._pairs(labels.losses[part], labels.previous[part], int(opened)),
        )

    def _pairs(
        self, losses: NDArray[np.float64], previous: NDArray[np.float64], opened: int
    ) -> dict[str, dict[int, Pairs]]:
        known = ~np.isnan(previous)
        if self._previous is None or not known.any():
            return {}
        mine, its = losses[known], previous[known]
        pairs = Pairs(len(mine), float(mine.sum()), float(its.sum()), float(np.square(mine - its).sum()))
        return {self._previous: {opened: pairs}}
