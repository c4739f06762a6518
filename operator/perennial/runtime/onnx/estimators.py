"""Fitted estimators as graphs over one matrix of doubles: trees and their ensembles, linear models, small networks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import boosters, calibration, committees, constants, heads, likelihoods, networks
from .columns import Coded, Inputs, Matrix
from .graph import ML, Graph, NotConvertibleError, doubles
from .trees import STUMP, Ensemble, Floats, Tree, float32, from_histogram, from_sklearn, shapes_of

Converter = Callable[[Inputs, Matrix, Any], Ensemble | None]
"""Adds the estimator's graph and its outputs; answers with its trees, where it has some."""


def converter_of(estimator: Any) -> Converter:
    """Raises NotConvertibleError where there is none."""
    kind = type(estimator).__name__
    if not _is_known(estimator) or kind not in _CONVERTERS:
        why = next((why for why, kinds in _WHY_NOT.items() if kind in kinds.split()), None)
        raise NotConvertibleError(f"no exact form of {kind}{f', which {why}' if why else ''}")
    return _CONVERTERS[kind]


def _is_known(estimator: Any) -> bool:
    """A namesake in another library is not what it is called."""
    return type(estimator).__module__.partition(".")[0] in ("sklearn", "lightgbm", "xgboost", "perennial")


def _forest(inputs: Inputs, matrix: Matrix, estimator: Any) -> Ensemble:
    value, ensemble = _mean_of_trees(inputs, matrix, estimator)
    classes: Any = getattr(estimator, "classes_", None)
    if classes is None:
        heads.regression(inputs.graph, value)
    else:
        heads.label_of_largest(inputs.graph, value, classes)
        heads.give_probabilities(inputs.graph, value, classes)
    return ensemble


def _mean_of_trees(inputs: Inputs, matrix: Matrix, estimator: Any) -> tuple[str, Ensemble]:
    """The value [rows, 1] of a regressor, the probabilities [rows, classes] of a classifier.

    Of two classes one sum is enough where every leaf is pure: then rounding makes no tie.
    """
    graph, ensemble = inputs.graph, Ensemble()
    fitted: list[Any] | None = getattr(estimator, "estimators_", None)
    trees = [estimator] if fitted is None else fitted
    _refuse_many_outputs(estimator)
    classes: Any = getattr(estimator, "classes_", None)
    shapes = shapes_of(estimator, trees)
    values = [np.asarray(tree.tree_.value[:, 0, :], np.float64) for tree in trees]
    pure = all(_is_pure(shape, value) for shape, value in zip(shapes, values, strict=True))
    single = classes is None or (len(classes) == 2 and (fitted is None or pure))
    targets = range(1) if single else range(len(classes))
    for shape, value in zip(shapes, values, strict=True):
        for target in targets:
            ensemble.add(shape, target, value[:, -1] if single else value[:, target])
    mean = ensemble.node(graph, float32(graph, matrix.value), len(targets))
    if fitted is not None:
        mean = graph.add("Div", mean, graph.constant(float(len(trees))))
    return heads.binary_probabilities(graph, mean) if single and classes is not None else mean, ensemble


def _is_pure(shape: Tree, values: Floats) -> bool:
    return bool(np.isin(values[shape.is_leaf], (0.0, 1.0)).all())


def _gradient_boosting(inputs: Inputs, matrix: Matrix, estimator: Any) -> Ensemble:
    graph = inputs.graph
    raw, ensemble = _boosted_sum(inputs, matrix, estimator)
    if not hasattr(estimator, "classes_"):
        heads.regression(graph, raw)
        return ensemble
    doubled = type(estimator._loss).__name__ == "ExponentialLoss"
    _boosted_classes(graph, raw, estimator.classes_, doubled=doubled, or_zero=True)
    return ensemble


def _boosted_sum(inputs: Inputs, matrix: Matrix, estimator: Any) -> tuple[str, Ensemble]:
    graph, ensemble = inputs.graph, Ensemble()
    stages = estimator.estimators_
    if estimator.init_ != "zero" and not type(estimator.init_).__name__.startswith("Dummy"):
        raise NotConvertibleError("GradientBoosting that starts from an estimator")
    # The constant that scikit-learn starts from: its first leaf in the sum, so that rounding is the same.
    start = estimator._raw_predict_init(np.zeros((1, estimator.n_features_in_), np.float32))[0]
    for target, value in enumerate(start):
        ensemble.add(STUMP, target, np.array([value], np.float64))
    for stage in stages:
        for target, tree in enumerate(stage):
            ensemble.add(from_sklearn(tree), target, estimator.learning_rate * tree.tree_.value[:, 0, 0])
    return ensemble.node(graph, float32(graph, matrix.value), stages.shape[1]), ensemble


