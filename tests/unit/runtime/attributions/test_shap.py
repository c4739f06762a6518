"""The same attributions as the shap package gives, which is installed into an environment of its own."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import sklearn
from sklearn import ensemble, linear_model, tree

from perennial.runtime.attributions.explainer import Explainer
from perennial.runtime.attributions.fitted import form_of
from perennial.runtime.trainer.coded_classes import CodedClasses
from perennial.wire.schema import Feature, Schema
from tests.environments import commands, libraries, requirements

pytestmark = pytest.mark.process

SHAP = ("shap==0.51.0", f"scikit-learn=={sklearn.__version__}", *requirements("lightgbm"), *requirements("xgboost"))
COUNT = 6
TOLERANCE = dict.fromkeys(("xgboost of two", "xgboost of three", "xgboost of values"), 1e-5)
"""XGBoost computes in single precision."""


def cases() -> dict[str, tuple[Any, np.ndarray, np.ndarray]]:
    from lightgbm import LGBMClassifier, LGBMRegressor
    from xgboost import XGBRegressor

    random = np.random.default_rng(5)
    whole = random.normal(size=(400, COUNT))
    signal = whole[:, 0] + whole[:, 1] * whole[:, 2] + np.sin(whole[:, 3])
    missing = whole.copy()
    missing[random.random(whole.shape) < 0.1] = np.nan
    two, three = signal > 0, np.digitize(signal, [-0.5, 0.5])
    light = {"n_estimators": 20, "n_jobs": 1, "verbosity": -1}
    fitted = {
        "decision tree": (tree.DecisionTreeRegressor(), whole, signal),
        "forest of two": (ensemble.RandomForestClassifier(20), whole, two),
        "forest of three": (ensemble.RandomForestClassifier(10, max_depth=6), whole, three),
        "extra trees": (ensemble.ExtraTreesRegressor(20), whole, signal),
        "boosting of two": (ensemble.GradientBoostingClassifier(), whole, two),
        "boosted values": (ensemble.GradientBoostingRegressor(), whole, signal),
        "histograms of two": (ensemble.HistGradientBoostingClassifier(max_iter=30), missing, two),
        "histograms of three": (ensemble.HistGradientBoostingClassifier(max_iter=10), missing, three),
        "histograms of values": (ensemble.HistGradientBoostingRegressor(max_iter=30), missing, signal),
        "logistic": (linear_model.LogisticRegression(), whole, two),
        "logistic of three": (linear_model.LogisticRegression(), whole, three),
        "ridge": (linear_model.Ridge(), whole, signal),
        "lightgbm of two": (LGBMClassifier(**light), missing, two),
        "lightgbm of three": (LGBMClassifier(**light), missing, three),
        "lightgbm of values": (LGBMRegressor(**light), missing, signal),
        "xgboost of two": (_xgboost(), missing, two),
        "xgboost of three": (_xgboost(), missing, three),
        "xgboost of values": (XGBRegressor(n_estimators=20, n_jobs=1), missing, signal),
        "bagging": (ensemble.BaggingRegressor(n_estimators=5, max_features=4), whole, signal),
        "bagging of two": (ensemble.BaggingClassifier(n_estimators=5), whole, two),
    }
    return {
        name: (estimator.set_params(**_seeded(estimator)).fit(rows, target), rows, rows[:40] + 0.1)
        for name, (estimator, rows, target) in fitted.items()
    }


def _xgboost() -> CodedClasses:
    from xgboost import XGBClassifier

    return CodedClasses(XGBClassifier(n_estimators=20, n_jobs=1))


def _seeded(estimator: Any) -> dict[str, int]:
    return {"random_state": 0} if "random_state" in estimator.get_params() else {}


def _means(learned: Any, _: Any) -> Any:
    return learned.mean(axis=0)


@pytest.fixture(autouse=True)
def _boosters(monkeypatch: pytest.MonkeyPatch) -> None:
    for extra in ("lightgbm", "xgboost"):
        monkeypatch.syspath_prepend(str(libraries(extra)))


def test_every_kind_of_model_is_explained_as_shap_does(tmp_path: Path) -> None:
    given = cases()
    told = explained_by_shap(tmp_path, given)
    schema = Schema("regression", "y", [Feature(f"f{i}", "numeric") for i in range(COUNT)], "value")
    for name, (estimator, learned, asked) in given.items():
        form, _ = form_of(estimator, schema, partial(_means, learned))
        explainer = Explainer(form, schema)
        values, base = told[name]
        assert np.max(np.abs(explainer(asked, None) - values)) < TOLERANCE.get(name, 1e-6), name
        assert np.max(np.abs(explainer.base - base)) < TOLERANCE.get(name, 1e-6), name


def explained_by_shap(folder: Path, given: Mapping[str, Any]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """What shap says of each: values [rows, targets, features] and base values [targets]. It has no bagging: by the
    definition that is the mean of its trees, each with the columns that it was shown."""
    cases: dict[str, Any] = {}
    for name, (estimator, learned, asked) in given.items():
        if "bagging" in name:
            parts = zip(estimator.estimators_, estimator.estimators_features_, strict=True)
            cases |= {f"{name} {i}": (each, learned, asked[:, chosen]) for i, (each, chosen) in enumerate(parts)}
        else:
            inner = estimator.estimator_ if isinstance(estimator, CodedClasses) else estimator
            cases[name] = (inner, learned, asked)
    joblib.dump(cases, folder / "cases")
    script = Path(__file__).with_name("explain_with_shap.py")
    command = [str(commands(*SHAP) / "python"), str(script), str(folder / "cases")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    told = {name: _shaped(said) for name, said in json.loads(done.stdout).items()}
    for name, (estimator, _, asked) in given.items():
        if "bagging" in name:
            told[name] = _mean([told.pop(f"{name} {i}") for i in range(len(estimator.estimators_))], estimator, asked)
    # Where there are two classes shap has both of a forest's, of which we have the second.
    return {name: (v[:, -1:], b[-1:]) if "of two" in name else (v, b) for name, (v, b) in told.items()}


def _shaped(said: Any) -> tuple[np.ndarray, np.ndarray]:
    values = np.array(said["values"])
    base = np.array(said["base"])
    return values.reshape(*values.shape[:2], -1).transpose(0, 2, 1), base


def _mean(parts: Any, estimator: Any, asked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    found = np.zeros((len(asked), parts[0][0].shape[1], COUNT))
    for (values, _), chosen in zip(parts, estimator.estimators_features_, strict=True):
        found[:, :, chosen] += values / len(parts)
    return found, np.mean([base for _, base in parts], axis=0)
