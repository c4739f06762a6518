"""From pods' epochs to verdicts, over days of simulated traffic: silence, drift, broken data, harm, and their end."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from perennial.api.driftmonitor import DriftMonitorSpec
from perennial.monitoring import judge
from perennial.monitoring.checkpoint import Checkpoint, Judged, Tally, decode, encode
from perennial.monitoring.triage import CLEAN
from perennial.wire.counts import Epochs
from perennial.wire.reference import Column

from . import worlds

PODS = ("a", "b")
ROWS = 100
"""Of a pod in a minute: a window of 5 minutes has 1,000."""


class Traffic:
    """Two pods, a look a minute, and a monitor that sees what they serve."""

    def __init__(self, rng: np.random.Generator, spec: dict[str, Any] | None = None, features: int = 6) -> None:
        self.rng = rng
        self.columns: list[Column] = [worlds.numeric(f"f{i}", rng, rows=10_000) for i in range(features)]
        self.columns += [worlds.categorical("kind", {"ash": 0.6, "birch": 0.4}, rows=10_000)]
        self.columns += [worlds.numeric("(score)", rng, rows=10_000)]
        self.spec = DriftMonitorSpec.model_validate(
            {"deployment": "flights", "baseline": {"from": "Training"}, **(spec or {})}
        )
        reference = worlds.reference(self.columns, rows=10_000, loss=worlds.loss(0.1))
        self.checkpoint = judge.begin(Checkpoint(), Judged(worlds.MODEL), reference)
        self.minute = 0

    def run(
        self,
        windows: int,
        *,
        shift: float = 0.0,
        missing: float = 0.0,
        unseen: float = 0.0,
        error: float | None = None,
    ) -> Traffic:
        """So many windows of 5 minutes. The change is in f1, in f2's values and in the categories of `kind`."""
        for _ in range(5 * windows):
            self.minute += 1
            answers = {pod: self._answer(pod, shift, missing, unseen, error) for pod in PODS}
            self.checkpoint = judge.advance(self.checkpoint, self.spec, answers, now=60.0 * self.minute)
        return self

    def _answer(self, pod: str, shift: float, missing: float, unseen: float, error: float | None) -> Epochs:
        cells: list[int] = []
        for column in self.columns:
            cells += worlds.draw(
                column,
                self.rng,
                ROWS,
                shift=shift if column.name == "f1" else 0.0,
                missing=missing if column.name == "f2" else 0.0,
            )
            if column.name == "kind":
                strange = min(round(ROWS * unseen), cells[-5])
                cells[-5] -= strange
                cells[-2] += strange
        wrong = int(self.rng.binomial(ROWS, error)) if error is not None else 0
        losses = [ROWS - wrong, wrong] if error is not None else []
        return worlds.answer(worlds.epoch(self.minute, cells, ROWS, losses=losses), incarnation=pod)

    @property
    def found(self) -> dict[str, list[str]]:
        return {
            verdict.state: [f"{feature.name} {feature.kind}" for feature in verdict.features]
            for verdict in self.checkpoint.triage.verdicts
        }


def test_nothing_changed_nothing_is_said(rng: np.random.Generator) -> None:
    traffic = Traffic(rng).run(300, error=0.1)
    assert traffic.found == {}
    assert traffic.checkpoint.windows == 300
    assert traffic.checkpoint.tally.rows == 300 * 5 * 2 * ROWS
    assert traffic.checkpoint.calm == 300


def test_a_shifted_feature_is_named_dated_and_sized(rng: np.random.Generator) -> None:
    traffic = Traffic(rng).run(50).run(5, shift=0.5)
    assert traffic.found == {"Drift": ["f1 Distribution"]}
    (verdict,) = traffic.checkpoint.triage.verdicts
    changed = 1_000_000 + 50 * 300
    assert abs(verdict.since - changed) <= 300
    (feature,) = verdict.features
    assert feature.effect == pytest.approx(0.197, abs=0.06)
    assert feature.words == "higher"
    assert traffic.checkpoint.calm == 0


def test_a_certain_but_small_shift_is_minor(rng: np.random.Generator) -> None:
    assert Traffic(rng).run(10).run(60, shift=0.08).found == {"MinorDrift": ["f1 Distribution"]}


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"missing": 1.0}, {"DataFault": ["f2 Missing"]}),
        ({"missing": 0.2}, {"DataFault": ["f2 Missing"]}),
        ({"missing": 0.02}, {"MinorDrift": ["f2 Missing"]}),
        ({"unseen": 0.3}, {"Drift": ["kind Category", "kind Unseen"]}),
    ],
)
def test_broken_data_is_told_apart(
    rng: np.random.Generator, change: dict[str, float], found: dict[str, list[str]]
) -> None:
    traffic = Traffic(rng).run(10).run(12, **change)
    assert {state: sorted(features) for state, features in traffic.found.items()} == found


