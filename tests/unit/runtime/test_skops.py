"""Model files: the same bytes for the same model, and nothing instantiated that is not on the list."""

from __future__ import annotations

import importlib
import io
import json
import zipfile
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import make_classification, make_regression
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.linear_model import LogisticRegression, TweedieRegressor
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from perennial.runtime import skops
from perennial.wire.estimators import TRANSFORMERS

ROWS, LABELS = make_classification(120, 5, random_state=0)
MODELS = [
    LogisticRegression(),
    RandomForestClassifier(3, random_state=0),
    HistGradientBoostingClassifier(max_iter=3, random_state=0),
    KNeighborsClassifier(),
    KNeighborsClassifier(algorithm="ball_tree"),
    MLPClassifier(max_iter=5, random_state=0),
    SVC(),
    GaussianNB(),
    GaussianProcessClassifier(max_iter_predict=2),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_equal_models_are_equal_bytes_and_load_to_equal_answers(model: Any) -> None:
    first, second = (make_pipeline(StandardScaler(), model.__class__(**model.get_params())) for _ in range(2))
    data = skops.dump(first.fit(ROWS, LABELS))
    assert skops.dump(second.fit(ROWS, LABELS)) == data
    assert np.array_equal(skops.load(data).predict(ROWS), first.predict(ROWS))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", TRANSFORMERS)
def test_every_transformer_of_the_list_loads(path: str) -> None:
    module, _, name = path.rpartition(".")
    dense = {"encode": "onehot-dense"} if name == "KBinsDiscretizer" else {}
    model = make_pipeline(getattr(importlib.import_module(module), name)(**dense), GaussianNB())
    rows = np.abs(ROWS)
    rows[::9] = np.nan if "impute" in module else 0.5
    model[:-1].fit(rows, LABELS)
    loaded = skops.load(skops.dump(model[:-1]))
    np.testing.assert_array_equal(loaded.transform(rows), model[:-1].transform(rows))


def test_other_data_are_other_bytes() -> None:
    assert skops.dump(GaussianNB().fit(ROWS, LABELS)) != skops.dump(GaussianNB().fit(ROWS[1:], LABELS[1:]))


def test_generalised_linear_models_load() -> None:
    rows, values = make_regression(80, 3, random_state=0)
    model = TweedieRegressor(power=1.5).fit(rows, np.exp(values / 200))
    assert np.array_equal(skops.load(skops.dump(model)).predict(rows), model.predict(rows))


@pytest.mark.parametrize("function", ["os.system", "builtins.eval", "subprocess.Popen"])
def test_a_type_that_is_not_listed_is_refused(function: Any) -> None:
    """A file that names a type of its own choice in place of an estimator's."""
    module, _, name = function.rpartition(".")
    source = zipfile.ZipFile(io.BytesIO(skops.dump(GaussianNB().fit(ROWS, LABELS))))
    schema = json.loads(source.read("schema.json"))
    schema["__module__"], schema["__class__"], schema["__loader__"] = module, name, "FunctionNode"
    schema["content"] = {"module_path": module, "function": name}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as target:
        for member in source.namelist():
            target.writestr(member, json.dumps(schema) if member == "schema.json" else source.read(member))
    with pytest.raises(skops.UntrustedModelError, match="not trusted"):
        skops.load(out.getvalue())


@pytest.mark.parametrize("data", [b"", b"no zip", b"PK\x05\x06" + 18 * b"\0"])
def test_what_is_no_model_is_refused(data: Any) -> None:
    with pytest.raises(skops.UntrustedModelError):
        skops.load(data)
