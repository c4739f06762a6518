"""How much less a block of rows tells than so many independent ones would: its overdispersion, by its length.

Where windows waver, the mean of a block varies by more than chance. By how much is taken to be that of a process which
forgets at a steady rate (Ornstein and Uhlenbeck's, averaged over the block), whose size and memory are learned from
differences of neighbouring blocks (`wire/differences.py`): a posterior over a grid of both, from a prior by which most
likely there is no such thing. The units of a kind have one in common, so that they lend one another what little each
has seen, every column with one voice; a unit that this does not explain is judged by itself, and has no say in what is
common. How likely that is comes from how many others are. What is rare wavers less than what half of the rows have, in
relation to chance, and tells less of it.

Neighbours of a few windows cannot show that nothing wavers for longer. All that was served after the baseline can: it
lies close to the baseline in most units only then.

What wavers does so with the time: where windows are not alike in size, the more so the more rows come in one.

Counts are divided by the overdispersion to be expected: a power mean, since too small a one costs more than too large a
one. Blocks longer than any that was seen are judged by the same process, so by how their parts went on from one
another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from perennial.wire.differences import UnitKind, units
from perennial.wire.layout import WHOLE, CutKind, Floats, Ints, Layout, reference_cells
from perennial.wire.reference import Differences

MEMORIES = np.array([1 / 16, *np.geomspace(0.35, 64.0, 8)])
"""How many of the shortest blocks a process remembers. The first is none at all."""

EXCESSES = np.geomspace(0.05, 500.0, 16)
"""By how much the variance of the shortest block's mean exceeds that of independent rows, relative to it."""

FAINTER = 8
"""Steps of EXCESSES by which what is rare may waver less than what half of the rows have."""

RARITY = 2 / 3
"""By which power of p (1 - p) a share wavers, relative to what chance makes of it: 1 if its log-odds waver, and about
this where a cut of something normal does."""

_SPEAKING = (
    # How features go together wavers as they do or less, and has no say in how they do.
    ((UnitKind.VALUES, UnitKind.TOGETHER), (UnitKind.VALUES,)),
    ((UnitKind.SPREAD,), (UnitKind.SPREAD,)),
    # Texts are few, and their rare categories show little: they are taken to waver as numbers do, of which they say
    # nothing themselves, since they may be as they are where numbers waver.
    ((UnitKind.CATEGORY,), (UnitKind.VALUES, UnitKind.CATEGORY)),
    ((UnitKind.FAULT,), (UnitKind.FAULT,)),
)
"""Of which kinds of units something is learned, and from which."""

_STEP = EXCESSES[1] / EXCESSES[0]
_FAINT = np.geomspace(EXCESSES[0] / _STEP**FAINTER, EXCESSES[-1], len(EXCESSES) + FAINTER)
"""All excesses that units of any share may have."""

ALIKE = 0.9
"""The chance that units do not waver, before anything is seen; else all sizes and memories are as likely. Ten windows
that hang together may look as if they did not: when small sizes were thought likelier, one in sixteen baselines of so
few brought a false alarm within its first 64 windows. A smaller chance delays what is found, and prevents no more."""

OWN = 100.0
"""Times as likely that a unit must be by itself as by what is common, or it is not taken to be: a change that is too
small to be found yet would pass for wavering of its own."""

BY_THEMSELVES = 0.03
"""Units of a kind that are taken to be by themselves besides those that were seen to be. Of many that waver one will
look by chance as if it did not: believed as soon as that was a hundred times as likely, it brought a false alarm in one
of eight baselines whose windows hung together by 0.9."""

MOST = 1e20
"""Times as likely that are told apart."""

TOGETHER = 1 / 30
"""How far units are taken to depend on one another: any number of them is worth fewer than thirty for what is
common."""

AHEAD = 1 / 4
"""The same of how far what came after the baseline lies from it: it is one pair, and what features have in common may
have come back by chance. Any number of them is worth fewer than four."""

ROUNDS = 3
"""Of sorting out who shares what is common."""

POWER = 2

_TINY = np.finfo(np.float64).tiny