def test_a_fault_is_over_some_windows_after_it_was_mended(rng: np.random.Generator) -> None:
    traffic = Traffic(rng).run(10).run(20, missing=1.0).run(CLEAN["DataFault"] - 1)
    assert traffic.found == {"DataFault": ["f2 Missing"]}
    assert traffic.run(2).found == {}
    assert traffic.run(60).found == {}
    assert traffic.run(3, missing=1.0).found == {"DataFault": ["f2 Missing"]}


def test_harm_that_broken_data_did_goes_with_them(rng: np.random.Generator) -> None:
    traffic = Traffic(rng).run(10, error=0.1).run(10, missing=1.0, error=0.4)
    assert traffic.found == {"DataFault": ["f2 Missing"], "Harm": []}
    assert traffic.run(CLEAN["DataFault"], error=0.1).found == {}
    assert traffic.run(10, error=0.1).found == {}
    assert "Harm" in traffic.run(10, error=0.4).found


def test_harm_that_was_there_before_outlives_a_fault(rng: np.random.Generator) -> None:
    traffic = Traffic(rng).run(10, error=0.1).run(10, error=0.4).run(3, missing=1.0, error=0.4)
    assert traffic.run(CLEAN["DataFault"], error=0.4).found == {"Harm": []}


def test_drift_is_over_after_a_long_clean_run(rng: np.random.Generator) -> None:
    traffic = Traffic(rng).run(10).run(40, shift=0.5).run(CLEAN["Drift"] - 1)
    assert traffic.found == {"Drift": ["f1 Distribution"]}
    assert traffic.run(2).found == {}
    assert traffic.run(60).found == {}


def test_harm_is_proved_on_labels_and_dated(rng: np.random.Generator) -> None:
    traffic = Traffic(rng).run(40, error=0.1).run(8, error=0.2)
    assert traffic.found == {"Harm": []}
    (verdict,) = traffic.checkpoint.triage.verdicts
    assert verdict.loss is not None
    assert verdict.loss.reference == pytest.approx(0.1)
    assert verdict.loss.now == pytest.approx(0.2, abs=0.03)
    assert abs(verdict.since - (1_000_000 + 40 * 300)) <= 2 * 300
    assert not judge.helped(traffic.checkpoint, traffic.spec)


def test_what_helped_is_known_only_by_labels_where_harm_is_acted_on(rng: np.random.Generator) -> None:
    acting = {"actions": [{"state": "Harm", "action": "Retrain"}]}
    unlabelled = Traffic(rng, acting).run(40)
    labelled = Traffic(rng, acting).run(40, error=0.1)
    assert not judge.helped(unlabelled.checkpoint, unlabelled.spec)
    assert judge.helped(labelled.checkpoint, labelled.spec)


def test_a_baseline_is_learned_and_compared_with_training_once(rng: np.random.Generator) -> None:
    traffic = Traffic(rng, {"baseline": {"from": "Serving", "rows": 8000}})
    traffic.run(9, shift=0.5)
    baseline = traffic.checkpoint.baseline
    assert baseline is not None
    assert not baseline.complete
    assert traffic.run(1, shift=0.5).found == {"TrainServeSkew": ["f1 Distribution"]}
    assert traffic.run(40, shift=0.5).found == {"TrainServeSkew": ["f1 Distribution"]}
    assert traffic.run(10).found == {"TrainServeSkew": ["f1 Distribution"], "Drift": ["f1 Distribution"]}


def test_what_a_person_calls_normal_is_not_held_against_training(rng: np.random.Generator) -> None:
    traffic = Traffic(rng, {"baseline": {"from": "Serving", "rows": 8000}}).run(15).run(5, shift=0.5)
    assert "Drift" in traffic.found
    traffic.checkpoint = judge.release(traffic.checkpoint, "1")
    assert traffic.run(20, shift=0.5).found == {}
    another = judge.begin(traffic.checkpoint, Judged(worlds.OTHER_MODEL), None)
    assert judge.refer(another, worlds.reference(traffic.columns)).settled != worlds.OTHER_MODEL


def test_the_version_before_is_the_last_to_be_forgotten() -> None:
    """However many candidates came to nothing since it took over: its pods have yet to hand over what they have."""
    tallies = {digest: Tally(rows=1) for digest in (worlds.MODEL, *"abcdef")}
    known = Checkpoint(model=Judged(worlds.MODEL), tallies=tallies)
    begun = judge.begin(known, Judged("f"), None)
    assert list(begun.tallies) == ["d", "e", worlds.MODEL, "f"]


@pytest.mark.parametrize(
    ("wanted", "begins_anew"),
    [
        ({"rows": 8000}, False),
        ({"rows": 1000}, False),
        ({"rows": 20_000}, True),
        ({"rows": 8000, "period": "30d"}, True),
        ({"rows": 8000, "period": "10m"}, False),
        ({"from": "Training"}, True),
    ],
)
def test_a_baseline_that_is_asked_to_be_larger_is_learned_anew(
    rng: np.random.Generator, wanted: dict[str, Any], begins_anew: bool
) -> None:
    traffic = Traffic(rng, {"baseline": {"from": "Serving", "rows": 8000}}).run(12)
    before = traffic.checkpoint.baseline
    traffic.spec = DriftMonitorSpec.model_validate({"deployment": "flights", "baseline": wanted})
    after = traffic.run(1).checkpoint.baseline
    assert before is not None
    assert after is not None
    assert (after.since != before.since) == begins_anew
    assert after.complete == (not begins_anew or after.source == "Training")


