"""LightGBM and XGBoost: attributions are those of the libraries' own, by the features as clients send them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from perennial.runtime.attributions.explainer import Explainer, decode
from perennial.runtime.frame import frame
from perennial.runtime.trainer.attribution_form import attribution_form, stated
from perennial.runtime.trainer.boosters import booster_in
from perennial.wire.estimators import ESTIMATORS_ENV
from tests.environments import libraries
from tests.unit.runtime.attributions.test_exact import model_of

pytestmark = [pytest.mark.process, pytest.mark.filterwarnings("ignore")]

LIGHT, XG = "lightgbm.LGBM", "xgboost.XGB"
SMALL = {"n_estimators": 12}
FOREST = {"boosting_type": "rf", "bagging_freq": 1, "bagging_fraction": 0.5}
CLASSIFIERS: list[tuple[str, dict[str, Any]]] = [
    (LIGHT + "Classifier", SMALL),
    (LIGHT + "Classifier", {**SMALL, **FOREST}),
    (XG + "Classifier", SMALL),
    (XG + "Classifier", {**SMALL, "booster": "dart", "rate_drop": 0.5}),
    (XG + "RFClassifier", SMALL),
]
REGRESSORS: list[tuple[str, dict[str, Any], str]] = [
    (LIGHT + "Regressor", SMALL, "prediction"),
    (LIGHT + "Regressor", {**SMALL, "objective": "poisson"}, "log_prediction"),
    (LIGHT + "Regressor", {**SMALL, **FOREST}, "prediction"),
    (XG + "Regressor", SMALL, "prediction"),
    (XG + "Regressor", {**SMALL, "objective": "reg:tweedie"}, "log_prediction"),
    (XG + "RFRegressor", SMALL, "prediction"),
]


@pytest.fixture(autouse=True)
def _allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    for extra in ("lightgbm", "xgboost"):
        monkeypatch.syspath_prepend(str(libraries(extra)))
    monkeypatch.setenv(
        ESTIMATORS_ENV, ",".join({*(path for path, _ in CLASSIFIERS), *(path for path, *_ in REGRESSORS)})
    )


def own(model: Any, rows: Any, columns: int) -> np.ndarray:
    """[rows, targets, columns + 1], the last of them the base values: what the library says itself."""
    booster: Any = booster_in(model["model"])
    asked = model["columns"].transform(rows)
    if type(booster).__module__.startswith("lightgbm"):
        told = booster.predict(asked, pred_contrib=True)
    else:
        import xgboost

        kinds = booster.feature_types
        matrix = xgboost.DMatrix(asked, feature_types=kinds, enable_categorical=kinds is not None)
        told = booster.get_booster().predict(matrix, pred_contribs=True)
    return np.asarray(told, np.float64).reshape(len(rows), -1, columns + 1)


def assert_the_librarys(path: str, parameters: Any, quantity: Any, kind: str, labels: str) -> None:
    model, schema, (numbers, texts, learned) = model_of(path, parameters, kind, labels)
    found = attribution_form(model, schema, learned, learned)
    assert (found.why_not, found.quantity) == (None, quantity)
    assert found.data is not None
    explainer = Explainer(decode(found.data), schema)
    asked = frame(schema, numbers, texts)
    values = explainer(numbers, texts)
    expected = own(model, asked, len(schema.features))
    if parameters == {**SMALL, **FOREST} and schema.task == "regression":
        expected /= 12  # LightGBM's own are of the sum of the trees, where it predicts their mean.
    order = [
        schema.features.index(each) for each in sorted(schema.features, key=lambda each: each.kind == "categorical")
    ]
    assert np.max(np.abs(values[:, :, order] - expected[:, :, :-1])) < 1e-5
    assert np.max(np.abs(explainer.base - expected[:, :, -1])) < 1e-5
    assert np.max(np.abs(values.sum(axis=2) + explainer.base - stated(model, quantity, asked))) < 1e-5


@pytest.mark.parametrize(("kind", "labels"), [("plain", "two"), ("texts", "three"), ("many texts", "two")])
@pytest.mark.parametrize(("path", "parameters"), CLASSIFIERS)
def test_classifiers(path: str, parameters: Any, kind: str, labels: str) -> None:
    assert_the_librarys(path, parameters, "decision_function", kind, labels)


@pytest.mark.parametrize("kind", ["plain", "many texts"])
@pytest.mark.parametrize(("path", "parameters", "quantity"), REGRESSORS)
def test_regressors(path: str, parameters: Any, quantity: str, kind: str) -> None:
    assert_the_librarys(path, parameters, quantity, kind, "number")
