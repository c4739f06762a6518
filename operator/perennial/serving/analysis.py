"""Judges a candidate by what its pods counted: failed requests, disagreement with the stable model, paired loss.

A verdict is a sequential test with an indifference zone, like Wald's: *Fail* when it is certain that the bound is
exceeded, *Pass* when the value is within the bound and it is certain that the truth is not far above; between the two,
more requests must come. Both kinds of certainty hold however often one looks (evidence.py), so that a rollout may be
judged at every reconcile.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from perennial.api.modeldeployment import Analysis
from perennial.evidence import (
    excess_loss,
    log_evidence_loss_above,
    log_evidence_mean_above_zero,
    log_evidence_rate_above,
    log_evidence_rate_below,
)
from perennial.wire.stats import Comparison, Pairs, Stats

Verdict = Literal["Pass", "Fail", "Inconclusive", "Reported"]

FALSE_FAIL = 0.01
"""Probability that a candidate which keeps the bound is ever failed by one measure, over a whole rollout."""
FALSE_PASS = 0.05
"""Probability that a candidate beyond the indifference zone is ever passed by one measure."""
RATE_INDIFFERENCE = 0.005
LOSS_INDIFFERENCE = 0.02
"""The zone above a bound in which Pass and Fail are both tolerable: a rate's is as wide as its bound, and at least
this; a loss's is this many points of the mean: to tell a model from one that is 2% worse takes some 100,000 labels."""


@dataclass(frozen=True, slots=True)
class Totals:
    """What a revision's pods counted, added up since they started. `compared` are rows that both models scored,
    `pairs` those of them with a label, wherever that came to."""

    requests: int = 0
    errors: int = 0
    compared: int = 0
    disagreed: int = 0
    pairs: Pairs = field(default_factory=Pairs)


@dataclass(frozen=True, slots=True)
class Finding:
    """One measure of the candidate. `value` is a share, and of the loss by how much it is greater than the stable
    model's; None where nothing was counted, or that has none. `n` is what it is of."""

    name: str
    value: float | None
    bound: float
    n: int
    verdict: Verdict

    @property
    def failure(self) -> str:
        """A Fail, for the person who asks why."""
        bound = f"certainly more than {100 * self.bound:.3g}%"
        value = None if self.value is None else f"{100 * self.value:.3g}%"
        if self.name == "loss":
            above = (
                f"{value} above that of the stable model" if value else "above that of the stable model, which has none"
            )
            return f"the loss on {self.n:,} labelled rows is {above}, {bound}"
        what = "requests failed" if self.name == "errorRate" else "rows are answered otherwise than by the stable model"
        return f"{value} of {self.n:,} {what}, {bound}"


def total(samples: Iterable[Stats], companion: str | None) -> Totals:
    """The sum over pods. Comparisons with any other model than `companion`, the stable one's sha256, do not count."""
    added = Totals()
    for stats in samples:
        found = stats.comparison
        if found is None or found.companion != companion:
            found = Comparison(companion="")
        added = Totals(
            requests=added.requests + stats.requests,
            errors=added.errors + stats.errors,
            compared=added.compared + found.compared,
            disagreed=added.disagreed + found.disagreed,
            pairs=added.pairs + found,
        )
    return added


def elsewhere(samples: Iterable[Stats], candidate: str, companion: str, since: datetime) -> Pairs:
    """The candidate's labels that came to pods of its companion, of rows that were predicted since its rollout began,
    and by no process that ended before."""
    challengers = (stats.challengers.get(candidate) for stats in samples if stats.model == companion)
    return sum((each.since(since.timestamp()) for each in challengers if each), Pairs())


def analyse(analysis: Analysis | None, totals: Totals, *, is_cure: bool, same_model: bool) -> tuple[Finding, ...]:
    """Every measure that the user asks for.

    `is_cure`: the version was trained because the stable one drifted or harms. It must differ: disagreement is reported
    only. `same_model`: only the server differs, so that there is nothing to compare.
    """
    if analysis is None:
        return ()
    findings = []
    if analysis.error_rate:
        findings.append(_rate("errorRate", totals.requests, totals.errors, analysis.error_rate.max.fraction))
    if analysis.disagreement:
        found = _rate("disagreement", totals.compared, totals.disagreed, analysis.disagreement.max.fraction)
        findings.append(_reported(found) if is_cure or same_model else found)
    if analysis.loss:
        found = _paired_loss(totals.pairs, analysis.loss.margin.fraction)
        findings.append(_reported(found) if same_model else found)
    return tuple(findings)


def is_failed(findings: Iterable[Finding]) -> bool:
    return any(finding.verdict == "Fail" for finding in findings)


def is_inconclusive(findings: Iterable[Finding]) -> bool:
    return any(finding.verdict == "Inconclusive" for finding in findings)


def _rate(name: str, n: int, hits: int, bound: float) -> Finding:
    if not n:
        return Finding(name, None, bound, 0, "Inconclusive")
    value = hits / n
    far_above = bound + max(bound, RATE_INDIFFERENCE)
    failed = log_evidence_rate_above(n, hits, bound)
    passed = log_evidence_rate_below(n, hits, far_above)
    return Finding(name, value, bound, n, _verdict(value <= bound, failed, passed))


def _paired_loss(pairs: Pairs, margin: float) -> Finding:
    """H0 is E[loss - (1 + margin) companion's loss] <= 0. The value shown is the relative increase of the loss."""
    n = pairs.labelled
    if not n:
        return Finding("loss", None, margin, 0, "Inconclusive")
    excess, squares = excess_loss(pairs, margin)
    failed = log_evidence_loss_above(pairs, margin)
    passed = log_evidence_mean_above_zero(
        n * LOSS_INDIFFERENCE - excess,
        squares - 2 * LOSS_INDIFFERENCE * excess + n * LOSS_INDIFFERENCE**2,
        floor=1 - LOSS_INDIFFERENCE,
    )
    value = pairs.loss / pairs.companion_loss - 1 if pairs.companion_loss > 0 else None
    return Finding("loss", value, margin, n, _verdict(excess <= 0, failed, passed))


def _verdict(within: bool, failed: float, passed: float) -> Verdict:
    if failed >= -math.log(FALSE_FAIL):
        return "Fail"
    if within and passed >= -math.log(FALSE_PASS):
        return "Pass"
    return "Inconclusive"


def _reported(finding: Finding) -> Finding:
    return Finding(finding.name, finding.value, finding.bound, finding.n, "Reported")