def _histogram_boosting(inputs: Inputs, matrix: Matrix, estimator: Any) -> Ensemble:
    graph = inputs.graph
    raw, ensemble = _histogram_sum(inputs, matrix, estimator)
    if hasattr(estimator, "classes_"):
        _boosted_classes(graph, raw, estimator.classes_, doubled=False, or_zero=False)
        return ensemble
    link = type(estimator._loss.link).__name__
    if link not in ("IdentityLink", "LogLink"):
        raise NotConvertibleError(f"histogram gradient boosting with {link}")
    heads.regression(graph, raw, "log" if link == "LogLink" else "identity")
    return ensemble


def _histogram_sum(inputs: Inputs, matrix: Matrix, estimator: Any) -> tuple[str, Ensemble]:
    graph, ensemble = inputs.graph, Ensemble()
    matrix, known = _recoded(inputs, matrix, estimator)
    targets = estimator.n_trees_per_iteration_
    for target, value in enumerate(np.ravel(estimator._baseline_prediction)):
        ensemble.add(STUMP, target, np.array([value], np.float64))
    for iteration in estimator._predictors:
        for target, predictor in enumerate(iteration):
            tree = from_histogram(predictor, known)
            ensemble.add(tree, target, predictor.nodes["value"].astype(np.float64))
    return ensemble.node(graph, matrix.value, targets), ensemble


def _recoded(inputs: Inputs, matrix: Matrix, estimator: Any) -> tuple[Matrix, dict[int, int]]:
    """The matrix as the trees see it, and how many categories its categorical columns have.

    Histogram gradient boosting has an encoder of its own inside, which numbers the categories that it saw and puts
    them first.
    """
    flags = estimator.is_categorical_
    if flags is None:
        return matrix, {}
    categorical, numeric = np.flatnonzero(flags), np.flatnonzero(~np.asarray(flags))
    encoder = estimator._preprocessor.named_transformers_["encoder"]
    parts: list[str] = []
    known: dict[int, int] = {}
    for place, column in enumerate(categorical.tolist()):
        seen = np.asarray(encoder.categories_[place], np.float64)
        seen = seen[~np.isnan(seen)]
        parts.append(_inner_codes(inputs, matrix, column, seen))
        known[place] = len(seen)
    if len(numeric):
        index = inputs.graph.constant(numeric.astype(np.int64))
        parts.append(inputs.graph.add("Gather", matrix.value, index, axis=1))
    value = parts[0] if len(parts) == 1 else inputs.graph.add("Concat", *parts, axis=1)
    raw = {
        len(categorical) + place: matrix.raw[column]
        for place, column in enumerate(numeric.tolist())
        if column in matrix.raw
    }
    return Matrix(value, matrix.columns, raw), known


def _inner_codes(inputs: Inputs, matrix: Matrix, column: int, seen: Floats) -> str:
    """A categorical column [rows, 1] in the encoder's own numbers; what it has not seen is missing."""
    inner = {value: float(code) for code, value in enumerate(seen.tolist())}
    if (outer := matrix.codes.get(column)) is not None:
        codes = {text: inner[code] for text, code in outer.codes.items() if code in inner}
        return inputs.coded(Coded(outer.position, codes, inner.get(outer.unseen, np.nan)))
    graph = inputs.graph
    return graph.add(
        "LabelEncoder",
        graph.add("Gather", matrix.value, graph.constant(np.array([column])), axis=1),
        domain=ML,
        keys_tensor=doubles(list(inner), "keys"),
        values_tensor=doubles(list(inner.values()), "values"),
        default_tensor=doubles([np.nan], "default"),
    )


