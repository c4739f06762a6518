"""How features go together, from rows to verdicts: found when it alone changes, and not blamed on features that do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from perennial.api.driftmonitor import DriftMonitorSpec
from perennial.monitoring import judge
from perennial.monitoring.checkpoint import Checkpoint, Judged
from perennial.monitoring.verdict import Verdict
from perennial.runtime import binning
from perennial.runtime.server.counts.tally import Tally
from perennial.runtime.trainer.blocks import Blocks
from perennial.runtime.trainer.joint import joint
from perennial.wire.counts import Epoch, Epochs, ModelCounts
from perennial.wire.layout import participants
from perennial.wire.reference import Column, Joint, Numeric, Reference
from perennial.wire.schema import Feature, Schema

from . import worlds

NAMES = ("a", "b", "c", "d", "e")
ROWS = 1000


class Served:
    """Five standard normal features, `a` and `b` correlated at 0.6; counted by the server's own tally."""

    def __init__(self, rng: np.random.Generator, spec: dict[str, Any] | None = None) -> None:
        self.rng = rng
        schema = Schema("classification", "y", [Feature(name, "numeric") for name in NAMES], "positive")
        learned, held = self.draw(10_000), self.draw(10_000)
        features: list[Column] = [_column(name, held[:, place]) for place, name in enumerate(NAMES)]
        made = joint(schema, _frame(learned), _frame(held), Blocks(len(held)))
        reference = Reference(
            worlds.MODEL, "classification", len(held), features, _column("score", held[:, -1]), joint=made
        )
        self.tally = Tally(reference, schema)
        self.spec = DriftMonitorSpec.model_validate(
            {"deployment": "x", "baseline": {"from": "Training"}, **(spec or {})}
        )
        self.checkpoint = judge.begin(Checkpoint(), Judged(worlds.MODEL), reference)
        self.window = 0

    def draw(self, n: int, correlation: float = 0.6, shift: float = 0.0, missing: float = 0.0) -> np.ndarray:
        rows = self.rng.normal(size=(n, len(NAMES) + 1))
        rows[:, 1] = correlation * rows[:, 0] + np.sqrt(1 - correlation**2) * rows[:, 1]
        rows[:, 0] += shift
        rows[self.rng.random(n) < missing, 0] = np.nan
        return rows

    def serve(self, windows: int, **change: float) -> list[Verdict]:
        for _ in range(windows):
            self.window += 1
            counts = ModelCounts(ROWS, self.tally(self.draw(ROWS, **change)).tolist())
            epoch = Epoch(self.window, 300.0 * self.window, 300.0 * (self.window + 1), {worlds.MODEL: counts})
            answers = {"pod": Epochs("one", worlds.MODEL, [epoch])}
            self.checkpoint = judge.advance(self.checkpoint, self.spec, answers, now=300.0 * (self.window + 1))
        return list(self.checkpoint.triage.verdicts)


def _frame(rows: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(rows[:, : len(NAMES)], columns=list(NAMES))


def _column(name: str, values: np.ndarray) -> Numeric:
    column = Numeric(name, binning.equal_mass_edges(values), [])
    column.counts = binning.count_cells(binning.numeric_cells(column, values), column.cells).tolist()
    return column


def test_a_flipped_correlation_is_a_joint_change_of_its_two_features(rng: np.random.Generator) -> None:
    served = Served(rng)
    assert served.serve(20) == []
    (verdict,) = served.serve(2, correlation=-0.6)
    assert verdict.state == "Drift"
    product = next(finding for finding in verdict.features if finding.name == "a * b")
    assert (product.kind, product.together) == ("Joint", ("a", "b"))
    assert product.words == "a and b go together otherwise than before: lower"
    assert product.effect > 0.2
    assert {finding.kind for finding in verdict.features} == {"Joint"}
    others = [finding for finding in verdict.features if finding.name.count("*") and finding.name != "a * b"]
    assert others == []


@pytest.mark.parametrize(
    ("change", "state", "kind"), [({"shift": 0.7}, "Drift", "Distribution"), ({"missing": 0.4}, "DataFault", "Missing")]
)
def test_a_change_of_one_feature_is_no_joint_change(
    rng: np.random.Generator, change: dict[str, float], state: str, kind: str
) -> None:
    served = Served(rng)
    served.serve(10)
    verdicts = served.serve(5, **change)
    found = {(verdict.state, finding.name, finding.kind) for verdict in verdicts for finding in verdict.features}
    assert found == {(state, "a", kind)}


def test_a_feature_that_hardly_takes_part_explains_what_it_moves(rng: np.random.Generator) -> None:
    """As far out as values go it moves a component of which it is a fortieth."""
    made = Joint(["a", "b", "c", "d"], [], [], [], [], [[0.7, 0.7, 0.02, 0.001]], [], [])
    made.columns = [worlds.numeric("(component 1)", rng), worlds.numeric("(reconstruction error)", rng)]
    assert participants(made) == {"(component 1)": ("a", "b", "c"), "(reconstruction error)": ("a", "b", "c", "d")}


def test_an_excluded_feature_takes_no_part(rng: np.random.Generator) -> None:
    served = Served(rng, {"features": {"exclude": ["a"]}})
    assert served.serve(10, correlation=-0.6) == []


def test_a_weak_change_of_how_features_go_together_is_minor(rng: np.random.Generator) -> None:
    served = Served(rng)
    served.serve(10)
    states = {verdict.state for verdict in served.serve(40, correlation=0.52)}
    assert states == {"MinorDrift"}


def test_nothing_changed_is_nothing_found(rng: np.random.Generator) -> None:
    assert Served(rng).serve(300) == []
