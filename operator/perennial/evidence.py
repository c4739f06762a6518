"""Evidence that may be looked at after every request: e-values for a rate and for a paired difference of losses.

A rollout looks at its counters every few seconds and stops at the first verdict, a monitor at each look. A p-value read
that often is wrong far more often than it says. An e-process is a nonnegative supermartingale under the hypothesis,
started at 1, so that by Ville's inequality it ever reaches 1/alpha with a probability of at most alpha, however often
one looks (Ramdas, Grünwald, Vovk and Shafer, "Game-theoretic statistics and safe anytime-valid inference", 2023). Those
here depend on sums alone, so that the counters of all pods can be added up, and do not assume that requests are
independent.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from perennial.wire.stats import Pairs

_RAISED_ODDS = tuple(1.5**step for step in range(1, 13))
_LOWERED_ODDS = ((0.0, 0.4), (0.1, 0.12), (0.2, 0.12), (1 / 3, 0.12), (0.5, 0.12), (2 / 3, 0.12))
"""Factors on the odds, each with its share of the stake. Zero has the most: a good candidate makes no errors at all."""
_BETS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.7)


def log_evidence_rate_above(n: int, hits: int, rate: float) -> float:
    """Log e-value against "no request was a hit with a probability above `rate`", from `hits` of `n`.

    A mixture of likelihood ratios of greater rates. A factor's mean is linear in the request's own probability and 1 at
    `rate`, hence at most 1 for every smaller one: requests need be neither alike nor independent.
    """
    if rate <= 0:
        return math.inf if hits else 0.0
    if rate >= 1:
        return 0.0
    raised = (_log_likelihood_ratio(n, hits, rate, factor) for factor in _RAISED_ODDS)
    return _log_sum(raised) - math.log(len(_RAISED_ODDS))


def log_evidence_rate_below(n: int, hits: int, rate: float) -> float:
    """Log e-value against "every request was a hit with a probability of at least `rate`", from `hits` of `n`."""
    if rate <= 0:
        return 0.0
    if rate >= 1:
        return math.inf if n > hits else 0.0
    return _log_sum(math.log(share) + _log_likelihood_ratio(n, hits, rate, factor) for factor, share in _LOWERED_ODDS)


def log_evidence_mean_above_zero(total: float, squares: float, floor: float) -> float:
    """Log e-value against "no value had a mean above 0", for values of at least `-floor`.

    `total` and `squares` are the sums of the values and of their squares; `squares` may be too large, never too small.
    Each factor exp(b x + (log(1 - b) + b) x^2) is at most 1 + b x for x >= -1 and 0 <= b < 1 (Fan, Grama and Liu,
    "Exponential inequalities for martingales with applications", 2015, lemma 4.1), whose mean is then at most 1.
    """
    scaled, scaled_squares = total / floor, squares / floor**2
    wealth = (bet * scaled + (math.log1p(-bet) + bet) * scaled_squares for bet in _BETS)
    return _log_sum(wealth) - math.log(len(_BETS))


def log_evidence_loss_above(pairs: Pairs, margin: float) -> float:
    """Log e-value against "the model's loss is at most 1 + `margin` times its companion's", for losses in [0, 1]."""
    return log_evidence_mean_above_zero(*excess_loss(pairs, margin), floor=1 + margin)


def excess_loss(pairs: Pairs, margin: float) -> tuple[float, float]:
    """The sum of loss - (1 + `margin`) companion's loss, and a bound on the sum of its squares.

    The squares of these differences are not counted, only those of loss - companion's loss; with losses in [0, 1] they
    are at most (2 margin + margin^2) times the companion's loss greater.
    """
    excess = pairs.loss - (1 + margin) * pairs.companion_loss
    return excess, pairs.loss_difference_squares + (2 * margin + margin**2) * pairs.companion_loss


def _log_likelihood_ratio(n: int, hits: int, rate: float, factor: float) -> float:
    """Of the rate whose odds are `factor` times those of `rate`, against `rate`; kept in logarithms of odds, since a
    rate near 1 rounds to it."""
    odds = factor * rate / (1 - rate)
    if odds == 0 and hits:
        return -math.inf
    of_hits = hits * (-math.log1p(1 / odds) - math.log(rate)) if hits else 0.0
    return of_hits + (n - hits) * (-math.log1p(odds) - math.log1p(-rate))


def _log_sum(logs: Iterable[float]) -> float:
    values = list(logs)
    top = max(values)
    if math.isinf(top):
        return top
    return top + math.log(sum(math.exp(value - top) for value in values))