Bools = NDArray[np.bool_]


class Block(msgspec.Struct, frozen=True):
    """Rows in a row, of so many `windows`, and how `uneven` these are (`history.py`). None windows have those that the
    run held out: nobody knows when they came, and how long that took."""

    rows: int
    windows: int | None
    uneven: float = 1.0


class Contrast(msgspec.Struct, frozen=True):
    """The baseline and all that came after it: how far they lie apart is one pair."""

    baseline: Block
    later: Block
    differences: Differences


class Dispersion:
    """The overdispersion of each cut of a layout, learned from differences of windows `served`, of the rows that the
    run held out (`trained`) and of the baseline to what came `after` it; 1 everywhere without any of the first two.
    `normal` [cells] are the baseline's counts, the reference's unless given."""

    def __init__(
        self,
        layout: Layout,
        served: Sequence[Differences] = (),
        trained: Sequence[Differences] = (),
        normal: Ints | None = None,
        after: Contrast | None = None,
    ) -> None:
        self._cuts = len(layout.cuts)
        learned = [each for each in (*served, *trained) if each.rows]
        self._learned = bool(learned)
        self.window = served[0].rows / served[0].pairs if served and served[0].rows else None
        """Rows of a window, where windows were learned from."""
        if not learned:
            return
        chosen, kinds = units(layout)
        self._both, self._of_cuts = _saying(layout, chosen)
        rows = np.array([each.rows / each.pairs for each in learned])
        self._shortest = rows[0]
        doublings = [place for place, each in enumerate(served) if each.rows]
        # Nobody knows how long it took for rows to come that the run held out.
        lengths = np.append(rows[0] * 2.0 ** np.array(doublings), rows[len(doublings) :])
        squares = np.array([each.squares for each in learned])
        told = np.array([each.told for each in learned], dtype=np.float64)
        likelihood = _likelihood(self._apart(rows, lengths), squares, told)
        ahead = np.zeros_like(likelihood)
        if after:
            apart = np.array([after.differences.squares]), np.array([after.differences.told], dtype=np.float64)
            ahead = _likelihood(self._ahead(after.baseline, after.later), *apart)
        squares, told = squares.sum(axis=0), told.sum(axis=0)
        fainter = _fainter(layout, chosen, reference_cells(layout.columns) if normal is None else normal)
        own, relative = _processes(fainter), _STEP**-fainter
        self._posterior = np.zeros_like(likelihood)
        for told_of, speaking in _SPEAKING:
            group = np.flatnonzero(np.isin(kinds, [*told_of, *speaking]))
            wanted = np.isin(kinds[group], told_of)
            if not wanted.any():
                continue
            processes = group[:, None], own[group]
            speaks = np.isin(kinds[group], speaking)
            voice = _voices(layout.column[chosen[group]], relative[group] * speaks)
            seen = _Seen(squares[group], told[group], relative[group], voice, speaks)
            found = _posterior(likelihood[processes], ahead[processes], seen)
            self._posterior[group[wanted, None], own[group[wanted]]] = found[wanted]

    def of(self, rows: Floats, crowds: Floats | None) -> Floats:
        """Of blocks of so many rows [blocks], whose windows hold `crowds` of them where that is known: shape (blocks,
        cuts), at least 1."""
        if crowds is None or self.window is None:
            return self.at(rows)
        return self.when_busy(rows, crowds / self.window)

    def when_busy(self, rows: Floats, busy: Floats) -> Floats:
        """Of blocks that came when there was so many times as much to do [blocks] as while this was learned.

        What wavers with the time, and not from row to row, makes the more of a difference the more rows there are in
        that time. Which of the two it is nobody knows.
        """
        by_rows, by_time = np.split(self.at(np.concatenate([rows, rows / busy])), 2)
        wavering: Floats = np.maximum(by_rows, 1 + (by_time - 1) * busy[:, None])
        return wavering

    def at(self, rows: Floats) -> Floats:
        """Of blocks of so many rows [blocks], as many in a window as in those that were learned from: shape (blocks,
        cuts), at least 1."""
        if not self._learned:
            return np.ones((len(rows), self._cuts))
        variances = _variances(rows * self._wavering(rows) / self._once)
        each = (variances.T**POWER @ self._posterior.T) ** (1 / POWER)
        level, spread = (each.take(units, axis=1) for units in self._both)
        dispersion: Floats = np.maximum(level, spread).take(self._of_cuts, axis=1)
        return dispersion

    def between(self, rows: Floats, windows: int) -> Floats | None:
        """The squared difference to be expected of two neighbouring blocks of so many rows [blocks] and windows: shape
        (blocks, units)."""
        if not self._learned:
            return None
        lengths = rows if self.window is None else np.full(len(rows), self.window * windows)
        expected: Floats = (self._posterior @ _variances(self._apart(rows, lengths))).T
        return expected

    def across(self, baseline: Block, later: Block) -> Floats | None:
        """The squared difference to be expected of a baseline and all that came after it [units]."""
        if not self._learned:
            return None
        expected: Floats = (self._posterior @ _variances(self._ahead(baseline, later)))[:, 0]
        return expected

    def _ahead(self, baseline: Block, later: Block) -> Floats:
        """How the excess of the difference of a baseline and all that came after it grows, as that of neighbours does:
        shape (memories, 1).

        The variance of the difference of two neighbouring means of a process, of lengths s and t, is W(s) + W(t) - 2 C,
        and C follows from the variance of both together. Rows that the run held out are taken to waver by chance alone:
        any wavering of theirs would only make it likelier that there is some.
        """
        apart = self._mean(later)
        if baseline.windows is not None:
            lengths = np.array([self._length(block) for block in (baseline, later)])
            both = self._wavering(lengths.sum(keepdims=True))[:, 0] * lengths.sum() ** 2
            common = (both - self._wavering(lengths) @ lengths**2) / (2 * lengths.prod())
            apart = apart + self._mean(baseline) - 2 * common
        grown: Floats = apart[:, None] / (self._once * (1 / baseline.rows + 1 / later.rows))
        return grown

    def _mean(self, block: Block) -> Floats:
        """The variance of a process's mean over a block, relative to the process's [memories]. Windows with most of the
        rows count for so few; no mean varies by more than what it is of."""
        variance: Floats = np.minimum(self._wavering(np.array([self._length(block)]))[:, 0] * block.uneven, 1.0)
        return variance

    def _length(self, block: Block) -> float:
        """In rows, as many in a window as in those that were learned from."""
        return float(block.rows) if self.window is None or block.windows is None else self.window * block.windows

    def _apart(self, rows: Floats, lengths: Floats) -> Floats:
        """How the excess of the difference of two neighbouring blocks grows with their rows and their lengths, which
        are in rows, too: those that came in such a time when the shortest ones were learned."""
        apart: Floats = 2 * rows * (self._wavering(lengths) - self._wavering(2 * lengths)) / self._once
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
    """Relative to independent rows', of each process of any unit, whose excess has grown so [memories, blocks] from the
    shortest block's: shape (all processes, blocks). The first does not waver."""
    blocks = grown.shape[1]
    wavering = 1 + (_FAINT[:, None, None] * grown).reshape(-1, blocks)
    variances: Floats = np.concatenate([np.ones((1, blocks)), wavering])
    return variances


