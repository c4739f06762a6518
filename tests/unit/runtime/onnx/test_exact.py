"""Every estimator with a converter, behind Auto, on every kind of data: the same answers as scikit-learn, to rounding.

The rows asked are the converter's own hard ones: missing values, unseen texts, values on thresholds and beside them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.isotonic import IsotonicRegression

from perennial.runtime.frame import frame
from perennial.runtime.onnx.calibration import probabilities
from perennial.runtime.onnx.convert import convert
from perennial.runtime.onnx.graph import Graph, NotConvertibleError
from perennial.runtime.onnx.hard_rows import UNSEEN, Rows, hard_rows
from perennial.runtime.trainer.estimators import choose
from perennial.runtime.trainer.preprocessing import pipeline
from perennial.wire.run import Sklearn
from perennial.wire.schema import LABEL, NUMBERS, PREDICTION, PROBABILITIES, TEXTS, Feature, Schema

pytestmark = pytest.mark.filterwarnings("ignore")

ENSEMBLE, LINEAR = "sklearn.ensemble.", "sklearn.linear_model."
CLASSIFIERS: list[tuple[str, dict[str, Any]]] = [
    ("sklearn.tree.DecisionTreeClassifier", {"max_depth": 5}),
    ("sklearn.tree.ExtraTreeClassifier", {}),
    (ENSEMBLE + "RandomForestClassifier", {"n_estimators": 8}),
    (ENSEMBLE + "RandomForestClassifier", {"n_estimators": 8, "min_samples_leaf": 4, "class_weight": "balanced"}),
    (ENSEMBLE + "ExtraTreesClassifier", {"n_estimators": 8, "max_depth": 4}),
    (ENSEMBLE + "GradientBoostingClassifier", {"n_estimators": 6}),
    (ENSEMBLE + "HistGradientBoostingClassifier", {"max_iter": 6, "min_samples_leaf": 5}),
    (LINEAR + "LogisticRegression", {}),
    (LINEAR + "SGDClassifier", {"loss": "log_loss"}),
    (LINEAR + "SGDClassifier", {}),
    (LINEAR + "RidgeClassifier", {}),
    ("sklearn.svm.LinearSVC", {}),
    ("sklearn.discriminant_analysis.LinearDiscriminantAnalysis", {}),
    ("sklearn.discriminant_analysis.QuadraticDiscriminantAnalysis", {"reg_param": 0.1}),
    ("sklearn.naive_bayes.GaussianNB", {}),
    ("sklearn.naive_bayes.BernoulliNB", {"binarize": 0.1}),
    (ENSEMBLE + "AdaBoostClassifier", {"n_estimators": 8}),
    (ENSEMBLE + "BaggingClassifier", {"n_estimators": 4, "max_samples": 0.5, "max_features": 0.5}),
    ("sklearn.neural_network.MLPClassifier", {"max_iter": 10, "hidden_layer_sizes": [5, 4], "activation": "tanh"}),
]
REGRESSORS = [
    ("sklearn.tree.DecisionTreeRegressor", {}),
    (ENSEMBLE + "RandomForestRegressor", {"n_estimators": 8}),
    (ENSEMBLE + "ExtraTreesRegressor", {"n_estimators": 8}),
    (ENSEMBLE + "BaggingRegressor", {"n_estimators": 4, "max_features": 0.5}),
    ("sklearn.dummy.DummyRegressor", {"strategy": "quantile", "quantile": 0.2}),
    (ENSEMBLE + "GradientBoostingRegressor", {"n_estimators": 6}),
    (ENSEMBLE + "GradientBoostingRegressor", {"n_estimators": 3, "init": "zero"}),
    (ENSEMBLE + "HistGradientBoostingRegressor", {"max_iter": 6, "min_samples_leaf": 5}),
    (LINEAR + "LinearRegression", {}),
    (LINEAR + "Ridge", {}),
    (LINEAR + "Lasso", {}),
    (LINEAR + "ElasticNetCV", {}),
    (LINEAR + "HuberRegressor", {}),
    (LINEAR + "SGDRegressor", {}),
    ("sklearn.svm.LinearSVR", {}),
    ("sklearn.neural_network.MLPRegressor", {"max_iter": 10, "hidden_layer_sizes": [5]}),
]
WITHOUT_SCORES: list[tuple[str, dict[str, Any]]] = [
    ("sklearn.calibration.CalibratedClassifierCV", {"cv": 3}),
    *(("sklearn.dummy.DummyClassifier", {"strategy": strategy}) for strategy in ("prior", "most_frequent")),
]
POSITIVE = [
    (LINEAR + "PoissonRegressor", {}),
    (LINEAR + "TweedieRegressor", {"power": 1.5}),
    (ENSEMBLE + "HistGradientBoostingRegressor", {"loss": "poisson", "max_iter": 4, "min_samples_leaf": 5}),
]


def data(kind: str, rows: int = 300) -> tuple[Rows, list[Feature]]:
    """Numbers with ties, a boolean, and by kind missing values and texts with few or many categories."""
    random = np.random.default_rng(7)
    numbers = random.normal(size=(rows, 4))
    numbers[:, 1] = np.round(2 * numbers[:, 1])
    numbers[:, 3] = random.integers(0, 2, rows)
    features = [Feature("a", "numeric"), Feature("b", "numeric"), Feature("c", "numeric"), Feature("d", "boolean")]
    texts = np.empty((rows, 0), object)
    if kind != "plain":
        numbers[random.random(numbers.shape) < 0.1] = np.nan
    if "texts" in kind:
        categories = random.zipf(1.4, rows) % (10 if kind == "texts" else 400)
        texts = np.array(
            [[f"c{c}" if c else "", "xyz"[i]] for c, i in zip(categories, random.integers(0, 3, rows), strict=True)],
            object,
        )
        features = [features[0], Feature("t", "categorical"), *features[1:], Feature("u", "categorical")]
    return Rows(numbers, texts), features


def target(rows: Rows, kind: str) -> np.ndarray:
    random = np.random.default_rng(8)
    signal = (
        np.nan_to_num(rows.numbers[:, 0]) + np.nan_to_num(rows.numbers[:, 1]) / 2 + random.normal(size=len(rows)) / 2
    )
    if rows.texts.shape[1]:
        signal += np.array([len(text) + ord(text[-1:] or "a") % 3 for text in rows.texts[:, 0]])
    if kind == "two":
        return signal > np.median(signal)
    if kind == "texts":
        return np.array(["high" if each else "low" for each in signal > np.median(signal)], object)
    if kind == "three":
        return np.digitize(signal, np.quantile(signal, [0.3, 0.6])).astype(np.int64)
    return np.exp(signal / 4) if kind == "positive" else signal


def fitted(path: Any, parameters: Any, rows: Any, features: Any, values: Any, calibration: str | None = None) -> Any:
    chosen = choose(Sklearn(path, parameters), seed=0, cpus=1)
    known = Schema(chosen.task, "y", features, "value")
    table = frame(known, rows.numbers, rows.texts)
    model = pipeline(chosen, features, "Auto", table)
    if calibration is not None:
        calibrated = CalibratedClassifierCV(chosen.estimator, method=calibration, cv=3, ensemble=False)
        model.set_params(model=calibrated)
    model.fit(table, values)
    classes = model.classes_.tolist() if chosen.task == "classification" else []
    return model, Schema(chosen.task, "y", features, "value", classes)


def ask(data: bytes, rows: Rows) -> dict[str, np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    feeds = {NUMBERS: rows.numbers, TEXTS: rows.texts}
    outputs = session.run(None, {node.name: feeds[node.name] for node in session.get_inputs()})
    return {node.name: output for node, output in zip(session.get_outputs(), outputs, strict=True)}


def assert_exact(
    path: Any, parameters: Any, kind: Any, labels: Any, calibration: str | None = None, within: float = 1e-12
) -> None:
    rows, features = data(kind)
    model, schema = fitted(path, parameters, rows, features, target(rows, labels), calibration)
    converted = convert(model, schema)
    thresholds = {schema.numbers.index(name): values for name, values in converted.thresholds.items()}
    hard = hard_rows(rows, thresholds)
    asked = frame(schema, hard.numbers, hard.texts)
    answers = ask(converted.data, hard)
    if schema.task == "regression":
        expected = model.predict(asked)
        assert np.max(np.abs(answers[PREDICTION] - expected) / (1 + np.abs(expected))) < within
        return
    assert answers[LABEL].tolist() == model.predict(asked).tolist()
    assert (PROBABILITIES in answers) == hasattr(model, "predict_proba")
    if PROBABILITIES in answers:
        assert np.max(np.abs(answers[PROBABILITIES] - model.predict_proba(asked))) < within


def name(value: Any) -> Any:
    return (
        value.rpartition(".")[2]
        if isinstance(value, str)
        else "-".join(map(str, value))
        if isinstance(value, dict)
        else None
    )


@pytest.mark.parametrize(
    ("kind", "labels"), [("plain", "two"), ("missing", "texts"), ("texts", "three"), ("many texts", "two")]
)
@pytest.mark.parametrize(("path", "parameters"), CLASSIFIERS + WITHOUT_SCORES, ids=name)
def test_classifiers(path: Any, parameters: Any, kind: Any, labels: Any) -> None:
    assert_exact(path, parameters, kind, labels)


@pytest.mark.parametrize("labels", ["two", "three"])
@pytest.mark.parametrize("calibration", ["sigmoid", "isotonic"])
@pytest.mark.parametrize(("path", "parameters"), CLASSIFIERS, ids=name)
def test_calibrated_classifiers(path: Any, parameters: Any, calibration: str, labels: str) -> None:
    # Where an isotonic curve is steep it multiplies what the scores were rounded by.
    assert_exact(path, parameters, "texts", labels, calibration, within=1e-10)


@pytest.mark.parametrize("scores", [[0.0], [0.0, 1.0], [-1.0, 0.0, 0.25, 3.0]])
def test_an_isotonic_curve_of_any_length_is_exact(scores: list[float]) -> None:
    known = np.repeat(scores, 4)
    curve = IsotonicRegression(out_of_bounds="clip").fit(known, np.linspace(0, 0.9, len(known)))
    graph = Graph()
    graph.output(probabilities(graph, graph.input(NUMBERS, 1), [curve]), PROBABILITIES, "f", 2)
    asked = np.array([-9.0, *scores, 0.1, 0.2500001, 9.0])
    answers = ask(graph.model().SerializeToString(), Rows(asked.reshape(-1, 1), np.empty((len(asked), 0), object)))
    assert answers[PROBABILITIES][:, 1].tolist() == pytest.approx(curve.predict(asked).tolist(), abs=1e-15)


@pytest.mark.parametrize("kind", ["missing", "many texts"])
@pytest.mark.parametrize(("path", "parameters"), REGRESSORS, ids=name)
def test_regressors(path: Any, parameters: Any, kind: Any) -> None:
    assert_exact(path, parameters, kind, "number")


@pytest.mark.parametrize("kind", ["missing", "texts"])
@pytest.mark.parametrize(("path", "parameters"), POSITIVE, ids=name)
def test_regressors_with_a_log_link(path: Any, parameters: Any, kind: Any) -> None:
    assert_exact(path, parameters, kind, "positive")


@pytest.mark.parametrize("path", ["RandomForestClassifier", "ExtraTreesClassifier"])
def test_ties_go_to_the_class_that_scikit_learn_picks(path: str) -> None:
    """1/2 + 1/3 + 2/3 for one class is 3/2 and for the other a little less: rounding decides, and must decide alike."""
    rows, features = Rows(np.array([[0.0], [1.0]] * 20), np.empty((40, 0), object)), [Feature("a", "numeric")]
    model, schema = fitted(ENSEMBLE + path, {"n_estimators": 3, "max_depth": 1}, rows, features, np.arange(40) % 3 == 0)
    shares = [[1 / 2, 1 / 2], [2 / 3, 1 / 3], [1 / 3, 2 / 3]]
    for tree, share in zip(model[-1].estimators_, shares, strict=True):
        tree.tree_.value[:, 0, :] = share
    asked = frame(schema, rows.numbers, None)
    assert model.predict_proba(asked)[0].tolist() == [0.49999999999999994, 0.5]
    assert ask(convert(model, schema).data, rows)[LABEL].tolist() == model.predict(asked).tolist() == [True] * 40


def test_a_model_of_equal_classes_without_signal_has_no_label_of_its_own() -> None:
    rows, features = Rows(np.zeros((40, 1)), np.empty((40, 0), object)), [Feature("a", "numeric")]
    for path in (ENSEMBLE + "HistGradientBoostingClassifier", ENSEMBLE + "GradientBoostingClassifier"):
        model, schema = fitted(path, {}, rows, features, np.arange(40) % 2 == 0)
        expected = model.predict(frame(schema, rows.numbers, None)).tolist()
        assert ask(convert(model, schema).data, rows)[LABEL].tolist() == expected


def test_the_same_model_converts_to_the_same_bytes() -> None:
    rows, features = data("texts")
    files = set()
    for _ in range(2):
        model, schema = fitted(
            ENSEMBLE + "HistGradientBoostingClassifier", {"max_iter": 3}, rows, features, target(rows, "two")
        )
        files.add(convert(model, schema).data)
    assert len(files) == 1


def test_categories_given_by_number_without_preprocessing() -> None:
    from sklearn.ensemble import HistGradientBoostingClassifier

    random = np.random.default_rng(0)
    numbers = np.column_stack([random.normal(size=400), random.choice([3.0, 7.0, 11.0, np.nan], 400)])
    features = [Feature("a", "numeric"), Feature("code", "numeric")]
    schema = Schema("classification", "y", features, "positive", [False, True])
    values = np.nan_to_num(numbers[:, 1]) + numbers[:, 0] > 7
    model = HistGradientBoostingClassifier(max_iter=5, categorical_features=[1]).fit(
        frame(schema, numbers, None), values
    )
    rows = hard_rows(Rows(np.vstack([numbers, [[0.0, 5.0]]]), np.empty((401, 0), object)), {})
    assert (
        ask(convert(model, schema).data, rows)[LABEL].tolist()
        == model.predict(frame(schema, rows.numbers, None)).tolist()
    )


@pytest.mark.parametrize("path", ["sklearn.svm.SVC", "sklearn.neighbors.NearestCentroid"])
def test_what_has_no_exact_form_is_refused_by_name(path: Any) -> None:
    rows, features = data("plain")
    model, schema = fitted(path, {}, rows, features, target(rows, "two"))
    with pytest.raises(NotConvertibleError, match=path.rpartition(".")[2]):
        convert(model, schema)


@pytest.mark.parametrize("name", ["MultinomialNB", "ComplementNB"])
def test_naive_bayes_of_counts(name: str) -> None:
    """It refuses what Auto makes of numbers: values below zero."""
    whole, features = data("texts")
    rows = Rows(np.empty((len(whole), 0)), whole.texts)
    features = [feature for feature in features if feature.kind == "categorical"]
    for labels in ("two", "three"):
        model, schema = fitted(f"sklearn.naive_bayes.{name}", {}, rows, features, target(whole, labels))
        hard = hard_rows(rows, {})
        asked = frame(schema, hard.numbers, hard.texts)
        answers = ask(convert(model, schema).data, hard)
        assert answers[LABEL].tolist() == model.predict(asked).tolist()
        assert np.max(np.abs(answers[PROBABILITIES] - model.predict_proba(asked))) < 1e-12


def test_answers_that_are_drawn_are_refused() -> None:
    rows, features = data("plain")
    model, schema = fitted(
        "sklearn.dummy.DummyClassifier", {"strategy": "uniform"}, rows, features, target(rows, "two")
    )
    with pytest.raises(NotConvertibleError, match="uniform"):
        convert(model, schema)


def test_trees_without_end_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perennial.runtime.onnx.trees.MAX_NODES", 50)
    rows, features = data("plain")
    model, schema = fitted(ENSEMBLE + "RandomForestRegressor", {}, rows, features, target(rows, "number"))
    with pytest.raises(NotConvertibleError, match="more than 50 nodes"):
        convert(model, schema)


def test_hard_rows_are_hard() -> None:
    rows, _ = data("texts")
    hard = hard_rows(rows, {0: np.array([0.5])})
    assert np.isnan(hard.numbers).all(axis=1).any()
    assert (hard.texts[:, 0] == UNSEEN).any()
    assert {0.5, np.nextafter(0.5, 1), float(np.nextafter(np.float32(0.5), np.float32(0)))} <= set(
        hard.numbers[:, 0].tolist()
    )
