"""The same attributions as the shap package gives, which is installed into an environment of its own."""

from __future__ import annotations

import json
import subprocess
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
from perennial.wire.schema import Feature, Schema
from tests.environments import commands

pytestmark = pytest.mark.process

SHAP = ("shap==0.51.0", f"scikit-learn=={sklearn.__version__}")
COUNT = 6


def cases() -> dict[str, tuple[Any, np.ndarray, np.ndarray]]:
    random = np.random.default_rng(5)
    whole = random.normal(size=(400, COUNT))
    signal = whole[:, 0] + whole[:, 1] * whole[:, 2] + np.sin(whole[:, 3])
    missing = whole.copy()
    missing[random.random(whole.shape) < 0.1] = np.nan
    two, three = signal > 0, np.digitize(signal, [-0.5, 0.5])
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
    }
    return {
        name: (estimator.set_params(**_seeded(estimator)).fit(rows, target), rows, rows[:40] + 0.1)
        for name, (estimator, rows, target) in fitted.items()
    }


def _seeded(estimator: Any) -> dict[str, int]:
    return {"random_state": 0} if "random_state" in estimator.get_params() else {}


def _means(learned: Any, _: Any) -> Any:
    return learned.mean(axis=0)


def test_every_kind_of_model_is_explained_as_shap_does(tmp_path: Path) -> None:
    given = cases()
    joblib.dump(given, tmp_path / "cases")
    script = Path(__file__).with_name("explain_with_shap.py")
    command = [str(commands(*SHAP) / "python"), str(script), str(tmp_path / "cases")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    schema = Schema("regression", "y", [Feature(f"f{i}", "numeric") for i in range(COUNT)], "value")
    for name, (estimator, learned, asked) in given.items():
        form, quantity = form_of(estimator, schema, partial(_means, learned))
        explainer = Explainer(form, schema)
        values, base = np.array(told[name]["values"]), np.array(told[name]["base"])
        if values.ndim == 3 and quantity == "probability" and form.targets == 1:
            values, base = values[:, :, 1:], base[1:]
        values = values.reshape(len(asked), COUNT, form.targets).transpose(0, 2, 1)
        assert np.max(np.abs(explainer(asked, None) - values)) < 1e-6, name
        assert np.max(np.abs(explainer.base - base)) < 1e-6, name