def test_what_broke_while_learning_is_not_learned(rng: np.random.Generator) -> None:
    traffic = Traffic(rng, {"baseline": {"from": "Serving", "rows": 8000}})
    traffic.run(5).run(4, missing=1.0)
    assert traffic.found == {"DataFault": ["f2 Missing"]}
    baseline = traffic.checkpoint.baseline
    assert baseline is not None
    assert baseline.windows == 5
    assert traffic.run(20).found == {}
    learned = traffic.checkpoint.baseline
    assert learned is not None
    assert learned.complete
    assert max(max(each.squares) / each.pairs for each in learned.served) < 8


def _looked_back(traffic: Traffic) -> int | None:
    """With how many windows after it the baseline was compared."""
    baseline = traffic.checkpoint.baseline
    return baseline.after.later.windows if baseline and baseline.after else None


def test_what_came_after_the_baseline_is_compared_with_it(rng: np.random.Generator) -> None:
    traffic = Traffic(rng, {"baseline": {"from": "Serving", "rows": 8000}}).run(10)
    assert _looked_back(traffic) is None
    assert _looked_back(traffic.run(9)) == 8
    assert decode({"metadata": {"name": "x"}, "binaryData": encode(traffic.checkpoint)}) == traffic.checkpoint
    assert _looked_back(traffic.run(40)) == 32
    traffic.checkpoint = judge.release(traffic.checkpoint, "1")
    assert _looked_back(traffic.run(3)) is None


@pytest.mark.parametrize(
    ("change", "state"), [({"missing": 0.5}, "DataFault"), ({"shift": 0.5}, "Drift"), ({"shift": 0.12}, "MinorDrift")]
)
def test_what_is_found_is_not_taken_for_what_is_usual(
    rng: np.random.Generator, change: dict[str, float], state: str
) -> None:
    traffic = Traffic(rng, {"baseline": {"from": "Serving", "rows": 20_000}}).run(25)
    assert _looked_back(traffic) == 4
    assert list(traffic.run(40, **change).found) == [state]
    assert (_looked_back(traffic) or 0) <= 16


def test_what_came_after_the_baseline_is_what_came_after_a_fault(rng: np.random.Generator) -> None:
    traffic = Traffic(rng, {"baseline": {"from": "Serving", "rows": 8000}}).run(13)
    assert _looked_back(traffic) == 2
    traffic.run(4, missing=1.0).run(CLEAN["DataFault"])
    assert traffic.found == {}
    looked = [_looked_back(traffic.run(1)) for _ in range(16)]
    assert 16 not in looked[:4]
    assert looked[-1] == 16


def test_a_window_never_closes_with_too_few_rows_or_too_soon(rng: np.random.Generator) -> None:
    traffic = Traffic(rng, {"window": {"minRows": 3000, "period": "10m"}})
    closed = []
    for _ in range(40):
        before = traffic.checkpoint
        traffic.run(1)
        after = traffic.checkpoint
        if after.windows > before.windows:
            closed.append(after.history[0].rows)
            assert after.history[0].closed - after.history[0].opened >= 600
    assert closed
    assert min(closed) >= 3000


def test_another_baseline_is_begun_when_the_user_wants_one(rng: np.random.Generator) -> None:
    traffic = Traffic(rng).run(10).run(5, shift=0.5)
    traffic.spec = DriftMonitorSpec.model_validate({"deployment": "flights", "baseline": {"from": "Serving"}})
    traffic.run(1, shift=0.5)
    baseline = traffic.checkpoint.baseline
    assert baseline is not None
    assert (baseline.source, baseline.complete) == ("Serving", False)
    assert traffic.found == {}


@pytest.mark.parametrize("source", ["Training", "Serving"])
def test_the_checkpoint_stays_small(rng: np.random.Generator, source: str) -> None:
    """20 features; 100 KB is the bound, a ConfigMap holds ten times as much."""
    traffic = Traffic(rng, {"baseline": {"from": source, "rows": 5000}}, features=19)
    largest = 0
    for _ in range(12):
        traffic.run(5, error=0.1)
        largest = max(largest, len(encode(traffic.checkpoint)["checkpoint"]))
    assert 5_000 < largest < 40_000


def test_the_allowance_is_shared(rng: np.random.Generator) -> None:
    spec = DriftMonitorSpec.model_validate({"deployment": "x", "falseAlarmEvery": "10d", "window": {"period": "1h"}})
    shares = (judge.DRIFT_SHARE, judge.FAULT_SHARE, judge.SUSPICION_SHARE, judge.HARM_SHARE)
    assert sum(shares) == 1
    assert sum(1 / judge.looks(spec, share) for share in shares) == pytest.approx(1 / 240)
