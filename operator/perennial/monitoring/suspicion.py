"""Harm that scores let expect, before labels come back or without any: suspected, never proved.

Each score stands for the loss that held-out rows with such a score had (`wire/reference.py`, `Expected`), and the bet
of `harm.py` is played on those. It holds as long as scores mean what they meant: it sees rows come that the model is
less sure of, and is blind where what is true changes behind the same features. So it only suspects.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from perennial.wire.reference import Expected, Loss, Reference

from .harm import Game, game

WITHIN = 0.5
"""The share of the margin by which losses by score may have been wrong on held-out rows, beyond chance."""


def why_not(reference: Reference, margin: float) -> str | None:
    """Why harm cannot be suspected from scores; None where it can. `margin` is a fraction of the reference's loss."""
    expected, loss = reference.expected, reference.loss
    if loss is None or expected is None:
        return (
            "harm is not suspected from scores: that takes a classifier with probabilities and some hundred held-out "
            "rows"
        )
    if abs(expected.estimated - expected.measured) <= max(expected.doubt, WITHIN * margin * loss.mean):
        return None
    return (
        f"harm is not suspected from scores, which do not tell this version's loss: on the newer half of the held-out "
        f"rows they let expect {expected.estimated:.3g}, and {expected.measured:.3g} was measured"
    )


def bet_on_scores(expected: Expected, loss: Loss, score: list[int], margin: float, dispersion: float) -> Game:
    """The bet on what scores let expect. `score` are the reference's counts of scores.

    Windows differ by more than chance, by their `dispersion`: a row's gain is divided by it, as if there were so many
    fewer rows. By Jensen's inequality no bettor gains by that on average, so the run length stays as promised.
    """
    bet = game(Loss(expected.values, score, loss.mean, loss.upper, loss.confidence), margin)
    return replace(bet, gains=bet.gains / max(dispersion, 1.0))


def mean_loss(expected: Expected, score: list[int]) -> float:
    """What these counts of scores let expect."""
    return float(np.asarray(score) @ np.asarray(expected.values)) / max(sum(score), 1)
