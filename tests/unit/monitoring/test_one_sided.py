"""Labels of one class alone prove no harm; those of both do."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from perennial.api.conditions import ConditionType
from perennial.api.driftmonitor import DriftMonitorSpec
from perennial.monitoring import judge
from perennial.monitoring.checkpoint import Checkpoint, Judged, Tally
from perennial.monitoring.conditions import found
from perennial.monitoring.one_sided import one_sided
from perennial.wire.counts import Labels
from perennial.wire.reference import Categorical, Reference

from . import worlds

SPEC = DriftMonitorSpec.model_validate({"deployment": "x", "baseline": {"from": "Training"}})
ROWS = 500


@pytest.fixture
def reference(rng: np.random.Generator) -> Reference:
    made = worlds.reference([worlds.numeric("x", rng), worlds.numeric("score", rng)], loss=worlds.loss(0.02))
    return msgspec.structs.replace(made, classes=["honest", "fraud"])


class Served:
    """Windows in which nothing changes, with labels of so many rows of either class, of which some are wrong."""

    def __init__(self, reference: Reference, rng: np.random.Generator) -> None:
        self.reference = reference
        self.rng = rng
        self.checkpoint = judge.begin(Checkpoint(), Judged(worlds.MODEL), reference)
        self.number = 0

    def labelled(self, honest: int, fraud: int, wrong: int) -> list[str]:
        self.number += 1
        cells = [cell for column in self.reference.columns for cell in worlds.draw(column, self.rng, ROWS)]
        made = worlds.epoch(self.number, cells, ROWS, seconds=300.0)
        losses = {int(made.opened): [honest + fraud - wrong, wrong]}
        labels = Labels(loss=losses, by_score=[0, fraud], score=[honest, fraud])
        counts = msgspec.structs.replace(made.models[worlds.MODEL], labels=labels)
        epoch = msgspec.structs.replace(made, models={worlds.MODEL: counts})
        self.checkpoint = judge.advance(self.checkpoint, SPEC, {"pod": worlds.answer(epoch)}, now=epoch.closed)
        return [verdict.state for verdict in self.checkpoint.triage.verdicts]

    @property
    def said(self) -> str:
        return found(self.checkpoint, SPEC)[ConditionType.HARMFUL].message


def test_only_frauds_come_back_and_prove_nothing(reference: Reference, rng: np.random.Generator) -> None:
    served = Served(reference, rng)
    assert all(served.labelled(honest=0, fraud=20, wrong=16) == [] for _ in range(20))
    assert "400 labels" in served.said
    assert "all of class fraud: if others do not, they say nothing of harm" in served.said


def test_what_came_before_the_other_class_is_not_held_against_the_model(
    reference: Reference, rng: np.random.Generator
) -> None:
    served = Served(reference, rng)
    for _ in range(20):
        served.labelled(honest=0, fraud=20, wrong=16)
    assert all(served.labelled(honest=95, fraud=5, wrong=2) == [] for _ in range(20))
    assert "speak for no loss above" in served.said


def test_labels_of_both_classes_prove_harm(reference: Reference, rng: np.random.Generator) -> None:
    served = Served(reference, rng)
    assert served.labelled(honest=95, fraud=5, wrong=60) == ["Harm"]


@pytest.mark.parametrize(
    ("scored", "positives", "classes", "alone"),
    [
        (100, 100, ["no", "yes"], "yes"),
        (100, 0, ["no", "yes"], "no"),
        (100, 99, ["no", "yes"], None),
        (0, 0, ["no", "yes"], None),
        (100, 100, ["a", "b", "c"], None),
        (100, 100, [], None),
    ],
)
def test_classes_are_known_where_the_score_is_the_chance_of_one(
    reference: Reference, scored: int, positives: int, classes: list[str], alone: str | None
) -> None:
    tally = Tally(scored=scored, positives=positives)
    assert one_sided(tally, msgspec.structs.replace(reference, classes=classes)) == alone
    labels_alone = Categorical("score", ["no", "yes"], [1, 1, 0, 0, 0])
    assert one_sided(tally, msgspec.structs.replace(reference, classes=classes, score=labels_alone)) is None
