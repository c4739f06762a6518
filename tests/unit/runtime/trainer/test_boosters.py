"""Runs with what an installation allows beside scikit-learn: LightGBM, XGBoost, and classes of its own."""

from __future__ import annotations

import sys
from typing import Any

import msgspec
import pytest

from perennial.runtime.failures import InputError
from perennial.runtime.server.model import Unloadable, load
from perennial.wire.estimators import ESTIMATORS_ENV
from perennial.wire.result import Result
from perennial.wire.run import Accepted, Champion, Search
from perennial.wire.serve import ServedModel
from tests.environments import libraries
from tests.unit.runtime.trainer.world import World, flights

pytestmark = pytest.mark.filterwarnings("ignore")

LIGHT, XG = "lightgbm.LGBMClassifier", "xgboost.XGBClassifier"
SMALL = {"n_estimators": 8}


@pytest.fixture
def _boosters(monkeypatch: pytest.MonkeyPatch) -> None:
    for extra in ("lightgbm", "xgboost"):
        monkeypatch.syspath_prepend(str(libraries(extra)))
    monkeypatch.setenv(ESTIMATORS_ENV, f"{LIGHT},{XG},lightgbm.LGBMRegressor")


def served(result: Result) -> Any:
    assert result.model is not None
    return load(ServedModel(result.model.uri, result.model.sha256, seal=result.model.seal))


@pytest.mark.process
@pytest.mark.usefixtures("_boosters")
@pytest.mark.parametrize(("estimator", "text"), [(LIGHT, "model.lightgbm.txt"), (XG, "model.xgboost.json")])
@pytest.mark.parametrize("target", ["late", "status"])
def test_a_booster_is_kept_as_onnx_and_in_its_own_text(world: World, estimator: str, text: str, target: str) -> None:
    result = world.train(estimator=estimator, target=target, parameters=SMALL, calibration="Sigmoid")
    manifest = world.version(result).manifest
    assert "model.skops" not in manifest.files
    assert text in manifest.files
    assert (manifest.model.primary, manifest.model.engine) == ("model.onnx", "onnx")
    assert manifest.model.agreement is not None
    assert (manifest.model.agreement.labels_different, manifest.model.agreement.difference < 1e-12) == (0, True)
    assert manifest.model.attributed == "uncalibrated_decision_function"
    assert served(result).schema.classes == ([False, True] if target == "late" else ["late", "on time"])


@pytest.mark.process
@pytest.mark.usefixtures("_boosters")
@pytest.mark.parametrize("estimator", [LIGHT, XG])
def test_a_booster_is_the_same_on_any_number_of_cpus(
    world: World, estimator: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = set()
    for version, cpus in enumerate((1, 2, 3), 1):
        monkeypatch.setattr("perennial.runtime.limits.cpus", lambda cpus=cpus: cpus)
        result = world.train(estimator=estimator, version=version, parameters=SMALL)
        assert result.model is not None
        digests.add(result.model.sha256)
    assert len(digests) == 1


@pytest.mark.process
@pytest.mark.usefixtures("_boosters")
def test_a_booster_is_searched_and_stands_up_to_the_champion(world: World) -> None:
    first = world.train(estimator=LIGHT, parameters=SMALL, refit=False)
    assert first.model is not None
    against = Accepted(1, first.model.uri, first.model.sha256, first.model.seal)
    result = world.train(
        estimator=XG,
        parameters=SMALL,
        version=2,
        search=Search("roc_auc", {"max_depth": [2, 4]}),
        champion=Champion("roc_auc", 0.5, against),
    )
    (gate,) = result.gates
    assert (gate.passed, (gate.note or "")[:12]) == (True, "version 1 on")
    assert result.search is not None
    assert "max_depth" in result.search.parameters


@pytest.mark.process
@pytest.mark.usefixtures("_boosters")
@pytest.mark.parametrize(
    ("parameters", "reason", "says"),
    [
        ({"linear_tree": True}, "NoExactForm", "served by ONNX Runtime only.*linear_tree"),
        ({"num_leavs": 3}, "InvalidParameters", "num_leavs: unknown; did you mean num_leaves"),
        ({"num_leaves": 1}, "DoesNotFit", "num_leaves"),
    ],
)
def test_what_lightgbm_cannot_have_is_told(world: World, parameters: Any, reason: str, says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        world.train(estimator="lightgbm.LGBMRegressor", target="delay", parameters=parameters)
    assert caught.value.reason == reason


@pytest.mark.parametrize("estimator", [LIGHT, "mine.Majority"])
def test_what_the_installation_does_not_allow_is_refused(world: World, estimator: str) -> None:
    with pytest.raises(InputError, match="the platform team extends it by the chart's value `estimators`") as caught:
        world.train(estimator=estimator)
    assert caught.value.reason == "EstimatorNotAllowed"


def test_what_is_allowed_and_not_in_the_image_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ESTIMATORS_ENV, "nosuchlibrary.Classifier")
    with pytest.raises(InputError, match=r"nosuchlibrary\.Classifier is not in this image"):
        world.train(estimator="nosuchlibrary.Classifier")


MAJORITY = """
import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin

class Share:
    def __init__(self):
        self.of = 0.0

class Majority(ClassifierMixin, BaseEstimator):
    def fit(self, X, y):
        self.classes_, counts = np.unique(y, return_counts=True)
        self.shares_ = counts / counts.sum()
        {more}
        return self
    def predict(self, X):
        return self.classes_[np.full(len(X), self.shares_.argmax())]
    def predict_proba(self, X):
        return np.tile(self.shares_, (len(X), 1))
"""


@pytest.fixture
def mine(empty_world: World, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> World:
    """A package that defines its class in one module and offers it in another, as most do."""
    empty_world.write(flights())
    package = empty_world.root / "mine"
    package.mkdir()
    (package / "__init__.py").write_text("from mine.inner import Majority, Share\n")
    (package / "inner.py").write_text(MAJORITY.format(more=request.param))
    monkeypatch.syspath_prepend(str(empty_world.root))
    for name in ("mine", "mine.inner"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setenv(ESTIMATORS_ENV, "mine.Majority")
    return empty_world


@pytest.mark.parametrize("mine", ["pass"], indirect=True)
def test_a_class_of_ones_own_is_served_where_it_is_allowed(mine: World, monkeypatch: pytest.MonkeyPatch) -> None:
    result = mine.train(estimator="mine.Majority")
    model = served(result)
    assert (model.engine.name, model.manifest.model.why) == ("sklearn", "no exact form of Majority")
    monkeypatch.delenv(ESTIMATORS_ENV)
    with pytest.raises(Unloadable, match=r"not trusted.*mine\.inner\.Majority"):
        served(result)


@pytest.mark.parametrize("mine", ["self.share_ = Share()"], indirect=True)
def test_a_model_that_no_server_would_load_is_not_published(mine: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"mine\.inner\.Share.*add types that it knows") as caught:
        mine.train(estimator="mine.Majority")
    assert caught.value.reason == "ModelNotTrusted"
    monkeypatch.setenv(ESTIMATORS_ENV, "mine.Majority, mine.Share")
    assert msgspec.to_builtins(mine.train(estimator="mine.Majority"))["outcome"] == "Accepted"