def _boosted_classes(graph: Graph, raw: str, classes: Any, *, doubled: bool, or_zero: bool) -> None:
    if len(classes) == 2:
        heads.label_where_positive(graph, raw, classes, or_zero=or_zero)
        inner = graph.add("Mul", raw, graph.constant(2.0)) if doubled else raw
        probabilities = heads.binary_probabilities(graph, graph.add("Sigmoid", inner))
    else:
        heads.label_of_largest(graph, raw, classes)
        probabilities = graph.add("Softmax", raw, axis=1)
    heads.give_probabilities(graph, probabilities, classes)


def _linear_regressor(link: str) -> Converter:
    def convert(inputs: Inputs, matrix: Matrix, estimator: Any) -> None:
        _refuse_many_outputs(estimator)
        chosen = link
        if type(estimator).__name__ == "TweedieRegressor":
            chosen = {"LogLink": "log", "IdentityLink": "identity"}[type(estimator._base_loss.link).__name__]
        heads.regression(inputs.graph, _scores(inputs.graph, matrix, estimator), chosen)

    return convert


def _linear_classifier(inputs: Inputs, matrix: Matrix, estimator: Any) -> None:
    graph, classes = inputs.graph, estimator.classes_
    scores = _scores(graph, matrix, estimator)
    if len(classes) == 2:
        heads.label_where_positive(graph, scores, classes)
    else:
        heads.label_of_largest(graph, scores, classes)
    if not hasattr(estimator, "predict_proba"):
        return
    if len(classes) == 2:
        probabilities = heads.binary_probabilities(graph, graph.add("Sigmoid", scores))
    elif _is_one_against_rest(estimator):
        each = graph.add("Sigmoid", scores)
        total = graph.add("ReduceSum", each, graph.constant(np.array([1])), keepdims=1)
        probabilities = graph.add("Div", each, total)
    else:
        probabilities = graph.add("Softmax", scores, axis=1)
    heads.give_probabilities(graph, probabilities, classes)


def _is_one_against_rest(estimator: Any) -> bool:
    return type(estimator).__name__ == "SGDClassifier" or getattr(estimator, "solver", "") == "liblinear"


def _scores(graph: Graph, matrix: Matrix, estimator: Any) -> str:
    """rows @ coef.T + intercept, [rows, targets]."""
    weights = np.atleast_2d(np.asarray(estimator.coef_, np.float64))
    product = graph.add("MatMul", matrix.value, graph.constant(np.ascontiguousarray(weights.T)))
    intercept = np.broadcast_to(np.asarray(estimator.intercept_, np.float64).reshape(1, -1), (1, len(weights)))
    return graph.add("Add", product, graph.constant(intercept))


def _calibrated(inputs: Inputs, matrix: Matrix, estimator: Any) -> Ensemble | None:
    graph, classes = inputs.graph, estimator.classes_
    parts = [_calibrated_part(inputs, matrix, part, classes) for part in estimator.calibrated_classifiers_]
    mean = parts[0][0]
    for probabilities, _ in parts[1:]:
        mean = graph.add("Add", mean, probabilities)
    if len(parts) > 1:
        mean = graph.add("Div", mean, graph.constant(float(len(parts))))
    heads.label_of_largest(graph, mean, classes)
    heads.give_probabilities(graph, mean, classes)
    return parts[0][1]


def _calibrated_part(inputs: Inputs, matrix: Matrix, part: Any, classes: Any) -> tuple[str, Ensemble | None]:
    kind = type(part.estimator).__name__
    if not _is_known(part.estimator) or kind not in _SCORES:
        raise NotConvertibleError(f"no exact form of a calibrated {kind}")
    if len(part.estimator.classes_) != len(classes):
        raise NotConvertibleError("no exact form of a calibrated classifier that misses a class")
    scores, ensemble = _SCORES[kind](inputs, matrix, part.estimator)
    return calibration.probabilities(inputs.graph, scores, part.calibrators), ensemble


def _forest_scores(inputs: Inputs, matrix: Matrix, estimator: Any) -> tuple[str, Ensemble]:
    probabilities, ensemble = _mean_of_trees(inputs, matrix, estimator)
    return _second_of_two(inputs.graph, probabilities, estimator), ensemble


def _linear_scores(inputs: Inputs, matrix: Matrix, estimator: Any) -> tuple[str, None]:
    return _scores(inputs.graph, matrix, estimator), None


def _second_of_two(graph: Graph, probabilities: str, estimator: Any) -> str:
    if len(estimator.classes_) != 2:
        return probabilities
    return graph.add("Gather", probabilities, graph.constant(np.array([1])), axis=1)


