"""A run starts when what affects training changes, and nothing else does: no default, no new field."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from perennial.training.digest import definition_digest, is_comparable

SPEC: dict[str, Any] = {
    "sklearn": {"estimator": "sklearn.ensemble.HistGradientBoostingClassifier", "parameters": {"max_iter": 200}},
    "data": {"uri": "s3://lake/*.parquet", "target": "late"},
}


def changed(path: str, value: Any) -> dict[str, Any]:
    spec = copy.deepcopy(SPEC)
    *parents, last = path.split(".")
    place = spec
    for parent in parents:
        place = place.setdefault(parent, {})
    place[last] = value
    return spec


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("sklearn.estimator", "sklearn.linear_model.LogisticRegression"),
        ("sklearn.parameters", {"max_iter": 201}),
        ("sklearn.preprocessing", "None"),
        ("sklearn.refit", False),
        ("sklearn.steps", [{"transformer": "sklearn.decomposition.PCA"}]),
        ("sklearn.calibration", "Sigmoid"),
        ("sklearn.search", {"metric": "f1", "space": {"max_depth": [3, 5]}}),
        ("data.uri", "s3://lake/2/*.parquet"),
        ("data.features", ["a"]),
        ("data.time", "at"),
        ("data.window", "28d"),
        ("data.test", {"fraction": 0.5}),
        ("data.test", {"split": "Time"}),
        ("data.test", {"split": "Group", "group": "tail"}),
        ("data.test", {"folds": 5}),
        ("data.expect", {"columns": {"carrier": {"nulls": "5%"}}}),
        ("seed", 1),
        ("acceptance", {"metrics": [{"name": "roc_auc", "min": 0.7}]}),
        ("acceptance", {"champion": {"metric": "roc_auc", "margin": 0.0}}),
        ("acceptance", {"slices": [{"column": "carrier", "metric": "recall", "maxGap": 0.1}]}),
        ("template", {"spec": {"containers": [{"name": "train", "image": "a:1"}]}}),
    ],
)
def test_what_affects_training_changes_it(path: str, value: Any) -> None:
    assert definition_digest(changed(path, value)) != definition_digest(SPEC)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("sklearn.preprocessing", "Auto"),
        ("sklearn.refit", True),
        ("sklearn.search", {"method": "Random", "trials": 20, "folds": 3}),
        ("data.features", []),
        ("data.test", {"fraction": 0.25, "split": "Random"}),
        ("data.secretRef", {"name": "lake"}),
        ("seed", 0),
        ("acceptance", {"metrics": [], "slices": []}),
        ("resources", {"requests": {"cpu": "4"}}),
        ("backoffLimit", 5),
        ("suspend", True),
        ("pod", {"labels": {"team": "a"}}),
        ("output", {"uri": "s3://models"}),
        ("versionHistoryLimit", 3),
        ("aFieldOfALaterRelease", {"default": 1}),
    ],
)
def test_defaults_and_what_does_not_affect_training_leave_it(path: str, value: Any) -> None:
    assert definition_digest(changed(path, value)) == definition_digest(SPEC)


def test_an_own_container_is_told_apart_by_what_it_runs() -> None:
    def template(**said: Any) -> dict[str, Any]:
        return {"template": {"spec": {"containers": [{"name": "train", "image": "a:1", **said}]}}}

    assert definition_digest(template()) == definition_digest(template(name="other", imagePullPolicy="Always"))
    assert definition_digest(template()) != definition_digest(template(args=["--fast"]))
    assert definition_digest(template()) != definition_digest(template(image="a:2"))
    mount = {"name": "script", "mountPath": "/script"}
    assert definition_digest(template()) != definition_digest(template(volumeMounts=[mount]))


@pytest.mark.parametrize(
    "pod",
    [{"env": [{"name": "DEPTH", "value": "4"}]}, {"volumes": [{"name": "script", "configMap": {"name": "script-2"}}]}],
)
def test_an_own_container_is_told_apart_by_what_its_pod_gives_it(pod: dict[str, Any]) -> None:
    own = {"template": {"spec": {"containers": [{"name": "train", "image": "a:1"}]}}}
    assert definition_digest(own) != definition_digest({**own, "pod": pod})
    assert definition_digest(own) == definition_digest({**own, "pod": {"labels": {"team": "a"}}})
    assert definition_digest(SPEC) == definition_digest({**SPEC, "pod": pod})


def test_it_is_the_same_in_every_release() -> None:
    """The digest of stored objects must never move: an upgrade would retrain every model of the cluster."""
    assert definition_digest(SPEC) == "v2:4c1e6af5d1f560ed2ca4a3f7307992d8f2adb18fc97d82f02a8f88bd7fa24ae2"


def test_only_this_algorithm_can_be_compared() -> None:
    assert is_comparable(definition_digest(SPEC))
    assert not is_comparable("v1:00")
    assert not is_comparable("v3:00")
    assert not is_comparable("")
    assert not is_comparable(None)