def _fainter(layout: Layout, chosen: NDArray[np.intp], normal: Ints) -> NDArray[np.intp]:
    """By how many steps of EXCESSES each unit wavers less than others of its kind."""
    inside, n = layout.cut_counts(normal)
    share = (inside / np.maximum(n, 1.0)).take(chosen)
    relative = np.where(layout.is_whole[chosen], 1.0, np.maximum(4 * share * (1 - share), _TINY) ** RARITY)
    steps: NDArray[np.intp] = np.clip(np.rint(-np.log(relative) / np.log(_STEP)), 0, FAINTER).astype(np.intp)
    return steps


def _processes(fainter: NDArray[np.intp]) -> NDArray[np.intp]:
    """Which of all processes are those of units that waver so much less: shape (units, processes)."""
    first = (FAINTER - fainter) * len(MEMORIES)
    wavering = 1 + first[:, None] + np.arange(len(EXCESSES) * len(MEMORIES))
    return np.concatenate([np.zeros((len(fainter), 1), dtype=np.intp), wavering], axis=1)


@dataclass(frozen=True)
class _Seen:
    """Of units, all of shape [units]: the sum of their squares, of how many pairs it is, how far they waver in relation
    to others, their share in what their column says, and which of them say what is common."""

    squares: Floats
    told: Floats
    relative: Floats
    voice: Floats
    speaking: Bools


