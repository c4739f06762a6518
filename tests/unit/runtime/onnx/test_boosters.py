"""LightGBM and XGBoost behind Auto: the same answers as the libraries' own, and what has no such form is refused.

The libraries are those of the project's extras, installed once a machine.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from perennial.runtime.failures import InputError
from perennial.runtime.frame import frame
from perennial.runtime.onnx.convert import convert
from perennial.runtime.onnx.graph import NotConvertibleError
from perennial.runtime.onnx.hard_rows import Rows
from perennial.wire.estimators import ESTIMATORS_ENV
from perennial.wire.schema import LABEL, PROBABILITIES, Feature
from tests.environments import libraries
from tests.unit.runtime.onnx.test_exact import ask, assert_exact, data, fitted, name, target

pytestmark = [pytest.mark.process, pytest.mark.filterwarnings("ignore")]

LIGHT, XG = "lightgbm.LGBM", "xgboost.XGB"
SMALL = {"n_estimators": 12}
CLASSIFIERS: list[tuple[str, dict[str, Any]]] = [
    (LIGHT + "Classifier", SMALL),
    (LIGHT + "Classifier", {**SMALL, "boosting_type": "dart", "class_weight": "balanced"}),
    (LIGHT + "Classifier", {**SMALL, "boosting_type": "rf", "bagging_freq": 1, "bagging_fraction": 0.5}),
    (LIGHT + "Classifier", {**SMALL, "extra_trees": True, "sigmoid": 2.0}),
    (XG + "Classifier", SMALL),
    (XG + "Classifier", {**SMALL, "booster": "dart", "rate_drop": 0.5}),
    (XG + "Classifier", {**SMALL, "tree_method": "exact", "base_score": 0.3, "scale_pos_weight": 2.0}),
    (XG + "RFClassifier", SMALL),
]
REGRESSORS: list[tuple[str, dict[str, Any]]] = [
    *((LIGHT + "Regressor", {**SMALL, "objective": each}) for each in ("l2", "l1", "huber", "fair", "quantile")),
    (XG + "Regressor", SMALL),
    (XG + "Regressor", {**SMALL, "booster": "dart", "rate_drop": 0.5}),
    (XG + "Regressor", {**SMALL, "objective": "reg:quantileerror", "quantile_alpha": 0.3}),
    (XG + "RFRegressor", SMALL),
]
ANY_NUMBER_OF_CLASSES = [(path, given) for path, given in CLASSIFIERS if not {"base_score", "sigmoid"} & set(given)]

POSITIVE: list[tuple[str, dict[str, Any]]] = [
    *((LIGHT + "Regressor", {**SMALL, "objective": each}) for each in ("poisson", "gamma", "tweedie")),
    *((XG + "Regressor", {**SMALL, "objective": each}) for each in ("count:poisson", "reg:gamma", "reg:tweedie")),
]


@pytest.fixture(autouse=True)
def _allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    for extra in ("lightgbm", "xgboost"):
        monkeypatch.syspath_prepend(str(libraries(extra)))
    paths = {path for path, _ in CLASSIFIERS + REGRESSORS}
    monkeypatch.setenv(ESTIMATORS_ENV, ",".join(paths))


@pytest.mark.parametrize(("kind", "labels"), [("plain", "two"), ("missing", "texts"), ("many texts", "two")])
@pytest.mark.parametrize(("path", "parameters"), CLASSIFIERS, ids=name)
def test_classifiers(path: str, parameters: Any, kind: str, labels: str) -> None:
    assert_exact(path, parameters, kind, labels)


@pytest.mark.parametrize(("path", "parameters"), ANY_NUMBER_OF_CLASSES, ids=name)
def test_three_classes(path: str, parameters: Any) -> None:
    assert_exact(path, parameters, "texts", "three")


@pytest.mark.parametrize("labels", ["two", "three"])
@pytest.mark.parametrize("calibration", ["sigmoid", "isotonic"])
@pytest.mark.parametrize(
    ("path", "parameters"),
    [
        (LIGHT + "Classifier", SMALL),
        (LIGHT + "Classifier", {**SMALL, "boosting_type": "rf", "bagging_freq": 1, "bagging_fraction": 0.5}),
        (XG + "Classifier", SMALL),
    ],
)
def test_calibrated_classifiers(path: str, parameters: Any, calibration: str, labels: str) -> None:
    assert_exact(path, parameters, "texts", labels, calibration)


@pytest.mark.parametrize("kind", ["missing", "many texts"])
@pytest.mark.parametrize(("path", "parameters"), REGRESSORS, ids=name)
def test_regressors(path: str, parameters: Any, kind: str) -> None:
    assert_exact(path, parameters, kind, "number")


@pytest.mark.parametrize(("path", "parameters"), POSITIVE, ids=name)
def test_regressors_with_a_log_link(path: str, parameters: Any) -> None:
    # XGBoost takes its exponentials in single precision.
    assert_exact(path, parameters, "texts", "positive", within=1e-7)


def test_what_xgboost_says_itself_is_what_is_served() -> None:
    """Not only what our class around it says: its own probabilities are rounded to single precision."""
    rows, features = data("missing")
    for labels in ("two", "three"):
        model, schema = fitted(XG + "Classifier", SMALL, rows, features, target(rows, labels))
        own = model[-1].estimator_
        asked = model[:-1].transform(frame(schema, rows.numbers, rows.texts))
        answers = ask(convert(model, schema).data, rows)
        assert answers[LABEL].tolist() == np.asarray(schema.classes)[own.predict(asked)].tolist()
        assert np.max(np.abs(answers[PROBABILITIES] - own.predict_proba(asked))) < 1e-6


@pytest.mark.parametrize("path", [LIGHT + "Classifier", XG + "Classifier"])
def test_a_model_without_signal_says_the_same_class(path: str) -> None:
    rows, features = Rows(np.arange(60.0).reshape(-1, 1), np.empty((60, 0), object)), [Feature("a", "numeric")]
    model, schema = fitted(path, SMALL, rows, features, np.arange(60) % 2 == 0)
    expected = model.predict(frame(schema, rows.numbers, None)).tolist()
    assert ask(convert(model, schema).data, rows)[LABEL].tolist() == expected


@pytest.mark.parametrize(
    ("path", "parameters", "says"),
    [
        (LIGHT + "Regressor", {"linear_tree": True}, "linear_tree"),
        (LIGHT + "Regressor", {"zero_as_missing": True}, "zero_as_missing"),
        (LIGHT + "Regressor", {"reg_sqrt": True}, "reg_sqrt"),
        (LIGHT + "Classifier", {"objective": "cross_entropy"}, "objective 'cross_entropy'"),
        (XG + "Regressor", {"booster": "gblinear"}, "booster gblinear"),
        (XG + "Regressor", {"missing": 0.0}, "missing"),
        (XG + "Regressor", {"objective": "survival:cox"}, "objective 'survival:cox'"),
        (XG + "Regressor", {"feature_types": ["q", "c", "q", "q"], "enable_categorical": True}, "categorical splits"),
    ],
)
def test_what_has_no_exact_form_is_refused_by_name(path: str, parameters: Any, says: str) -> None:
    rows, features = data("plain")
    rows.numbers[:, 1] = np.abs(rows.numbers[:, 1])
    values = target(rows, "number" if path.endswith("Regressor") else "two")
    model, schema = fitted(path, SMALL | parameters, rows, features, values)
    with pytest.raises(NotConvertibleError, match=says):
        convert(model, schema)


def test_auto_lets_them_split_by_category() -> None:
    rows, features = data("texts")
    light, _ = fitted(LIGHT + "Classifier", SMALL, rows, features, target(rows, "two"))
    assert "num_cat=1" in light[-1].booster_.model_to_string()
    xg, _ = fitted(XG + "Classifier", SMALL, rows, features, target(rows, "two"))
    assert '"split_type":[1' in bytes(xg[-1].estimator_.get_booster().save_raw("json")).decode()


@pytest.mark.parametrize(
    ("path", "name", "given"),
    [(LIGHT + "Classifier", "categorical_feature", [0]), (XG + "Classifier", "feature_types", ["q", "c"])],
)
def test_which_columns_are_categories_is_autos_to_say(path: str, name: str, given: Any) -> None:
    rows, features = data("texts")
    with pytest.raises(InputError, match=f"parameters.{name}: preprocessing Auto sets it"):
        fitted(path, {name: given}, rows, features, target(rows, "two"))


def test_lightgbms_categorical_splits_of_numbers_are_refused() -> None:
    rows, features = data("plain")
    rows.numbers[:, 1] = np.abs(rows.numbers[:, 1])
    model, schema = fitted(LIGHT + "Regressor", SMALL, rows, features, target(rows, "number"))
    model[-1].fit(rows.numbers, np.sin(9 * rows.numbers[:, 1]), categorical_feature=[1])
    with pytest.raises(NotConvertibleError, match="categorical splits"):
        convert(model, schema)


def test_the_same_model_converts_to_the_same_bytes(tmp_path: Path) -> None:
    rows, features = data("texts")
    for path in (LIGHT + "Classifier", XG + "Classifier"):
        made = (fitted(path, SMALL, rows, features, target(rows, "two")) for _ in range(2))
        first, second = (convert(model, schema).data for model, schema in made)
        assert first == second
