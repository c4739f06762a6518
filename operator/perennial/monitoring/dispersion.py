"""How much less a block of rows tells than so many independent ones would: its overdispersion, by its length.

Where windows waver, the mean of a block varies by more than chance. By how much is taken to be that of a process which
forgets at a steady rate (Ornstein and Uhlenbeck's, averaged over the block), whose size and memory are learned from
differences of neighbouring blocks (`wire/differences.py`): a posterior over a grid of both, from a prior by which most
likely there is no such thing. The units of a kind have one in common, so that they lend one another what little each
has seen; a unit that this does not explain is judged by itself, and has no say in what is common. How likely that is
comes from how many others do: a mixture of both, so that no unit changes from one to the other at once.

Counts are divided by the overdispersion to be expected: a power mean, since too small a one costs more than too large a
one. Blocks longer than any that was seen are judged by the same process, so by how their parts went on from one
another.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from perennial.wire.differences import UnitKind, units
from perennial.wire.layout import WHOLE, CutKind, Floats, Layout
from perennial.wire.reference import Differences

MEMORIES = np.array([1 / 16, *np.geomspace(0.35, 64.0, 8)])
"""How many of the shortest blocks a process remembers. The first is none at all."""

EXCESSES = np.geomspace(0.05, 500.0, 16)
"""By how much the variance of the shortest block's mean exceeds that of independent rows, relative to it."""

ALIKE = 0.9
"""The chance that units do not waver, before anything is seen; else all sizes and memories are as likely. Ten windows
that hang together may look as if they did not: when small sizes were thought likelier, one in sixteen baselines of so
few brought a false alarm within its first 64 windows. A smaller chance delays what is found, and prevents no more."""

BY_THEMSELVES = 0.01
"""Units of a kind that are taken to be by themselves besides those that were seen to be. Of many that waver one will
look by chance as if it did not: believed as soon as that was a hundred times as likely, it brought a false alarm in one
of eight baselines whose windows hung together by 0.9."""

MOST = 1e20
"""Times as likely that are told apart."""

TOGETHER = 1 / 30
"""How far units are taken to depend on one another: any number of them is worth fewer than thirty for what is
common."""

ROUNDS = 3
"""Of sorting out who shares what is common."""

POWER = 2

_TINY = np.finfo(np.float64).tiny


class Dispersion:
    """The overdispersion of each cut of a layout, learned from differences of windows `served` and of the rows that
    the run held out (`trained`); 1 everywhere without any."""

    def __init__(self, layout: Layout, served: Sequence[Differences] = (), trained: Sequence[Differences] = ()) -> None:
        self._cuts = len(layout.cuts)
        learned = [each for each in (*served, *trained) if each.rows]
        self._learned = bool(learned)
        if not learned:
            return
        chosen, kinds = units(layout)
        self._both, self._of_cuts = _saying(layout, chosen)
        pairs = np.array([each.pairs for each in learned], dtype=np.float64)
        rows = np.array([each.rows for each in learned]) / pairs
        self._shortest = rows[0]
        squares = np.array([each.squares for each in learned])
        likelihood = self._likelihood(pairs, rows, squares)
        self._posterior = np.empty_like(likelihood)
        for kind in UnitKind:
            of_kind = kinds == kind
            if of_kind.any():
                self._posterior[of_kind] = _posterior(likelihood[of_kind], squares.sum(axis=0)[of_kind])

    def at(self, rows: Floats) -> Floats:
        """Of blocks of so many rows [blocks]: shape (blocks, cuts), at least 1."""
        if not self._learned:
            return np.ones((len(rows), self._cuts))
        variances = _variances(rows * self._wavering(rows) / self._once)
        each = (variances.T**POWER @ self._posterior.T) ** (1 / POWER)
        level, spread = (each.take(units, axis=1) for units in self._both)
        dispersion: Floats = np.maximum(level, spread).take(self._of_cuts, axis=1)
        return dispersion

    def between(self, rows: float) -> Floats | None:
        """The squared difference [units] to be expected of two neighbouring blocks of so many rows."""
        if not self._learned:
            return None
        expected: Floats = (self._posterior @ _variances(self._apart(np.array([rows]))))[:, 0]
        return expected

    def _likelihood(self, pairs: Floats, rows: Floats, squares: Floats) -> Floats:
        """The logarithm for each unit and process, up to a constant: shape (units, processes)."""
        variances = _variances(self._apart(rows))
        likelihood: Floats = -(np.log(variances) @ pairs + squares.T @ (1 / variances).T) / 2
        return likelihood

    def _apart(self, rows: Floats) -> Floats:
        """How the excess of the difference of two neighbouring blocks grows with their rows."""
        apart: Floats = 2 * rows * (self._wavering(rows) - self._wavering(2 * rows)) / self._once
        return apart

    @property
    def _once(self) -> Floats:
        once: Floats = self._shortest * self._wavering(np.array([self._shortest]))
        return once

    def _wavering(self, rows: Floats) -> Floats:
        """The variance of a process's mean over so many rows, relative to the process's: shape (memories, blocks)."""
        steps = rows / (MEMORIES[:, None] * self._shortest)
        variance: Floats = 2 * (steps + np.expm1(-steps)) / steps**2
        return variance


