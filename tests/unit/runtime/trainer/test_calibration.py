"""Calibrated classifiers: better probabilities, published like any model, whatever the split and the number of CPUs."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from perennial.runtime import limits, skops
from perennial.runtime.failures import InputError
from perennial.wire.manifest import SKOPS_FILE
from perennial.wire.run import Test as HeldOut
from tests.unit.runtime.trainer.world import World, flights

FOREST = "sklearn.ensemble.RandomForestClassifier"


@pytest.mark.parametrize("method", ["Sigmoid", "Isotonic"])
def test_probabilities_become_better_and_the_model_is_served_exactly(empty_world: World, method: str) -> None:
    table = flights(1200)
    # Columns that say the same again and again make naive Bayes far too sure of itself. With more of them its
    # probabilities are a rounding from 1, as are an isotonic function's steps: two exponentials fall on either side.
    copies = {f"again{i}": table.distance.fillna(0.0) + np.random.default_rng(i).normal(size=1200) for i in range(4)}
    empty_world.write(table.assign(**copies))
    options: dict[str, Any] = {"features": ["distance", *copies], "estimator": "sklearn.naive_bayes.GaussianNB"}
    plain = empty_world.train(**options)
    calibrated = empty_world.train(version=2, calibration=method, **options)
    assert calibrated.metrics["brier"] < plain.metrics["brier"] - 0.01
    version = empty_world.version(calibrated)
    model = version.manifest.model
    assert model.engine == "onnx", model.why
    assert model.agreement is not None
    assert model.agreement.labels_different == 0
    assert f"calibration: {method}" in version.read("card.md").decode()
    lineage = json.loads(version.read("lineage.json"))
    assert (lineage["calibration"], lineage["estimator"]) == (method, "sklearn.naive_bayes.GaussianNB")
    assert "var_smoothing" in lineage["parameters"]


@pytest.mark.parametrize(
    ("estimator", "parameters"),
    [(FOREST, {"n_estimators": 5}), ("sklearn.ensemble.HistGradientBoostingClassifier", {"max_iter": 5})],
)
@pytest.mark.parametrize("method", ["Sigmoid", "Isotonic"])
def test_what_converts_is_served_by_onnx_runtime(
    world: World, estimator: str, parameters: dict[str, Any], method: str
) -> None:
    version = world.version(world.train(estimator=estimator, parameters=parameters, calibration=method))
    model = version.manifest.model
    assert model.engine == "onnx", model.why
    assert model.agreement is not None
    assert model.agreement.labels_different == 0


@pytest.mark.parametrize("split", ["Time", "Group"])
def test_it_calibrates_on_folds_of_the_same_kind(world: World, split: Any) -> None:
    test = HeldOut(0.25, split, "hour" if split == "Group" else None)
    result = world.train(features=["carrier", "distance"], time="scheduled", test=test, calibration="Sigmoid")
    assert result.outcome == "Accepted"


def test_the_model_keeps_neither_cpus_nor_the_rows_of_the_folds(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    digests = set()
    for number, cpus in ((1, 1), (2, 3)):
        monkeypatch.setattr(limits, "cpus", lambda cpus=cpus: cpus)
        options: dict[str, Any] = {"estimator": FOREST, "parameters": {"n_estimators": 3}, "calibration": "Isotonic"}
        result = world.train(version=number, **options)
        assert result.model is not None
        digests.add(result.model.sha256)
        model = skops.load(world.version(result).read(SKOPS_FILE)).named_steps["model"]
        assert model.cv is None
        assert model.calibrated_classifiers_[0].estimator.n_jobs is None
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"target": "delay", "estimator": "sklearn.linear_model.Ridge"}, "a regressor has none"),
        ({"test": HeldOut(0.25, "Group", "wet")}, "1 to learn from, too few for 5 folds"),
    ],
)
def test_what_cannot_be_calibrated_is_told(world: World, options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        world.train(calibration="Sigmoid", **options)
