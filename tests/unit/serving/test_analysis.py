"""Verdicts: by table, and their error rates by simulation with a look after every few requests."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perennial.api.modeldeployment import Analysis
from perennial.evidence import (
    log_evidence_mean_above_zero,
    log_evidence_rate_above,
    log_evidence_rate_below,
)
from perennial.serving.analysis import (
    FALSE_FAIL,
    FALSE_PASS,
    Finding,
    Totals,
    analyse,
    elsewhere,
    is_failed,
    is_inconclusive,
    total,
)
from perennial.wire.stats import Challenger, Comparison, Pairs, Stats, Stretch

FAIL_AT = -math.log(FALSE_FAIL)
PASS_AT = -math.log(FALSE_PASS)


def rules(**fields: object) -> Analysis:
    return Analysis.model_validate(fields)


def verdict(analysis: Analysis, totals: Totals, *, is_cure: bool = False, same_model: bool = False) -> str:
    (finding,) = analyse(analysis, totals, is_cure=is_cure, same_model=same_model)
    return finding.verdict


@pytest.mark.parametrize(
    ("requests", "errors", "expected"),
    [
        (0, 0, "Inconclusive"),
        (50, 0, "Inconclusive"),
        (1, 1, "Inconclusive"),  # one failed request of one is bad luck as easily as a bad model
        (250, 0, "Pass"),
        (2000, 12, "Pass"),
        (30, 15, "Fail"),
        (1000, 40, "Fail"),
        (3000, 33, "Inconclusive"),  # just above the bound, not certainly
    ],
)
def test_error_rate_of_at_most_one_percent(requests: int, errors: int, expected: str) -> None:
    assert verdict(rules(errorRate={"max": "1%"}), Totals(requests=requests, errors=errors)) == expected


@pytest.mark.parametrize(
    ("finding", "says"),
    [
        (Finding("errorRate", 0.25, 0.01, 1200, "Fail"), "25% of 1,200 requests failed, certainly more than 1%"),
        (
            Finding("disagreement", 0.3, 0.1, 90, "Fail"),
            "30% of 90 rows are answered otherwise than by the stable model, certainly more than 10%",
        ),
        (
            Finding("loss", 5.719, 0.05, 440, "Fail"),
            "the loss on 440 labelled rows is 572% above that of the stable model, certainly more than 5%",
        ),
        (
            Finding("loss", None, 0.05, 440, "Fail"),
            "the loss on 440 labelled rows is above that of the stable model, which has none, certainly more than 5%",
        ),
    ],
)
def test_a_failure_is_told_in_shares(finding: Finding, says: str) -> None:
    assert finding.failure == says


def test_no_error_allowed_fails_at_the_first() -> None:
    bound = rules(errorRate={"max": "0%"})
    assert verdict(bound, Totals(requests=5000, errors=1)) == "Fail"
    assert verdict(bound, Totals(requests=5000)) == "Pass"


@pytest.mark.parametrize("share", ["50%", "100%"])
def test_a_generous_bound_still_gives_verdicts(share: str) -> None:
    assert verdict(rules(errorRate={"max": share}), Totals(requests=500, errors=10)) == "Pass"


def test_disagreement_gates_except_for_a_cure_or_the_same_model() -> None:
    bound = rules(disagreement={"max": "10%"})
    half = Totals(compared=200, disagreed=100)
    assert verdict(bound, half) == "Fail"
    assert verdict(bound, half, is_cure=True) == "Reported"
    assert verdict(bound, half, same_model=True) == "Reported"
    assert verdict(bound, Totals(compared=200, disagreed=6)) == "Pass"


def paired(n: int, only_candidate_wrong: int, only_stable_wrong: int, both: int) -> Totals:
    pairs = Pairs(
        labelled=n,
        loss=only_candidate_wrong + both,
        companion_loss=only_stable_wrong + both,
        loss_difference_squares=only_candidate_wrong + only_stable_wrong,
    )
    return Totals(pairs=pairs)


@pytest.mark.parametrize(
    ("totals", "expected"),
    [
        (paired(0, 0, 0, 0), "Inconclusive"),
        (paired(60, 2, 2, 6), "Inconclusive"),
        (paired(500, 5, 40, 50), "Pass"),  # clearly better
        (paired(3000, 60, 62, 300), "Pass"),  # as good
        (paired(400, 60, 5, 40), "Fail"),
        (paired(400, 40, 0, 0), "Fail"),  # the stable model made no mistake at all
    ],
)
def test_paired_loss_within_two_percent(totals: Totals, expected: str) -> None:
    assert verdict(rules(loss={"margin": "2%"}), totals) == expected


def test_the_loss_shown_is_the_relative_increase() -> None:
    (finding,) = analyse(rules(loss={"margin": "2%"}), paired(400, 15, 5, 45), is_cure=False, same_model=False)
    assert finding.value == pytest.approx(0.2)
    assert (finding.bound, finding.n) == (0.02, 400)


def test_every_measure_asked_for_is_found() -> None:
    found = analyse(
        rules(errorRate={"max": "1%"}, disagreement={"max": "10%"}, loss={"margin": "2%"}),
        Totals(requests=400, compared=300, disagreed=5),
        is_cure=False,
        same_model=False,
    )
    assert [(f.name, f.verdict) for f in found] == [
        ("errorRate", "Pass"),
        ("disagreement", "Pass"),
        ("loss", "Inconclusive"),
    ]
    assert is_inconclusive(found)
    assert not is_failed(found)
    assert analyse(None, Totals(requests=1, errors=1), is_cure=False, same_model=False) == ()


def stats(requests: int, companion: str | None) -> Stats:
    pairs = (
        Comparison(companion=companion, compared=10, disagreed=1, labelled=4, loss=1.0, companion_loss=2.0)
        if companion
        else None
    )
    return Stats("i", "m", 0.0, requests=requests, errors=1, comparison=pairs)


def test_totals_take_only_comparisons_with_the_stable_model() -> None:
    added = total([stats(100, "stable"), stats(50, "older"), stats(7, None)], "stable")
    assert (added.requests, added.errors, added.compared, added.pairs.labelled) == (157, 3, 10, 4)


def test_labels_that_came_to_the_stable_models_pods_count_from_the_rollouts_beginning_on() -> None:
    began = datetime(2026, 3, 1, 12, 0, 30, tzinfo=UTC)
    second = int(began.timestamp())
    new = Challenger(
        {
            1: Stretch(second - 60, second - 1, Pairs(8)),
            2: Stretch(second, second, Pairs(4)),
            3: Stretch(second + 60, second + 120, Pairs(2)),
        }
    )
    challenged = {"new": new, "older": Challenger({1: Stretch(second, second, Pairs(1))})}
    samples = [
        Stats("i", "stable", 0.0, challengers=challenged),
        Stats("j", "stable", 0.0, challengers={"new": Challenger({1: Stretch(second - 60, second + 60, Pairs(16))})}),
        Stats("k", "another", 0.0, challengers=challenged),
    ]
    assert elsewhere(samples, "new", "stable", began) == Pairs(22)
    assert elsewhere(samples, "unheard of", "stable", began) == Pairs()


@given(n=st.integers(0, 10**6), share=st.floats(0, 1), rate=st.floats(0, 1))
def test_evidence_is_never_for_both_sides(n: int, share: float, rate: float) -> None:
    hits = round(n * share)
    above, below = log_evidence_rate_above(n, hits, rate), log_evidence_rate_below(n, hits, rate)
    assert not math.isnan(above)
    assert not math.isnan(below)
    assert not (above > 0 and below > 0)


# ---- error rates under continuous looking ----


def of_each(evidence: Callable[[int, int, float], float], n: np.ndarray, counts: np.ndarray, rate: float) -> np.ndarray:
    known = functools.cache(evidence)
    return np.array([[known(m, k, rate) for m, k in zip(n.tolist(), row, strict=True)] for row in counts.tolist()])


def ever(evidence: np.ndarray, threshold: float) -> float:
    return float(np.mean(np.max(evidence, axis=1) >= threshold))


def looks(hits: np.ndarray, every: int) -> tuple[np.ndarray, np.ndarray]:
    counts = np.cumsum(hits, axis=1)[:, every - 1 :: every]
    return np.arange(every, hits.shape[1] + 1, every), counts


@pytest.mark.parametrize("rate", [0.01, 0.1])
def test_a_candidate_at_the_bound_is_rarely_ever_failed(rate: float) -> None:
    rng = np.random.default_rng(20260101)
    n, counts = looks(rng.random((2000, 3000)) < rate, every=10)
    share = ever(of_each(log_evidence_rate_above, n, counts, rate), FAIL_AT)
    assert share <= FALSE_FAIL + 3 * math.sqrt(FALSE_FAIL * (1 - FALSE_FAIL) / 2000)


def test_naive_peeking_would_fail_far_too_often() -> None:
    """What the evidence is for: a one-sided z-test at the same level, read as often, on the same data."""
    rng = np.random.default_rng(20260101)
    rate = 0.1
    n, counts = looks(rng.random((2000, 3000)) < rate, every=10)
    z = (counts - n * rate) / np.sqrt(n * rate * (1 - rate))
    assert np.mean(np.max(z[:, 5:], axis=1) >= 2.326) > 5 * FALSE_FAIL


def test_a_candidate_far_above_the_bound_is_rarely_ever_passed() -> None:
    rng = np.random.default_rng(7)
    n, counts = looks(rng.random((2000, 3000)) < 0.02, every=10)
    share = ever(of_each(log_evidence_rate_below, n, counts, 0.02), PASS_AT)
    assert share <= FALSE_PASS + 3 * math.sqrt(FALSE_PASS * (1 - FALSE_PASS) / 2000)


def test_requests_that_fail_together_do_not_mislead() -> None:
    """Errors in bursts, but never likelier than the bound given the past: the guarantee needs no independence."""
    rng = np.random.default_rng(3)
    stormy = np.repeat(rng.random((300, 40)) < 0.5, 50, axis=1)
    hits = stormy & (rng.random((300, 2000)) < 0.1)
    n, counts = looks(hits, every=20)
    share = ever(of_each(log_evidence_rate_above, n, counts, 0.1), FAIL_AT)
    assert share <= FALSE_FAIL + 3 * math.sqrt(FALSE_FAIL / 300)


def test_a_candidate_with_the_same_loss_is_rarely_ever_failed() -> None:
    rng = np.random.default_rng(11)
    draws = rng.random((1000, 3000))
    difference = np.where(draws < 0.04, 1.0, np.where(draws < 0.08, -1.0, 0.0))
    sums = np.cumsum(difference, axis=1)[:, 9::10]
    squares = np.cumsum(difference**2, axis=1)[:, 9::10]
    known = functools.cache(log_evidence_mean_above_zero)
    evidence = np.array(
        [
            [known(s, q, 1.0) for s, q in zip(row, square, strict=True)]
            for row, square in zip(sums.tolist(), squares.tolist(), strict=True)
        ]
    )
    assert ever(evidence, FAIL_AT) <= FALSE_FAIL + 3 * math.sqrt(FALSE_FAIL / 1000)


@pytest.mark.parametrize(("rate", "within"), [(0.05, 400), (0.2, 60)])
def test_a_bad_candidate_is_found_soon(rate: float, within: int) -> None:
    """Power: nine of ten candidates this bad are failed within so many requests, against a bound of 1%."""
    rng = np.random.default_rng(5)
    counts = np.sum(rng.random((500, within)) < rate, axis=1)
    found = [log_evidence_rate_above(within, int(k), 0.01) >= FAIL_AT for k in counts]
    assert np.mean(found) >= 0.9
