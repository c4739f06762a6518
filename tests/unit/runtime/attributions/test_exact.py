"""Attributions add up, are those of the definition, and come by the features that a client sends."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import AdaBoostClassifier, BaggingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from perennial.runtime.attributions import fitted, known
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
    (ENSEMBLE + "BaggingClassifier", {"n_estimators": 5, "max_features": 0.7}, "probability"),
    (ENSEMBLE + "AdaBoostClassifier", {"n_estimators": 8}, "decision_function"),
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
    (ENSEMBLE + "BaggingRegressor", {"n_estimators": 5, "max_samples": 0.5}, "prediction"),
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


def model_of(path: str, parameters: Any, kind: str, labels: str, calibration: str = "") -> tuple[Any, Schema, Any]:
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
    model = pipeline(chosen, features, "Auto", learned)
    if calibration:
        model.set_params(model=CalibratedClassifierCV(chosen.estimator, method=calibration, ensemble=False))
    model.fit(learned, target)
    numbers = numbers[::5] * 1.5
    if texts is not None:
        texts = np.vstack([texts[::5][:-1], [["never seen", ""]]]).astype(object)
    return model, schema, (numbers, texts, learned)


def assert_adds_up(path: str, parameters: Any, quantity: Any, kind: str, labels: str, calibration: str = "") -> None:
    model, schema, (numbers, texts, learned) = model_of(path, parameters, kind, labels, calibration)
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


@pytest.mark.parametrize(
    ("path", "method", "quantity"),
    [
        (ENSEMBLE + "RandomForestClassifier", "isotonic", "uncalibrated_probability"),
        (ENSEMBLE + "HistGradientBoostingClassifier", "isotonic", "uncalibrated_decision_function"),
        (LINEAR + "LogisticRegression", "sigmoid", "uncalibrated_decision_function"),
    ],
)
@pytest.mark.parametrize("labels", ["two", "three"])
def test_a_calibrated_classifier_is_explained_before_its_curve(
    path: str, method: str, quantity: Any, labels: str
) -> None:
    assert_adds_up(path, {}, quantity, "texts", labels, method)
    if labels == "two":
        model, schema, (numbers, texts, _) = model_of(path, {}, "texts", labels, method)
        asked = frame(schema, numbers, texts)
        before, after = stated(model, quantity, asked)[:, 0], model.predict_proba(asked)[:, 1]
        assert (np.diff(after[np.argsort(before)]) >= -1e-12).all()


def by_definition(tree: Any, row: np.ndarray, said: np.ndarray | None = None) -> np.ndarray:
    """Shapley values of the tree's features, by going through all their sets. `said` [nodes] is what leaves say where
    that is not the tree's value."""
    count = tree.n_features
    said = tree.value[:, 0, 0] if said is None else said

    def expected(known: frozenset[int], node: int = 0) -> float:
        left, right = tree.children_left[node], tree.children_right[node]
        if left < 0:
            return float(said[node])
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


def test_adaboost_is_explained_by_the_votes_of_its_trees() -> None:
    parameters = {"estimator": DecisionTreeClassifier(max_depth=3), "n_estimators": 4, "random_state": 0}
    features, numbers, _ = rows("plain")
    target = numbers[:, 0] + numbers[:, 1] * numbers[:, 2] > 0
    model = AdaBoostClassifier(**parameters).fit(numbers, target)
    schema = Schema("classification", "y", features, "value")
    explainer = Explainer(fitted.form_of(model, schema, lambda blocks: np.zeros(len(blocks)))[0], schema)
    shares = model.estimator_weights_ / model.estimator_weights_.sum()
    for row in numbers[:5]:
        # A tree's vote counts for the one class and against the other: 2 for the second, -2 for the first.
        votes = [4.0 * tree.tree_.value[:, 0, :].argmax(axis=1) - 2.0 for tree in model.estimators_]
        each = [by_definition(tree.tree_, row, said) for tree, said in zip(model.estimators_, votes, strict=True)]
        assert explainer(row[None], None)[0, 0].tolist() == pytest.approx((shares @ np.array(each)).tolist(), abs=1e-9)


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


@pytest.mark.parametrize(
    ("path", "labels", "why"),
    [
        ("sklearn.svm.SVC", "two", "SVC"),
        ("sklearn.neighbors.KNeighborsClassifier", "two", "KNeighborsClassifier"),
        (ENSEMBLE + "AdaBoostRegressor", "number", "AdaBoostRegressor, which answers by a weighted median"),
        ("sklearn.calibration.CalibratedClassifierCV", "two", "5 classifiers with a curve each"),
    ],
)
def test_what_has_no_exact_attributions_is_said_by_name_and_why(path: str, labels: str, why: str) -> None:
    model, schema, (_, _, learned) = model_of(path, {}, "plain", labels)
    assert why in (attribution_form(model, schema, learned, learned).why_not or "")


@pytest.mark.parametrize("calibration", ["", "sigmoid"])
def test_an_ensemble_of_others_than_trees_has_none(calibration: str) -> None:
    features, numbers, _ = rows("plain")
    target = numbers[:, 0] > 0
    model: Any = BaggingClassifier(LogisticRegression(), n_estimators=2)
    if calibration:
        model = CalibratedClassifierCV(model, method="sigmoid", ensemble=False)
    schema = Schema("classification", "y", features, "value")
    with pytest.raises(known.NotAttributableError, match="an ensemble of LogisticRegression"):
        fitted.form_of(model.fit(numbers, target), schema, lambda blocks: np.zeros(len(blocks)))


def test_trees_without_end_have_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "MAX_NODES", 50)
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
