"""Attributions add up, are those of the definition, and come by the features that a client sends."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.tree import DecisionTreeRegressor

from perennial.runtime.attributions import fitted
from perennial.runtime.attributions.explainer import Explainer, decode
from perennial.runtime.frame import frame
from perennial.runtime.trainer.attribution_form import AttributionForm, attribution_form, stated
from perennial.runtime.trainer.estimators import choose
from perennial.runtime.trainer.preprocessing import pipeline
from perennial.wire.run import Sklearn
from perennial.wire.schema import Feature, Schema

pytestmark = pytest.mark.filterwarnings("ignore")

TREE, ENSEMBLE, LINEAR = "sklearn.tree.", "sklearn.ensemble.", "sklearn.linear_model."
CLASSIFIERS = [
    (TREE + "DecisionTreeClassifier", {}, "probability"),
    (ENSEMBLE + "RandomForestClassifier", {"n_estimators": 6, "class_weight": "balanced"}, "probability"),
    (ENSEMBLE + "ExtraTreesClassifier", {"n_estimators": 6, "max_depth": 4}, "probability"),
    (ENSEMBLE + "GradientBoostingClassifier", {"n_estimators": 5}, "decision_function"),
    (ENSEMBLE + "HistGradientBoostingClassifier", {"max_iter": 6, "min_samples_leaf": 5}, "decision_function"),
    (LINEAR + "LogisticRegression", {}, "decision_function"),
    (LINEAR + "RidgeClassifier", {}, "decision_function"),
    ("sklearn.svm.LinearSVC", {}, "decision_function"),
    ("sklearn.discriminant_analysis.LinearDiscriminantAnalysis", {}, "decision_function"),
]
REGRESSORS = [
    (TREE + "ExtraTreeRegressor", {}, "prediction"),
    (ENSEMBLE + "RandomForestRegressor", {"n_estimators": 6}, "prediction"),
    (ENSEMBLE + "GradientBoostingRegressor", {"n_estimators": 5}, "prediction"),
    (ENSEMBLE + "GradientBoostingRegressor", {"n_estimators": 5, "init": "zero"}, "prediction"),
    (ENSEMBLE + "HistGradientBoostingRegressor", {"max_iter": 6, "min_samples_leaf": 5}, "prediction"),
    (ENSEMBLE + "HistGradientBoostingRegressor", {"max_iter": 6, "loss": "poisson"}, "log_prediction"),
    (LINEAR + "LinearRegression", {}, "prediction"),
    (LINEAR + "PoissonRegressor", {}, "log_prediction"),
    (LINEAR + "TweedieRegressor", {"power": 1.5}, "log_prediction"),
]


def rows(kind: str, count: int = 250) -> tuple[list[Feature], np.ndarray, np.ndarray | None]:
    """Numbers with ties, a boolean, and by kind missing values and texts of few or many categories."""
    random = np.random.default_rng(3)
    numbers = random.normal(size=(count, 4))
    numbers[:, 1] = np.round(2 * numbers[:, 1])
    numbers[:, 3] = random.integers(0, 2, count)
    features = [Feature("a", "numeric"), Feature("b", "numeric"), Feature("c", "numeric"), Feature("d", "boolean")]
    if kind == "plain":
        return features, numbers, None
    numbers[random.random(numbers.shape) < 0.1] = np.nan
    categories = random.zipf(1.4, count) % (10 if kind == "texts" else 200)
    texts = np.array([[f"c{c}" if c else "", "xyz"[c % 3]] for c in categories], object)
    return [features[0], Feature("t", "categorical"), *features[1:], Feature("u", "categorical")], numbers, texts


def model_of(path: str, parameters: Any, kind: str, labels: str) -> tuple[Any, Schema, Any]:
    """A fitted pipeline, its schema, and rows to ask: those learned from, and some with what was never seen."""
    features, numbers, texts = rows(kind)
    signal = np.nan_to_num(numbers[:, 0]) + np.nan_to_num(numbers[:, 1] * numbers[:, 3])
    if texts is not None:
        signal += np.array([int(text[1:] or 0) % 3 for text in texts[:, 0]])
    target: Any = {"two": signal > np.median(signal), "number": np.exp(signal / 4)}.get(
        labels, np.digitize(signal, np.quantile(signal, [0.3, 0.6]))
    )
    chosen = choose(Sklearn(path, parameters), seed=0, cpus=1)
    schema = Schema(chosen.task, "y", features, "value")
    learned = frame(schema, numbers, texts)
    model = pipeline(chosen, features, "Auto", learned).fit(learned, target)
    numbers = numbers[::5] * 1.5
    if texts is not None:
        texts = np.vstack([texts[::5][:-1], [["never seen", ""]]]).astype(object)
    return model, schema, (numbers, texts, learned)


def assert_adds_up(path: str, parameters: Any, quantity: Any, kind: str, labels: str) -> None:
    model, schema, (numbers, texts, learned) = model_of(path, parameters, kind, labels)
    found = attribution_form(model, schema, learned, learned)
    assert found.why_not is None
    assert found.quantity == quantity
    assert found.data is not None
    explainer = Explainer(decode(found.data), schema)
    values = explainer(numbers, texts)
    expected = stated(model, quantity, frame(schema, numbers, texts))
    assert values.shape == (len(numbers), expected.shape[1], len(schema.features))
    assert np.max(np.abs(values.sum(axis=2) + explainer.base - expected) / (1 + np.abs(expected))) < 1e-9


@pytest.mark.parametrize(("kind", "labels"), [("plain", "two"), ("texts", "three"), ("many texts", "two")])
@pytest.mark.parametrize(("path", "parameters", "quantity"), CLASSIFIERS)
def test_base_and_attributions_of_a_classifier_add_up(
    path: str, parameters: Any, quantity: Any, kind: str, labels: str
) -> None:
    assert_adds_up(path, parameters, quantity, kind, labels)


@pytest.mark.parametrize("kind", ["plain", "texts", "many texts"])
@pytest.mark.parametrize(("path", "parameters", "quantity"), REGRESSORS)
def test_base_and_attributions_of_a_regressor_add_up(path: str, parameters: Any, quantity: Any, kind: str) -> None:
    assert_adds_up(path, parameters, quantity, kind, "number")


def by_definition(tree: Any, row: np.ndarray) -> np.ndarray:
    """Shapley values of the tree's features, by going through all their sets."""
    count = tree.n_features

    def expected(known: frozenset[int], node: int = 0) -> float:
        left, right = tree.children_left[node], tree.children_right[node]
        if left < 0:
            return float(tree.value[node, 0, 0])
        if tree.feature[node] in known:
            value = np.float32(row[tree.feature[node]])
            goes_left = tree.missing_go_to_left[node] if np.isnan(value) else value <= tree.threshold[node]
            return expected(known, left if goes_left else right)
        weights = tree.weighted_n_node_samples[[left, right]]
        return float(np.average([expected(known, left), expected(known, right)], weights=weights))

    found = np.zeros(count)
    for feature in range(count):
        for size in range(count):
            share = math.factorial(size) * math.factorial(count - size - 1) / math.factorial(count)
            for others in itertools.combinations(sorted(set(range(count)) - {feature}), size):
                found[feature] += share * (expected(frozenset({*others, feature})) - expected(frozenset(others)))
    return found


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    features=st.integers(1, 5),
    depth=st.integers(1, 9),
    missing=st.sampled_from([0.0, 0.3]),
    weighted=st.booleans(),
)
def test_a_tree_is_explained_by_the_definition(
    seed: int, features: int, depth: int, missing: float, weighted: bool
) -> None:
    random = np.random.default_rng(seed)
    numbers = np.round(random.normal(size=(60, features)), 1)
    numbers[random.random(numbers.shape) < missing] = np.nan
    weights = random.integers(0, 3, 60).astype(float) if weighted else None
    target = random.normal(size=60)
    model = DecisionTreeRegressor(max_depth=depth, random_state=0).fit(numbers, target, sample_weight=weights)
    schema = Schema("regression", "y", [Feature(f"f{i}", "numeric") for i in range(features)], "value")
    form, _ = fitted.form_of(model, schema, lambda blocks: np.zeros(len(blocks)))
    explainer = Explainer(form, schema)
    asked = numbers[:5] + random.normal(size=(5, features)) / 10
    found = explainer(asked, None)[:, 0]
    for row, values in zip(asked, found, strict=True):
        assert values.tolist() == pytest.approx(by_definition(model.tree_, row).tolist(), abs=1e-9)
    assert (found.sum(axis=1) + explainer.base[0]).tolist() == pytest.approx(model.predict(asked).tolist(), abs=1e-9)


