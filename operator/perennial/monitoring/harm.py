"""Harm: has the loss of labelled rows risen beyond what the user tolerates? Proved by betting, with no assumption on
the losses but their bounds.

The null hypothesis is that the mean loss is at most `tolerated`. Each of eight bettors stakes a fixed share on the
contrary; a step of labels multiplies his wealth by the product of 1 + stake (loss - tolerated), whose mean is at most
1 while the null holds (Waudby-Smith and Ramdas, Estimating means of bounded random variables by betting, 2023). The
Shiryaev-Roberts sum over all times at which he could have begun is an e-detector (Shin, Ramdas and Rinaldo, 2023):
alarming when the bettors' mean reaches A, one waits at least A steps for a false alarm on average, exactly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import msgspec
import numpy as np

from perennial.wire.layout import Floats
from perennial.wire.reference import Loss

BETTORS = 8
SMALLEST_STAKE = 0.05
GREATEST_STAKE = 8.0
GREATEST_RISK = 0.5
"""What a bettor can lose on one row, as a share of his wealth."""

CLEAR = 0.5
"""The share of the bound that evidence has to be below for a step to be clean: where few labels come in a step, it
wavers about the bound while the loss is what it was."""


@dataclass(frozen=True)
class Game:
    """The bets against one reference. `gains` has log(1 + stake (loss - tolerated)) of shape (bettors, cells)."""

    reference: float
    tolerated: float
    values: Floats
    gains: Floats


class Harm(msgspec.Struct, frozen=True):
    """What the bettors hold: `wealth` is of each the log of 1 + his Shiryaev-Roberts sum. `evidence` is the log of
    their mean sum at the last step, `clean` how many steps it has been well below the bound."""

    tolerated: float
    wealth: tuple[float, ...] = (0.0,) * BETTORS
    evidence: float = 0.0
    clean: int = 0
    alarm: bool = False


def game(loss: Loss, margin: float) -> Game:
    """The bets for a reference loss and a tolerated rise, as a fraction of it.

    Losses are counted at the upper ends of their bins, so the reference's mean is taken there too: the difference goes
    on top of its confidence bound.
    """
    values = np.asarray(loss.values)
    counts = np.asarray(loss.counts)
    binned = float(counts @ values) / max(int(counts.sum()), 1)
    reference = max(loss.mean, binned)
    tolerated = loss.upper + max(binned - loss.mean, 0.0) + margin * reference
    tolerated = min(max(tolerated, 1e-6), 1.0)
    stakes = np.geomspace(SMALLEST_STAKE, min(GREATEST_STAKE, GREATEST_RISK / tolerated), BETTORS)
    return Game(reference, tolerated, values, np.log1p(stakes[:, None] * (values - tolerated)))


def step(harm: Harm, game: Game, counts: list[int], *, steps: float) -> Harm:
    """The next step of labels: how many fell into each cell of the loss. `steps` is A, the mean number of steps to a
    false alarm.

    Wealth is held at the alarm's bound, so that an alarm can end once the loss is back to normal; that only slows
    later alarms.
    """
    cells = np.zeros(len(game.values), dtype=np.int64)
    cells[: len(counts)] = counts[: len(cells)]
    sums = game.gains @ cells + np.array(harm.wealth)
    evidence = float(np.logaddexp.reduce(sums)) - math.log(BETTORS)
    limit = math.log(max(steps, 1.0))
    sums -= max(evidence - limit, 0.0)
    return Harm(
        tolerated=harm.tolerated,
        wealth=tuple(np.logaddexp(sums, 0.0).tolist()),
        evidence=evidence,
        clean=harm.clean + 1 if evidence < CLEAR * limit else 0,
        alarm=evidence >= limit,
    )
