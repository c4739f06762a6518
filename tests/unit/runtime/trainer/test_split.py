"""Groups and folds: what belongs together is never on two sides, and the future never judges the past's own rows."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perennial.runtime import skops
from perennial.runtime.failures import InputError
from perennial.runtime.trainer.split import Keys, folds, split
from perennial.wire.manifest import SKOPS_FILE
from perennial.wire.run import Test as HeldOut
from tests.unit.runtime.trainer.world import World, flights

GROUP = HeldOut(0.25, "Group", "tail")
groups_of_rows = st.lists(st.integers(0, 30), min_size=80, max_size=200).map(
    lambda each: np.unique(each, return_inverse=True)[1]
)


@given(groups_of_rows, st.integers(0, 5))
def test_a_group_is_on_one_side_and_the_share_is_kept(
    groups: np.ndarray[tuple[int], np.dtype[np.intp]], seed: int
) -> None:
    try:
        parts = split(GROUP, seed, Keys(len(groups), groups=groups))
    except InputError:
        return
    assert not set(groups[parts.train]) & set(groups[parts.test])
    assert sorted([*parts.train, *parts.test]) == list(range(len(groups)))
    assert len(parts.test) <= max(0.25 * len(groups), np.bincount(groups).min())
    assert np.array_equal(parts.test, split(GROUP, seed, Keys(len(groups), groups=groups)).test)


def test_small_groups_fill_the_share() -> None:
    groups = np.arange(400) // 2
    assert len(split(GROUP, 0, Keys(400, groups=groups)).test) == 100


def test_a_single_group_cannot_be_held_out() -> None:
    with pytest.raises(InputError, match=r"data\.test\.group: every row has the same 'tail'"):
        split(GROUP, 0, Keys(100, groups=np.zeros(100, np.intp)))


@given(groups_of_rows, st.integers(2, 6), st.sampled_from(["Random", "Group"]))
def test_folds_test_each_row_once(groups: np.ndarray[tuple[int], np.dtype[np.intp]], count: int, kind: str) -> None:
    labels = groups % 2
    keys = Keys(len(groups), labels, groups=groups)
    test = HeldOut(0.25, "Random") if kind == "Random" else GROUP
    try:
        parts = folds(test, count, 3, keys)
    except InputError:
        assert len(set(groups.tolist())) < count
        return
    assert sorted(np.concatenate([part.test for part in parts])) == list(range(len(groups)))
    for part in parts:
        assert not set(part.train) & set(part.test)
        if kind == "Group":
            assert not set(groups[part.train]) & set(groups[part.test])
        else:
            assert abs((labels[part.test] == 1).sum() - (labels == 1).sum() / count) < 2


@given(st.lists(st.integers(0, 60), min_size=80, max_size=200), st.integers(2, 6))
def test_folds_by_time_learn_from_what_was_before(moments: list[int], count: int) -> None:
    seconds = np.array(moments, float)
    try:
        parts = folds(HeldOut(0.25, "Time"), count, 0, Keys(len(seconds), seconds=seconds))
    except InputError:
        assert len(set(moments)) < count + 1
        return
    assert len(parts) <= count
    for part in parts:
        assert seconds[part.train].max() < seconds[part.test].min()
    blocks = folds(HeldOut(0.25, "Time"), count, 0, Keys(len(seconds), seconds=seconds), forward=False)
    assert sorted(np.concatenate([block.test for block in blocks])) == list(range(len(seconds)))
    assert all(not set(seconds[block.train]) & set(seconds[block.test]) for block in blocks)


def test_a_run_by_groups_keeps_them_apart_and_the_group_is_no_feature(empty_world: World) -> None:
    table = flights().drop(columns=["scheduled", "status", "delay"])
    empty_world.write(table.assign(tail=[f"N{i // 10}" for i in range(400)]))
    version = empty_world.version(empty_world.train(features=[], test=HeldOut(0.25, "Group", "tail", folds=3)))
    assert version.manifest.result.rows is not None
    assert version.manifest.result.rows.test == 100
    assert [each["name"] for each in json.loads(version.read("schema.json"))["features"]] == [
        "carrier", "distance", "hour", "wet",
    ]  # fmt: skip
    assert json.loads(version.read("metrics.json"))["bootstrap"]["of"] == "groups"


def test_cross_validation_tells_the_spread_and_changes_no_model(world: World) -> None:
    plain, folded = (world.train(version=number, test=HeldOut(folds=count)) for number, count in ((1, None), (2, 4)))
    assert plain.model is not None
    assert folded.model is not None
    assert (plain.model.sha256, plain.metrics) == (folded.model.sha256, folded.metrics)
    version = world.version(folded)
    spread = json.loads(version.read("metrics.json"))["crossValidation"]["accuracy"]
    assert spread["folds"] == 4
    assert 0.6 < spread["mean"] < 1
    assert 0 < spread["std"] < 0.2
    assert "Cross-validation on the rows learned from" in version.read("card.md").decode()


@pytest.mark.parametrize(
    ("target", "weights"),
    [("late", {"true": 9, "false": 1}), ("status", {"late": 9, "on time": 1}), ("code", {"1": 9, "0": 1})],
)
def test_classes_weigh_what_the_definition_says(empty_world: World, target: str, weights: dict[str, float]) -> None:
    table = flights()
    empty_world.write(table.assign(code=table.late.astype(int)))
    logistic = "sklearn.linear_model.LogisticRegression"
    plain, weighed = (
        empty_world.train(target=target, estimator=logistic, version=number, parameters=parameters)
        for number, parameters in ((1, {}), (2, {"class_weight": weights}))
    )
    models = [skops.load(empty_world.version(result).read(SKOPS_FILE)) for result in (plain, weighed)]
    rows = models[0].steps[0][1].feature_names_in_
    asked = table[list(rows)].assign(carrier=table.carrier.fillna(""), wet=table.wet.astype(float))
    heavier = max(weights, key=lambda name: weights[name])
    shares = [np.mean([str(label).lower() == heavier for label in model.predict(asked).tolist()]) for model in models]
    assert shares[1] > shares[0] + 0.05
    assert empty_world.version(weighed).manifest.model.engine == "onnx"


def test_a_weight_for_no_class_is_told(world: World) -> None:
    with pytest.raises(InputError, match=r"class_weight: 'yes' is no class; there is false, true"):
        world.train(parameters={"class_weight": {"yes": 3}})