def _refuse_many_outputs(estimator: Any) -> None:
    if getattr(estimator, "n_outputs_", 1) != 1 or np.ndim(getattr(estimator, "intercept_", 0.0)) > 1:
        raise NotConvertibleError("several targets")


_FORESTS = (
    "DecisionTreeClassifier DecisionTreeRegressor ExtraTreeClassifier ExtraTreeRegressor RandomForestClassifier "
    "RandomForestRegressor ExtraTreesClassifier ExtraTreesRegressor BaggingClassifier BaggingRegressor"
)
_LINEAR = (
    "ARDRegression BayesianRidge ElasticNet ElasticNetCV HuberRegressor Lars LarsCV Lasso LassoCV LassoLars "
    "LassoLarsCV LassoLarsIC LinearRegression LinearSVR OrthogonalMatchingPursuit OrthogonalMatchingPursuitCV "
    "QuantileRegressor Ridge RidgeCV SGDRegressor TheilSenRegressor TweedieRegressor"
)
_LIKELIHOODS = {
    "GaussianNB": likelihoods.gaussian,
    "BernoulliNB": likelihoods.bernoulli,
    "MultinomialNB": likelihoods.multinomial,
    "ComplementNB": likelihoods.complement,
    "QuadraticDiscriminantAnalysis": likelihoods.quadratic,
}
_LINEAR_CLASSES = (
    "LinearDiscriminantAnalysis LinearSVC LogisticRegression LogisticRegressionCV Perceptron RidgeClassifier "
    "RidgeClassifierCV SGDClassifier"
)
_SCORES: dict[str, Callable[[Inputs, Matrix, Any], tuple[str, Ensemble | None]]] = {
    **dict.fromkeys(_FORESTS.split(), _forest_scores),
    "GradientBoostingClassifier": _boosted_sum,
    "HistGradientBoostingClassifier": _histogram_sum,
    "AdaBoostClassifier": committees.adaboost_scores,
    **dict.fromkeys(_LINEAR_CLASSES.split(), _linear_scores),
    "MLPClassifier": networks.network_scores,
    **{kind: likelihoods.scores(likelihood) for kind, likelihood in _LIKELIHOODS.items()},
    "LGBMClassifier": boosters.lightgbm_scores,
    "CodedClasses": boosters.xgboost_scores,
}
"""What scikit-learn calibrates: the decision function, else probabilities; [rows, 1] of two classes."""
_CONVERTERS: dict[str, Converter] = {
    **dict.fromkeys(_FORESTS.split(), _forest),
    **dict.fromkeys(("GradientBoostingClassifier", "GradientBoostingRegressor"), _gradient_boosting),
    **dict.fromkeys(("HistGradientBoostingClassifier", "HistGradientBoostingRegressor"), _histogram_boosting),
    **dict.fromkeys(_LINEAR.split(), _linear_regressor("identity")),
    **dict.fromkeys(("PoissonRegressor", "GammaRegressor"), _linear_regressor("log")),
    **dict.fromkeys(_LINEAR_CLASSES.split(), _linear_classifier),
    **dict.fromkeys(("MLPClassifier", "MLPRegressor"), networks.network),
    "AdaBoostClassifier": committees.adaboost,
    **{kind: likelihoods.classifier(likelihood) for kind, likelihood in _LIKELIHOODS.items()},
    "DummyClassifier": constants.constant_classifier,
    "DummyRegressor": constants.constant_regressor,
    "CalibratedClassifierCV": _calibrated,
    **dict.fromkeys(("LGBMClassifier", "LGBMRegressor"), boosters.lightgbm),
    **dict.fromkeys(("XGBRegressor", "XGBRFRegressor"), boosters.xgboost),
    "CodedClasses": boosters.xgboost_classes,
}
_WHY_NOT = {
    "compares each row with many that it keeps": "GaussianProcessClassifier GaussianProcessRegressor KernelRidge NuSVC "
    "NuSVR SVC SVR",
    "searches the rows that it has learned from": "KNeighborsClassifier KNeighborsRegressor RadiusNeighborsClassifier "
    "RadiusNeighborsRegressor",
    "answers by a weighted median": "AdaBoostRegressor",
}
"""Of estimators without a converter that people may expect to have one."""
