"""The champion: a version must not be worse than the one that is accepted, on rows that neither has learned from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from perennial.runtime.trainer.champion import _is_after
from perennial.wire.manifest import ANSWERS_FILE
from perennial.wire.result import Gate, Result
from perennial.wire.run import Accepted, Champion
from perennial.wire.run import Test as HeldOut
from tests.unit.runtime.trainer.world import World, flights

STUMP = {"max_depth": 1}
FAIR = {"max_depth": 4}
BY_TIME: dict[str, Any] = {"time": "scheduled", "test": HeldOut(0.25, "Time")}


def against(result: Result, metric: str = "error", margin: float = 0.0) -> Champion:
    assert result.model is not None
    model = result.model
    return Champion(metric, margin, Accepted(result.version, model.uri, model.sha256, model.seal))


def gate_of(result: Result) -> Gate:
    (gate,) = (gate for gate in result.gates if gate.rule == "champion")
    return gate


def not_comparable(world: World, champion: Champion, **options: Any) -> str:
    """Why nothing was compared. Such a run is accepted as far as the champion goes."""
    result = world.train(version=2, champion=champion, **options)
    gate = gate_of(result)
    assert (result.outcome, gate.value, gate.passed) == ("Accepted", None, True)
    assert gate.note is not None
    assert gate.note.startswith("NotComparable: ")
    return gate.note


def test_the_first_version_has_nobody_to_stand_up_to(world: World) -> None:
    gate = gate_of(world.train(champion=Champion("error")))
    assert (gate.passed, gate.note) == (True, "NotComparable: no version was accepted before")


@pytest.mark.parametrize("metric", ["error", "roc_auc"])
def test_a_worse_version_is_rejected_on_the_rows_that_both_held_out(world: World, metric: str) -> None:
    """Though the champion was refitted on these very rows: its answers from before are what counts."""
    first = world.given(parameters=FAIR)
    result = world.train(version=2, features=["hour"], champion=against(first, metric))
    gate = gate_of(result)
    assert result.outcome == "Rejected"
    assert gate.note == "version 1 on the 100 rows that both held out"
    sign = 1 if metric == "error" else -1
    assert gate.value is not None
    assert gate.value == pytest.approx(sign * (result.metrics[metric] - first.metrics[metric]))
    assert gate.interval is not None
    assert 0 < gate.interval[0] < gate.value < gate.interval[1]
    assert "worse" in world.version(result).read("card.md").decode()


def test_a_better_version_is_accepted_and_noise_does_not_decide(world: World) -> None:
    first = world.given(parameters=STUMP)
    better = world.train(version=2, parameters=FAIR, champion=against(first))
    assert better.outcome == "Accepted"
    assert (gate_of(better).value or 0) < 0
    other = world.given(version=3, parameters=FAIR | {"min_samples_leaf": 9})
    gate = gate_of(world.train(version=4, parameters=FAIR, champion=against(other)))
    assert gate.value is not None
    assert gate.interval is not None
    assert gate.value > 0, "it is worse, within what so few rows can tell"
    assert gate.passed


def test_what_the_margin_allows_is_accepted(world: World) -> None:
    first = world.given(parameters=FAIR)
    assert world.train(version=2, features=["hour"], champion=against(first, margin=0.5)).outcome == "Accepted"


def test_the_same_model_is_exactly_as_good(world: World) -> None:
    first = world.given(parameters=FAIR)
    gate = gate_of(world.train(version=2, parameters=FAIR, champion=against(first)))
    assert (gate.value, gate.interval, gate.passed) == (0.0, None, True)


@pytest.mark.parametrize("estimator", ["sklearn.tree.DecisionTreeClassifier", "sklearn.svm.SVC"])
def test_a_champion_is_asked_about_rows_that_are_newer_than_all_that_it_knows(
    empty_world: World, estimator: str
) -> None:
    """As it is served: a tree by ONNX Runtime, a support vector machine by scikit-learn."""
    table = flights(800)
    empty_world.write(table.iloc[:400])
    first = empty_world.given(estimator=estimator, **BY_TIME)
    empty_world.write(table.iloc[400:], "more.parquet")
    gate = gate_of(empty_world.train(version=2, parameters=STUMP, champion=against(first), **BY_TIME))
    assert gate.note == "version 1 on 200 rows newer than 2026-01-17T15:00:00Z"
    assert gate.interval is not None
    assert not gate.passed


def test_rows_that_the_champion_has_seen_are_left_out(empty_world: World) -> None:
    """Half of what is held out is new to it; on the other half a refitted tree is always right."""
    table = flights(800)
    empty_world.write(table.iloc[:700])
    first = empty_world.given(**BY_TIME)
    empty_world.write(table.iloc[700:], "more.parquet")
    gate = gate_of(empty_world.train(version=2, champion=against(first), **BY_TIME))
    assert gate.note is not None
    assert gate.note.startswith("version 1 on 100 rows newer than")


@pytest.mark.parametrize(
    ("seconds", "through", "are_dates", "after"),
    [
        ([9.5, 10.0, 10.9, 11.0], "1970-01-01T00:00:10Z", True, [False, False, False, True]),
        ([0.1 + 0.2, 0.3001], "0.3", False, [False, True]),
    ],
)
def test_what_may_be_the_same_moment_is_not_newer(
    seconds: list[float], through: str, are_dates: bool, after: list[bool]
) -> None:
    assert _is_after(np.array(seconds), through, are_dates).tolist() == after


class TestNotComparable:
    def test_without_time_on_other_rows(self, world: World) -> None:
        champion = against(world.given())
        world.write(flights(50, seed=9), "more.parquet")
        assert "without data.time nothing tells which of these are new" in not_comparable(world, champion)

    def test_with_too_few_newer_rows(self, empty_world: World) -> None:
        table = flights(420)
        empty_world.write(table.iloc[:400])
        champion = against(empty_world.given(**BY_TIME))
        empty_world.write(table.iloc[400:], "more.parquet")
        assert "20 held-out rows are newer than 2026-01-17T15:00:00Z" in not_comparable(
            empty_world, champion, **BY_TIME
        )

    def test_when_it_was_ordered_by_something_else(self, empty_world: World) -> None:
        empty_world.write(flights().assign(number=np.arange(400.0)))
        champion = against(empty_world.given(time="number", test=HeldOut(0.25, "Time")))
        empty_world.write(flights(50, seed=9).assign(number=0.0), "more.parquet")
        assert "version 1 is not ordered by scheduled" in not_comparable(empty_world, champion, **BY_TIME)

    def test_when_it_needs_a_column_that_is_not_used(self, empty_world: World) -> None:
        table = flights(800)
        empty_world.write(table.iloc[:400])
        champion = against(empty_world.given(**BY_TIME))
        empty_world.write(table.iloc[400:], "more.parquet")
        said = not_comparable(empty_world, champion, features=["distance", "wet"], **BY_TIME)
        assert "needs carrier, hour, which this run does not use alike" in said

    def test_when_it_predicts_something_else(self, world: World) -> None:
        champion = against(world.given(target="status"))
        assert "classification of status" in not_comparable(world, champion)

    def test_when_it_knows_other_classes(self, empty_world: World) -> None:
        table = flights()
        empty_world.write(table)
        champion = against(empty_world.given(target="status"))
        table.loc[::3, "status"] = "diverted"
        empty_world.write(table)
        assert "tells other classes apart: late, on time" in not_comparable(empty_world, champion, target="status")

    def test_when_it_was_changed_in_the_store(self, world: World) -> None:
        first = world.given()
        assert first.model is not None
        (Path(first.model.uri.removeprefix("file://")) / ANSWERS_FILE).write_bytes(b"forged")
        assert "was changed after publication" in not_comparable(world, against(first))

    def test_when_it_is_not_the_one_that_was_accepted(self, world: World) -> None:
        champion = against(world.given())
        assert champion.against is not None
        champion.against.seal = "0" * 64
        assert "was changed after publication" in not_comparable(world, champion)

    def test_when_it_is_gone(self, world: World) -> None:
        champion = against(world.given())
        assert champion.against is not None
        champion.against.uri += "0"
        assert "there is no version here" in not_comparable(world, champion)

    def test_when_it_is_in_another_store(self, world: World) -> None:
        champion = against(world.given())
        assert champion.against is not None
        champion.against.uri = "s3://elsewhere/v1"
        assert "version 1 is in another store, s3://elsewhere/v1" in not_comparable(world, champion)
