"""Harm suspected from scores alone: where they say so, only there, and never where they do not tell the loss."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from perennial.api.driftmonitor import DriftMonitorSpec
from perennial.monitoring import judge
from perennial.monitoring.checkpoint import Checkpoint, Judged
from perennial.monitoring.harm import Harm, step
from perennial.monitoring.suspicion import bet_on_scores, mean_loss, why_not
from perennial.monitoring.verdict import Verdict
from perennial.runtime import binning
from perennial.runtime.trainer.bounds import upper_share
from perennial.runtime.trainer.expected import expected
from perennial.wire.reference import Expected, Loss, Numeric, Reference

from . import worlds

ROWS = 1000


def scores(rng: np.random.Generator, n: int, unsure: float = 0.0) -> np.ndarray:
    """A positive score; a share `unsure` of the rows lies near the middle, where half the answers are wrong."""
    drawn: np.ndarray = rng.beta(0.3, 0.3, size=n)
    middling = rng.random(n) < unsure
    drawn[middling] = rng.uniform(0.35, 0.65, size=int(middling.sum()))
    return drawn


def wrong_of(rng: np.random.Generator, drawn: np.ndarray) -> np.ndarray:
    return np.asarray(rng.random(len(drawn)) < np.minimum(drawn, 1 - drawn), np.intp)


def reference_of(rng: np.random.Generator, n: int = 10_000, unsure: float = 0.1) -> Reference:
    drawn = scores(rng, n, unsure)
    wrong = wrong_of(rng, drawn)
    score = Numeric("score", binning.equal_mass_edges(drawn), [])
    cells = binning.numeric_cells(score, drawn)
    score.counts = binning.count_cells(cells, score.cells).tolist()
    lost = int(wrong.sum())
    loss = Loss([0.0, 1.0], [n - lost, lost], lost / n, upper_share(lost, n, 0.95), 0.95)
    return Reference(worlds.MODEL, "classification", n, [], score, loss, expected=expected(score, cells, wrong))


def spec_of(**more: object) -> DriftMonitorSpec:
    return DriftMonitorSpec.model_validate({"deployment": "x", "baseline": {"from": "Training"}, **more})


class Served:
    def __init__(self, rng: np.random.Generator, reference: Reference) -> None:
        self.rng = rng
        self.reference = reference
        self.checkpoint = judge.begin(Checkpoint(), Judged(worlds.MODEL), reference)
        self.number = 0

    def serve(self, windows: int, unsure: float) -> Verdict | None:
        score = self.reference.score
        assert isinstance(score, Numeric)
        for _ in range(windows):
            self.number += 1
            cells = binning.numeric_cells(score, scores(self.rng, ROWS, unsure))
            counts = binning.count_cells(cells, score.cells).tolist()
            epoch = worlds.epoch(self.number, counts, ROWS, seconds=300.0, start=0.0)
            answers = {"pod": worlds.answer(epoch)}
            self.checkpoint = judge.advance(self.checkpoint, spec_of(), answers, now=300.0 * self.number)
        return self.checkpoint.triage.of("HarmSuspected")


def test_less_sure_scores_are_suspected_sized_and_dated(rng: np.random.Generator) -> None:
    served = Served(rng, reference_of(rng))
    assert served.serve(50, unsure=0.1) is None
    verdict = served.serve(6, unsure=0.35)
    assert verdict is not None
    assert verdict.loss is not None
    truth = wrong_of(rng, scores(rng, 100_000, 0.35)).mean()
    assert verdict.loss.now == pytest.approx(truth, rel=0.1)
    assert abs(verdict.since - 50 * 300) <= 300
    assert served.serve(40, unsure=0.1) is None


@pytest.mark.parametrize("unsure", [0.0, 0.1, 0.12])
def test_surer_ones_or_a_little_less_sure_ones_are_not(rng: np.random.Generator, unsure: float) -> None:
    assert Served(rng, reference_of(rng)).serve(100, unsure) is None


def test_scores_that_do_not_tell_the_loss_suspect_nothing_and_it_is_said(rng: np.random.Generator) -> None:
    reference = reference_of(rng)
    assert reference.expected is not None
    assert why_not(reference, 0.2) is None
    off = msgspec.structs.replace(reference.expected, measured=reference.expected.estimated * 1.5)
    reference = msgspec.structs.replace(reference, expected=off)
    said = why_not(reference, 0.2)
    assert said is not None
    assert "do not tell this version's loss" in said
    assert Served(rng, reference).serve(10, unsure=0.5) is None


def test_references_of_earlier_releases_suspect_nothing(rng: np.random.Generator) -> None:
    reference = msgspec.structs.replace(reference_of(rng), expected=None)
    assert why_not(reference, 0.2) is not None
    assert Served(rng, reference).serve(5, unsure=0.5) is None


def test_a_false_suspicion_takes_at_least_as_long_as_allowed() -> None:
    """At the very edge of what is tolerated, in windows that differ by more than chance; cut at ten times the
    allowed."""
    allowed, dispersion = 40, 4.0
    values = [0.05, 0.45]
    loss = Loss([0.0, 1.0], [850, 150], 0.15, 0.16, 0.95)
    bet = bet_on_scores(Expected(values, 0.15, 0.15, 0.01), loss, [750, 250], 0.2, dispersion)
    share = (bet.tolerated - values[0]) / (values[1] - values[0])
    lengths = []
    for run in range(60):
        rng = np.random.default_rng([9, run])
        harm = Harm(bet.tolerated)
        length = 0
        while not harm.alarm and length < 10 * allowed:
            length += 1
            # Four rows each of a kind: a dispersion of four.
            unsure = 4 * int(rng.binomial(25, share))
            harm = step(harm, bet, [100 - unsure, unsure], steps=allowed)
        lengths.append(length)
    assert np.mean(lengths) - 2 * np.std(lengths) / np.sqrt(len(lengths)) >= allowed


def test_the_mean_of_counts() -> None:
    assert mean_loss(Expected([0.1, 0.3, 0.2], 0, 0, 0), [2, 1, 1]) == pytest.approx(0.175)
    assert mean_loss(Expected([0.1], 0, 0, 0), [0]) == 0