def _likelihood(grown: Floats, squares: Floats, told: Floats) -> Floats:
    """The logarithm of each process's likelihood for each unit, by sums [blocks, units] of so many squares whose excess
    has grown so [memories, blocks]: shape (units, processes)."""
    variances = _variances(grown)
    likelihood: Floats = -(told.T @ np.log(variances).T + squares.T @ (1 / variances).T) / 2
    return likelihood


def _posterior(likelihood: Floats, ahead: Floats, seen: _Seen) -> Floats:
    """The chance of each process for each unit of a kind, by logarithms of shape (units, processes): of what neighbours
    show, and of how far what came after the baseline lies from it (`ahead`).

    What is common is first that of the half with the least squares among those that tell most of it: in most of the
    pairs, and of shares that waver the most. The more units it does not explain, the more likely it is not what
    explains the others. Where no unit told anything nothing wavers.

    What lies ahead speaks of what is common, and never for wavering: where much has moved away from the baseline, that
    is what the scan is there to tell.
    """
    likely = np.exp(likelihood - likelihood.max(axis=1, keepdims=True))
    prior = _prior(likelihood.shape[1])
    telling = seen.told > 0
    heard = telling & seen.speaking
    if not heard.any():
        return np.tile(np.eye(1, len(prior)), (len(likelihood), 1))
    alone = likely * prior
    evidence = alone.sum(axis=1)
    excess = (seen.squares / np.maximum(seen.told, 1) - 1) / seen.relative
    says = seen.told * seen.relative**2
    most = heard & (says >= -_half(-says[heard], seen.voice[heard]))
    sharing = most & (excess <= _half(excess[most], seen.voice[most]))
    own = np.zeros(len(likelihood))
    voices = seen.voice * heard
    for _ in range(ROUNDS):
        voice, said = seen.voice[sharing], (seen.voice * says)[sharing]
        many = said.sum() / said.max()
        shown = voice @ likelihood[sharing] / (1 + TOGETHER * (many - 1))
        against = voice @ (ahead - ahead[:, :1])[sharing] / (1 + AHEAD * (many - 1))
        common = _normalised(np.log(prior) + shown + np.minimum(against, 0.0))
        better = np.minimum(evidence / np.maximum(likely @ common, _TINY), MOST)
        others = (own * voices).sum() - own * voices
        odds = (BY_THEMSELVES + others) / np.maximum(voices.sum() - 1 - others, 1.0) * better
        own = np.where(better < OWN, 0.0, odds / (1 + odds))
        sharing = heard & (own < 1 / 2)
        if not sharing.any():
            # So much was seen that nothing is common any more: each is judged by itself.
            break
    posterior: Floats = (1 - own)[:, None] * common
    posterior += alone * (own / evidence)[:, None]
    return posterior


def _voices(column: NDArray[np.intp], relative: Floats) -> Floats:
    """How much of what its column says each unit does [units]: a text of a hundred categories is one column that may
    waver, and its common ones show it."""
    weight = relative**2
    of_column = np.bincount(column, weight)[column]
    voices: Floats = np.divide(weight, of_column, out=np.zeros_like(weight), where=of_column > 0)
    return voices


def _half(values: Floats, voice: Floats) -> float:
    """The least value up to which half of the voices lie."""
    order = np.argsort(values)
    voice = voice[order]
    before = np.cumsum(voice) - voice
    last = np.flatnonzero(before < voice.sum() / 2)[-1]
    return float(values[order[last]])


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
