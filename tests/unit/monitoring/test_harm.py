"""The bet on harm: fair while the loss is tolerated, exact in its recursion, quick when the loss is not."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom

from perennial.monitoring.course import Course, Span, close, credit, rise
from perennial.monitoring.harm import BETTORS, Game, Harm, game, step
from perennial.monitoring.triage import CLEAN
from perennial.wire.reference import Loss

from . import worlds


@pytest.mark.parametrize("mean", [0.01, 0.1, 0.45])
@pytest.mark.parametrize("n", [1, 7, 40])
def test_no_bettor_gains_on_average_while_the_loss_is_tolerated(mean: float, n: int) -> None:
    rules = game(worlds.loss(mean), margin=0.2)
    wrong = np.arange(n + 1)
    chances = binom.pmf(wrong, n, rules.tolerated)
    wealth = np.exp(rules.gains @ np.stack([n - wrong, wrong]))
    assert np.allclose(wealth @ chances, 1.0)


def test_losses_between_0_and_1_are_bounded_too(rng: np.random.Generator) -> None:
    values = np.linspace(0.05, 1.0, 20)
    counts = np.histogram(rng.beta(1, 9, 5000), bins=np.linspace(0, 1, 21))[0]
    counts[0] += 5000 - counts.sum()
    loss = Loss(values.tolist(), counts.tolist(), mean=0.1, upper=0.105, confidence=0.99)
    rules = game(loss, margin=0.2)
    binned = float(counts @ values / counts.sum())
    assert rules.tolerated == pytest.approx(0.105 + (binned - 0.1) + 0.2 * binned)
    assert np.all(np.exp(rules.gains) >= 0.5 - 1e-9)


def test_evidence_is_the_sum_over_all_beginnings(rng: np.random.Generator) -> None:
    """The recursion against Shiryaev and Roberts' sum written out."""
    rules = game(worlds.loss(0.1), margin=0.2)
    batches = [_labels(rng, 30, 0.15) for _ in range(12)]
    harm = Harm(rules.tolerated)
    for count, batch in enumerate(batches, start=1):
        harm = step(harm, rules, batch, steps=1e12)
        gains = np.stack([rules.gains @ np.asarray(each) for each in batches[:count]])
        sums = np.exp(np.cumsum(gains[::-1], axis=0)).sum(axis=0)
        assert harm.evidence == pytest.approx(math.log(sums.mean()), abs=1e-9)


@pytest.mark.parametrize("loss", [0.05, 0.3])
def test_false_alarms_take_at_least_as_long_as_allowed(loss: float) -> None:
    """The mean run length at the very edge of what is tolerated, cut at ten times the allowed: at least A, by
    theory."""
    allowed = 40
    rules = game(worlds.loss(loss), margin=0.2)
    lengths = [_run_length(rules, rules.tolerated, np.random.default_rng([7, run]), allowed) for run in range(60)]
    assert np.mean(lengths) - 2 * np.std(lengths) / math.sqrt(len(lengths)) >= allowed


def test_harm_is_found_soon_and_dated(rng: np.random.Generator) -> None:
    """.056 -> .085: the known harm of a development set. A fixed tolerance of 2 points would miss it."""
    rules = game(worlds.loss(0.056, rows=12_000), margin=0.2)
    harm, course = Harm(rules.tolerated), Course((Span(0.0),))
    for opened in range(140):
        labels = _labels(rng, 500, 0.056 if opened < 40 else 0.085)
        harm = step(harm, rules, labels, steps=50_000)
        course = close(credit(course, [(opened, labels)]), opened, opened + 1)
        if harm.alarm:
            break
    assert harm.alarm
    assert 40 < opened < 70
    found = rise(course, rules)
    assert abs(found.since - 40) <= 8
    assert found.loss == pytest.approx(0.085, rel=0.15)


def test_an_alarm_ends_once_the_loss_is_normal(rng: np.random.Generator) -> None:
    rules = game(worlds.loss(0.1), margin=0.2)
    harm = Harm(rules.tolerated)
    for _ in range(50):
        harm = step(harm, rules, _labels(rng, 200, 0.5), steps=1000)
    assert harm.alarm
    assert harm.clean == 0
    for _ in range(40):
        harm = step(harm, rules, _labels(rng, 200, 0.1), steps=1000)
    assert not harm.alarm
    assert harm.clean == 40


def test_harm_seen_by_single_labels_lasts_as_long_as_it_lasts(rng: np.random.Generator) -> None:
    rules = game(worlds.loss(0.1), margin=0.2)
    harm, cleanest = Harm(rules.tolerated), 0
    for step_number in range(2000):
        harm = step(harm, rules, _labels(rng, 1, 0.4), steps=50_000)
        cleanest = max(cleanest, harm.clean) if step_number > 500 else 0
    assert cleanest < CLEAN["Harm"]
    for _ in range(300):
        harm = step(harm, rules, _labels(rng, 1, 0.1), steps=50_000)
    assert harm.clean >= CLEAN["Harm"]


@pytest.mark.parametrize("counts", [[], [3], [1, 2, 9, 9]])
def test_counts_of_another_length_do_no_damage(counts: list[int]) -> None:
    rules = game(worlds.loss(0.1), margin=0.2)
    harm = step(Harm(rules.tolerated), rules, counts, steps=10)
    assert len(harm.wealth) == BETTORS
    assert math.isfinite(harm.evidence)


def test_a_perfect_reference_still_makes_a_game() -> None:
    rules = game(Loss([0.0, 1.0], [100, 0], mean=0.0, upper=0.0, confidence=0.99), margin=0.2)
    assert rules.tolerated > 0
    assert np.all(np.isfinite(rules.gains))


def _labels(rng: np.random.Generator, n: int, mean: float) -> list[int]:
    wrong = int(rng.binomial(n, mean))
    return [n - wrong, wrong]


def _run_length(rules: Game, mean: float, rng: np.random.Generator, allowed: int) -> int:
    harm = Harm(rules.tolerated)
    for count in range(1, 10 * allowed):
        harm = step(harm, rules, _labels(rng, 25, mean), steps=allowed)
        if harm.alarm:
            return count
    return 10 * allowed