def test_a_linear_model_is_explained_by_how_far_a_value_is_from_its_mean() -> None:
    model, schema, (numbers, texts, learned) = model_of(LINEAR + "LinearRegression", {}, "texts", "number")
    found = attribution_form(model, schema, learned, learned)
    assert found.data is not None
    values = Explainer(decode(found.data), schema)(numbers, texts)[:, 0]
    columns = model["columns"].transform(frame(schema, numbers, texts))
    away = (columns - model["columns"].transform(learned).mean(axis=0)) * model["model"].coef_
    assert values[:, 0].tolist() == pytest.approx(away[:, 0].tolist())
    names = [name.rpartition("_")[0] for name in model["columns"].get_feature_names_out()]
    of_t = [column for column, name in enumerate(names) if name == "t"]
    assert len(of_t) > 2
    assert values[:, 1].tolist() == pytest.approx(away[:, of_t].sum(axis=1).tolist())


@pytest.mark.parametrize("path", ["sklearn.svm.SVC", "sklearn.neighbors.KNeighborsClassifier"])
def test_what_has_no_exact_attributions_is_said_by_name(path: str) -> None:
    model, schema, (_, _, learned) = model_of(path, {}, "plain", "two")
    assert path.rpartition(".")[2] in (attribution_form(model, schema, learned, learned).why_not or "")


def test_trees_without_end_have_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitted, "MAX_NODES", 50)
    model, schema, (_, _, learned) = model_of(ENSEMBLE + "RandomForestRegressor", {}, "plain", "number")
    assert "50 together" in (attribution_form(model, schema, learned, learned).why_not or "")


def test_attributions_that_do_not_add_up_are_not_published(monkeypatch: pytest.MonkeyPatch) -> None:
    model, schema, (_, _, learned) = model_of(LINEAR + "LinearRegression", {}, "plain", "number")
    model["model"].predict = lambda columns: np.zeros(len(columns))
    found = attribution_form(model, schema, learned, learned)
    assert found.data is None
    assert "add up to" in (found.why_not or "")


def test_the_same_model_gives_the_same_bytes() -> None:
    files: set[AttributionForm] = set()
    for _ in range(2):
        model, schema, (_, _, learned) = model_of(ENSEMBLE + "RandomForestRegressor", {}, "texts", "number")
        files.add(attribution_form(model, schema, learned, learned))
    assert len(files) == 1


def test_trees_that_ask_for_categories_are_among_those_that_add_up() -> None:
    model, schema, _ = model_of(ENSEMBLE + "HistGradientBoostingClassifier", CLASSIFIERS[4][1], "many texts", "two")
    form, _ = fitted.form_of(model, schema, lambda blocks: np.zeros(len(blocks)))
    assert form.trees is not None
    assert form.trees.members
