"""Search: what is tried, on which rows, how many at a time; neither cores nor held-out rows change its outcome."""

from __future__ import annotations

import json
import threading
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perennial.runtime import limits
from perennial.runtime.failures import InputError
from perennial.runtime.trainer import fitting, search
from perennial.runtime.trainer.search_space import candidates
from perennial.runtime.trainer.workers import HEADROOM, Workers
from perennial.wire.run import Search
from perennial.wire.run import Test as HeldOut
from tests.unit.runtime.trainer.world import World, flights

FOREST = "sklearn.ensemble.RandomForestClassifier"
BOOSTING = "sklearn.ensemble.HistGradientBoostingClassifier"
DEPTHS = Search("accuracy", {"max_depth": [1, 3, 6], "min_samples_leaf": {"min": 1, "max": 40}}, trials=6)


@given(st.integers(0, 9), st.floats(0.001, 10), st.floats(1.001, 1000), st.booleans())
def test_a_draw_is_within_its_range(seed: int, low: float, factor: float, log: bool) -> None:
    space = {
        "x": {"min": low, "max": low * factor, "log": log},
        "k": {"min": 2, "max": 5, "log": log},
        "c": [None, "a"],
    }
    drawn = candidates(Search("f1", space, trials=30), seed)
    assert drawn == candidates(Search("f1", space, trials=30), seed)
    for each in drawn:
        assert low <= each["x"] <= low * factor
        assert each["k"] in (2, 3, 4, 5)
        assert isinstance(each["k"], int)
        assert each["c"] in (None, "a")


def test_whole_numbers_come_alike_often_and_log_spreads_by_magnitude() -> None:
    numbers = [each["k"] for each in candidates(Search("f1", {"k": {"min": 1, "max": 1000}}, trials=300), 0)]
    assert len(set(numbers)) == 300
    assert 400 < np.mean(numbers) < 600
    space = {"x": {"min": 0.001, "max": 10, "log": True}}
    values = [each["x"] for each in candidates(Search("f1", space, trials=400), 0)]
    assert 0.4 < np.mean(np.array(values) < 0.1) < 0.6


def test_a_space_that_is_small_is_tried_whole_and_once() -> None:
    drawn = candidates(Search("f1", {"a": [1, 2], "b": [True, False]}, trials=50), 0)
    assert sorted(map(str, drawn)) == sorted(
        map(str, candidates(Search("f1", {"a": [1, 2], "b": [True, False]}, "Grid"), 0))
    )
    assert len(drawn) == 4


@pytest.mark.parametrize(
    ("said", "changed"),
    [
        ("spec.sklearn.search.space.max_dept: ", {"space": {"max_dept": [3]}}),
        (
            "max_depth=\"deep\": spec.sklearn.parameters: The 'max_depth' parameter",
            {"space": {"max_depth": [3, "deep"]}},
        ),
        ("space.max_depth: is in spec.sklearn.parameters too", {"parameters": {"max_depth": 3}}),
        ("space.max_depth: has no value", {"space": {"max_depth": []}}),
        ("space.max_depth: must be a list of values, or a range", {"space": {"max_depth": {"min": 3}}}),
        ("space.max_depth: must be a list of values, or a range", {"space": {"max_depth": 3}}),
        ("space.max_depth: min 5 must be below max 3", {"space": {"max_depth": {"min": 5, "max": 3}}}),
        ("space.ccp_alpha: log needs a min above 0", {"space": {"ccp_alpha": {"min": 0, "max": 3, "log": True}}}),
        ("Grid needs a list of values", {"method": "Grid", "space": {"max_depth": {"min": 3, "max": 5}}}),
        (
            "the grid has 9 combinations, and trials allows 6",
            {"method": "Grid", "space": {"max_depth": [1, 2, 3], "min_samples_leaf": [1, 2, 3]}},
        ),
        ("spec.sklearn.search.metric: unknown metric roc_auk; did you mean roc_auc", {"metric": "roc_auk"}),
        ("spec.sklearn.search.metric: r2 does not judge", {"metric": "r2"}),
    ],
)
def test_what_cannot_be_searched_is_told_before_data_is_read(world: World, said: str, changed: dict[str, Any]) -> None:
    parameters = changed.pop("parameters", {})
    with pytest.raises(InputError) as caught:
        world.train(search=msgspec.structs.replace(DEPTHS, **changed), parameters=parameters)
    assert said.removesuffix(" ") in caught.value.message.replace(
        "space: max_dept=3: spec.sklearn.parameters.max_dept", "space.max_dept"
    )
    assert not any(line.startswith("data:") for line in world.said)


@pytest.mark.parametrize("method", ["Random", "Halving"])
@pytest.mark.parametrize("estimator", [FOREST, BOOSTING])
def test_cores_change_neither_scores_nor_model(
    world: World, monkeypatch: pytest.MonkeyPatch, method: Any, estimator: str
) -> None:
    name = "n_estimators" if estimator == FOREST else "max_iter"
    wanted = Search("log_loss", {name: {"min": 2, "max": 9}, "max_depth": [2, 4]}, method, 4, 2)
    outcomes = []
    for number, cpus in ((1, 1), (2, 4)):
        monkeypatch.setattr(limits, "cpus", lambda cpus=cpus: cpus)
        result = world.train(version=number, estimator=estimator, search=wanted)
        assert result.model is not None
        found = json.loads(world.version(result).read("search.json"))
        at_once = found.pop("at_once")
        assert at_once <= cpus
        outcomes.append((found, result.model.sha256, result.search))
    assert outcomes[0] == outcomes[1]


