"""Pipelines of one's own: transformers between preprocessing and the estimator, served exactly where they can be."""

from __future__ import annotations

from typing import Any

import pytest

from perennial.runtime.failures import InputError
from perennial.runtime.server.model import load
from perennial.wire.run import Step
from perennial.wire.serve import ServedModel
from tests.unit.runtime.trainer.world import World

LOGISTIC, RIDGE = "sklearn.linear_model.LogisticRegression", "sklearn.linear_model.Ridge"
NUMBERS = ["distance", "hour", "wet"]


def steps(*given: tuple[str, dict[str, Any]]) -> list[Step]:
    return [Step(f"sklearn.{path}", parameters) for path, parameters in given]


PCA = ("decomposition.PCA", {"n_components": 3, "whiten": True})
POLYNOMIAL = ("preprocessing.PolynomialFeatures", {"degree": 3, "interaction_only": True})
IMPUTER = ("impute.SimpleImputer", {"strategy": "mean"})


@pytest.mark.parametrize(
    ("given", "options"),
    [
        ([PCA], {"estimator": LOGISTIC}),
        ([PCA], {"estimator": "sklearn.ensemble.RandomForestClassifier", "parameters": {"n_estimators": 5}}),
        ([POLYNOMIAL, ("feature_selection.SelectKBest", {"k": 5})], {"estimator": LOGISTIC, "calibration": "Sigmoid"}),
        ([POLYNOMIAL, ("feature_selection.VarianceThreshold", {})], {"estimator": RIDGE, "target": "delay"}),
        ([("feature_selection.SelectPercentile", {"percentile": 40})], {"estimator": RIDGE, "target": "delay"}),
        (
            [IMPUTER, ("preprocessing.RobustScaler", {}), ("preprocessing.MinMaxScaler", {})],
            {"estimator": LOGISTIC, "preprocessing": "None", "features": NUMBERS},
        ),
        (
            [IMPUTER, ("preprocessing.StandardScaler", {}), ("decomposition.TruncatedSVD", {"n_components": 2})],
            {"estimator": RIDGE, "target": "delay", "preprocessing": "None", "features": NUMBERS},
        ),
    ],
)
def test_steps_are_served_exactly(world: World, given: Any, options: Any) -> None:
    manifest = world.version(world.train(steps=steps(*given), **options)).manifest
    assert (manifest.model.engine, manifest.model.why) == ("onnx", None)
    assert manifest.model.agreement is not None
    assert manifest.model.agreement.difference < 1e-12


def test_the_same_steps_make_the_same_model(world: World) -> None:
    """Their seeds are the run's."""
    given = steps(("decomposition.PCA", {"n_components": 2, "svd_solver": "randomized"}))
    results = [world.train(steps=given, estimator=LOGISTIC, version=version) for version in (1, 2)]
    assert len({result.model.sha256 for result in results if result.model}) == 1


@pytest.mark.parametrize(
    ("step", "why"),
    [
        (("preprocessing.QuantileTransformer", {"n_quantiles": 20}), "QuantileTransformer"),
        (("impute.SimpleImputer", {"add_indicator": True}), "SimpleImputer"),
        (("preprocessing.MinMaxScaler", {"clip": True}), "MinMaxScaler with clip"),
    ],
)
def test_what_has_no_exact_form_is_served_by_scikit_learn(world: World, step: Any, why: str) -> None:
    given = [step] if step[0] == IMPUTER[0] else [IMPUTER, step]
    result = world.train(steps=steps(*given), estimator=LOGISTIC, preprocessing="None", features=NUMBERS)
    assert why in (world.version(result).manifest.model.why or "")
    assert result.model is not None
    assert load(ServedModel(result.model.uri, result.model.sha256)).engine.name == "sklearn"


@pytest.mark.parametrize(
    ("given", "reason", "said"),
    [
        (("decomposition.PCB", {}), "EstimatorNotAllowed", "steps[1].transformer: sklearn.decomposition.PCB is not on"),
        (("decomposition.PCA", {"n_componets": 2}), "InvalidParameters", "steps[1].parameters.n_componets: unknown"),
        (("decomposition.PCA", {"n_components": -2}), "InvalidParameters", "steps[1].parameters: The 'n_components'"),
        (("decomposition.PCA", {"n_components": 99}), "DoesNotFit", "n_components=99"),
    ],
)
def test_a_wrong_step_is_named(world: World, given: Any, reason: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        world.train(steps=steps(PCA, given), estimator=LOGISTIC)
    assert caught.value.reason == reason
    assert said in caught.value.message
