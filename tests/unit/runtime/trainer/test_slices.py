"""Slices: a version that serves some values of a column much worse than others, and chance that looks like it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from perennial.runtime.failures import InputError
from perennial.runtime.trainer import resampling
from perennial.runtime.trainer.evidence import Evidence
from perennial.runtime.trainer.metrics import Judged
from perennial.runtime.trainer.slices import MAX_VALUES, judge_slices, parts
from perennial.wire.run import Slices
from tests.unit.runtime.trainer.world import World, flights


def evidence(groups: Any, wrong: Any) -> Evidence:
    truth = np.ones(len(groups), bool)
    drawn = resampling.of_rows(len(groups), 0)
    judged = Judged(truth, ~wrong, [False, True])
    values = np.asarray(groups, object)
    return Evidence(judged, "classification", "late", drawn, pd.DataFrame(), [], "", slices={"carrier": values})


def wrong_by(groups: Any, rates: dict[str, float], seed: int = 0) -> Any:
    return np.random.default_rng(seed).random(len(groups)) < np.array([rates[group] for group in groups])


def test_a_gap_that_chance_does_not_explain_fails() -> None:
    groups = np.repeat(["AA", "BB", "CC"], [400, 300, 200])
    report, gate = judge_slices(
        Slices("carrier", "error", 0.1), evidence(groups, wrong_by(groups, {"AA": 0.1, "BB": 0.15, "CC": 0.5}))
    )
    assert [(one.value, one.rows) for one in report.slices] == [("AA", 400), ("BB", 300), ("CC", 200)]
    assert not gate.passed
    assert gate.note is not None
    assert gate.note.startswith("carrier CC (0.")
    assert " and AA (0." in gate.note
    best, worst = report.slices[2].metric, report.slices[0].metric
    assert best is not None
    assert worst is not None
    assert gate.value is not None
    assert gate.value == pytest.approx(best - worst)
    assert gate.interval is not None
    assert 0.1 < gate.interval[0] < gate.value < gate.interval[1]


def test_a_gap_that_is_allowed_or_that_may_be_chance_passes() -> None:
    groups = np.repeat(["AA", "CC"], [400, 40])
    wrong = wrong_by(groups, {"AA": 0.1, "CC": 0.25})
    rule = Slices("carrier", "error", 0.05)
    _, gate = judge_slices(rule, evidence(groups, wrong))
    assert gate.value is not None
    assert gate.value > 0.05
    assert gate.passed


def test_the_largest_of_many_equal_slices_is_not_taken_for_a_gap() -> None:
    """Of 40 slices that are alike, the widest of 780 pairs is found too wide in far less than one run of ten."""
    groups = np.repeat([f"g{place}" for place in range(40)], 50)
    rates = dict.fromkeys(groups.tolist(), 0.2)
    gates = [
        judge_slices(Slices("carrier", "error", 0.0), evidence(groups, wrong_by(groups, rates, seed)))[1]
        for seed in range(8)
    ]
    assert sum(not gate.passed for gate in gates) <= 1
    assert all((gate.value or 0) > 0.15 for gate in gates), "each of them has a pair that looks far apart"


def test_small_slices_are_reported_and_not_judged() -> None:
    groups = np.repeat(["AA", "CC"], [400, 29])
    report, gate = judge_slices(Slices("carrier", "error", 0.0), evidence(groups, groups == "CC"))
    assert [(one.rows, one.metric is None) for one in report.slices] == [(400, False), (29, True)]
    assert (gate.value, gate.passed) == (None, True)
    assert gate.note == "NotComparable: fewer than two values of carrier have 30 held-out rows and the metric"


def test_numbers_are_sliced_by_value_where_they_are_few_and_else_by_quartile() -> None:
    few = np.array([1.0, 2.0, 2.0, np.nan])
    assert {name: int(chosen.sum()) for name, chosen in parts(few)} == {"2": 2, "(missing)": 1, "1": 1}
    many = {name: int(chosen.sum()) for name, chosen in parts(np.arange(1000.0))}
    assert many == {
        "above 249.75, up to 499.5": 250,
        "above 499.5, up to 749.25": 250,
        "above 749.25": 250,
        "up to 249.75": 250,
    }


def test_rare_values_are_one_slice_together() -> None:
    texts = np.array([f"v{place % 60:02}" for place in range(6000)] + ["v00"] * 10, object)
    found = list(parts(texts))
    assert len(found) == MAX_VALUES + 1
    assert found[0][0] == "v00"
    assert found[-1][0] == "(others)"
    assert int(found[-1][1].sum()) == 1000
    assert sum(int(chosen.sum()) for _, chosen in found) == len(texts)


def test_a_run_judges_by_a_column_that_the_model_does_not_have(world: World) -> None:
    rule = Slices("status", "error", 0.0)
    result = world.train(features=["distance", "hour"], parameters={"max_depth": 2}, slices=[rule])
    (gate,) = result.gates
    assert gate.rule == "slice"
    assert gate.note is not None
    assert gate.note.startswith("status ")
    version = world.version(result)
    report = json.loads(version.read("metrics.json"))["slices"]
    assert [(one["column"], one["metric"], len(one["slices"])) for one in report] == [("status", "error", 2)]
    assert sum(one["rows"] for one in report[0]["slices"]) == 100
    assert "### error by status" in version.read("card.md").decode()
    assert json.loads(version.read("lineage.json"))["data"]["features"].keys() == {"distance", "hour"}


def test_a_version_that_serves_one_carrier_badly_is_rejected(empty_world: World) -> None:
    table = flights(1200)
    table["late"] = np.where(table.carrier == "CC", np.random.default_rng(0).random(1200) < 0.5, table.late)
    empty_world.write(table)
    rule = Slices("carrier", "accuracy", 0.1)
    result = empty_world.train(parameters={"max_depth": 4}, slices=[rule], bounds=[])
    assert result.outcome == "Rejected"
    assert "CC" in (result.gates[0].note or "")


def test_what_cannot_slice_is_refused_before_anything_is_fitted(world: World) -> None:
    with pytest.raises(InputError, match=r"acceptance\.slices: .* has no column 'carier'; did you mean carrier"):
        world.train(slices=[Slices("carier", "error", 0.1)])
    with pytest.raises(InputError, match=r"'scheduled' is a date"):
        world.train(slices=[Slices("scheduled", "error", 0.1)])
    with pytest.raises(InputError, match=r"slices\[0\]\.metric: r2 does not judge"):
        world.train(slices=[Slices("carrier", "r2", 0.1)])