def test_the_best_trial_makes_the_version(world: World) -> None:
    result = world.train(search=DEPTHS, bounds=[])
    version = world.version(result)
    found = json.loads(version.read("search.json"))
    assert len(found["trials"]) == 6
    assert found["best"]["score"] == max(trial["score"] for trial in found["trials"])
    assert result.search is not None
    assert (result.search.metric, result.search.trials) == ("accuracy", 6)
    assert result.search.parameters == ", ".join(f"{k}={json.dumps(v)}" for k, v in found["best"]["parameters"].items())
    lineage = json.loads(version.read("lineage.json"))
    assert lineage["parameters"]["max_depth"] == found["best"]["parameters"]["max_depth"]
    assert "- search: Random, 6 trials on 3 folds: best accuracy" in version.read("card.md").decode()
    assert "search: 18 of 18 fits" in world.said
    plain = world.train(version=2, parameters=found["best"]["parameters"])
    assert plain.model is not None
    assert result.model is not None
    assert plain.model.sha256 == result.model.sha256


def test_lesser_is_better_where_it_is(world: World) -> None:
    result = world.train(search=msgspec.structs.replace(DEPTHS, metric="brier_score_loss"))
    found = json.loads(world.version(result).read("search.json"))
    assert found["best"]["score"] == min(trial["score"] for trial in found["trials"])


@pytest.mark.parametrize("split", ["Random", "Time", "Group"])
def test_no_held_out_row_is_ever_seen(world: World, monkeypatch: pytest.MonkeyPatch, split: Any) -> None:
    """What held-out rows say is changed: the search finds the same."""
    seen = []

    def noted(run: Any, sklearn: Any, features: Any, rows: Any, cpus: int) -> Any:
        seen.append(set(rows.frame.distance.fillna(-1)))
        return fitting.fit(run, sklearn, features, rows, cpus)

    monkeypatch.setattr(search, "fit", noted)
    world.write(flights().assign(distance=np.arange(400.0)))
    test = HeldOut(0.25, split, "hour" if split == "Group" else None)
    result = world.train(search=DEPTHS, time="scheduled", test=test, refit=False)
    assert result.rows is not None
    assert len(seen) == 18
    assert len(set().union(*seen)) <= result.rows.train
    assert all(len(each) <= 0.85 * result.rows.train for each in seen), "nor is a fold's own"
    if split == "Time":
        assert max(map(max, seen)) < 300


def test_halving_takes_the_best_third_on_to_more_rows(empty_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []

    def noted(run: Any, sklearn: Any, features: Any, rows: Any, cpus: int) -> Any:
        sizes.append(len(rows))
        return fitting.fit(run, sklearn, features, rows, cpus)

    monkeypatch.setattr(search, "fit", noted)
    empty_world.write(flights(1200))
    result = empty_world.train(search=msgspec.structs.replace(DEPTHS, method="Halving", trials=9))
    found = json.loads(empty_world.version(result).read("search.json"))
    shares = sorted(trial["share"] for trial in found["trials"])
    assert shares == pytest.approx([1 / 3] * 6 + [1.0] * 3)
    assert found["best"]["share"] == 1.0
    assert found["fits"] == (9 + 3) * 3
    assert sorted(sizes) == [200] * 27 + [600] * 9


def test_a_trial_that_does_not_fit_is_told_and_passed_over(world: World) -> None:
    neighbours: dict[str, Any] = {
        "estimator": "sklearn.neighbors.KNeighborsClassifier",
        "features": ["hour", "distance"],
    }
    wanted = Search("accuracy", {"n_neighbors": [5, 9999]}, "Grid")
    found = json.loads(world.version(world.train(search=wanted, **neighbours)).read("search.json"))
    assert found["best"]["parameters"] == {"n_neighbors": 5}
    assert "does not take this data" in found["trials"][1]["why"]
    with pytest.raises(InputError, match=r"spec\.sklearn\.search: no trial could be fitted: .* Expected n_neighbors"):
        world.train(version=2, search=Search("accuracy", {"n_neighbors": [9999]}, "Grid"), **neighbours)


class Memory:
    """Fits that each take `size` bytes until they are let go of, `together` at a time."""

    def __init__(self, size: int) -> None:
        self.size, self.taken, self.peak = size, 0, 0
        self._lock = threading.Lock()

    def now(self) -> int:
        return 1000 + self.taken

    def fit(self, number: int) -> int:
        with self._lock:
            self.taken += self.size
            self.peak = max(self.peak, self.taken)
        threading.Event().wait(0.06)
        with self._lock:
            self.taken -= self.size
        return number * number


@pytest.mark.parametrize(("limit", "at_once"), [(None, 4), (1000 + 10_000, 4), (1000 + 2500, 2), (1000 + 50, 1)])
def test_as_many_fits_run_at_once_as_memory_allows(limit: int | None, at_once: int) -> None:
    memory = Memory(1000)
    workers = Workers(4, limit, least=1, now=memory.now)
    told: list[int] = []
    assert list(workers.map(memory.fit, 10, told.append)) == [number * number for number in range(10)]
    assert workers.most == at_once
    assert told[0] == 1, "the first one is measured alone"
    assert told[-1] == 10
    assert limit is None or at_once == 1 or 1000 + memory.peak <= HEADROOM * limit


def test_what_a_fit_raises_ends_the_search() -> None:
    def fail(number: int) -> int:
        raise MemoryError(number)

    with pytest.raises(MemoryError):
        Workers(2, None, least=1).map(fail, 3, lambda done: None)