def _variances(grown: Floats) -> Floats:
    """Relative to independent rows', of each process, whose excess has grown so [memories, blocks] from the shortest
    block's: shape (processes, blocks). The first does not waver."""
    blocks = grown.shape[1]
    wavering = 1 + (EXCESSES[:, None, None] * grown).reshape(-1, blocks)
    variances: Floats = np.concatenate([np.ones((1, blocks)), wavering])
    return variances


def _posterior(likelihood: Floats, squares: Floats) -> Floats:
    """The chance of each process for each unit of a kind, both of shape (units, processes), the former as logarithms.

    What is common is first that of the half with the least sums of squares [units]. The more units it does not explain,
    the more likely it is not what explains the others.
    """
    likely = np.exp(likelihood - likelihood.max(axis=1, keepdims=True))
    prior = _prior(likelihood.shape[1])
    alone = likely * prior
    evidence = alone.sum(axis=1)
    sharing = squares <= np.median(squares)
    own = np.zeros(len(likelihood))
    for _ in range(ROUNDS):
        worth = 1 / (1 + TOGETHER * (int(sharing.sum()) - 1))
        common = _normalised(np.log(prior) + worth * likelihood[sharing].sum(axis=0))
        better = np.minimum(evidence / np.maximum(likely @ common, _TINY), MOST)
        others = own.sum() - own
        odds = (BY_THEMSELVES + others) / np.maximum(len(own) - 1 - others, 1.0) * better
        own = odds / (1 + odds)
        sharing = own < 1 / 2
        if not sharing.any():
            # So much was seen that nothing is common any more: each is judged by itself.
            break
    posterior: Floats = (1 - own)[:, None] * common
    posterior += alone * (own / evidence)[:, None]
    return posterior


def _prior(processes: int) -> Floats:
    prior: Floats = np.full(processes, (1 - ALIKE) / (processes - 1))
    prior[0] = ALIKE
    return prior


def _normalised(logarithms: Floats) -> Floats:
    """Weights that sum to one."""
    weights = np.exp(logarithms - logarithms.max())
    normalised: Floats = weights / weights.sum()
    return normalised


def _saying(layout: Layout, chosen: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Pairs of units [2, pairs], and which pair says how far a cut wavers [cuts]: its own unit twice, or its column's
    level and spread."""
    pair = np.zeros(len(layout.cuts), dtype=np.intp)
    pair[chosen] = np.arange(len(chosen))
    level, spread = (np.flatnonzero(layout.kind == kind) for kind in WHOLE)
    of_column = np.full(len(layout.columns), -1, dtype=np.intp)
    of_column[layout.column[level]] = len(chosen) + np.arange(len(level))
    parts = (layout.kind == CutKind.VALUE) & (of_column[layout.column] >= 0)
    own = np.arange(len(chosen))
    both = np.stack([np.append(own, pair[level]), np.append(own, pair[spread])])
    pair[parts] = of_column[layout.column[parts]]
    return both, pair
