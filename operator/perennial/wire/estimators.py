"""Which estimators a TrainingJob may name: scikit-learn's of this list, and what an installation allows beside them.

The operator refuses others before a run is made, the trainer before it imports anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

ESTIMATORS_ENV = "PERENNIAL_ESTIMATORS"
"""Import paths of what the installation allows beside the list, by commas: a variable of the operator and its pods."""

BOOSTERS = ("lightgbm", "xgboost")
"""Libraries whose models are kept as ONNX and in their own text, and served as ONNX only."""

_BY_MODULE = {
    "sklearn.calibration": "CalibratedClassifierCV",
    "sklearn.discriminant_analysis": "LinearDiscriminantAnalysis QuadraticDiscriminantAnalysis",
    "sklearn.dummy": "DummyClassifier DummyRegressor",
    "sklearn.ensemble": "AdaBoostClassifier AdaBoostRegressor BaggingClassifier BaggingRegressor ExtraTreesClassifier "
    "ExtraTreesRegressor GradientBoostingClassifier GradientBoostingRegressor HistGradientBoostingClassifier "
    "HistGradientBoostingRegressor RandomForestClassifier RandomForestRegressor",
    "sklearn.gaussian_process": "GaussianProcessClassifier GaussianProcessRegressor",
    "sklearn.kernel_ridge": "KernelRidge",
    "sklearn.linear_model": "ARDRegression BayesianRidge ElasticNet ElasticNetCV GammaRegressor HuberRegressor Lars "
    "LarsCV Lasso LassoCV LassoLars LassoLarsCV LassoLarsIC LinearRegression LogisticRegression LogisticRegressionCV "
    "OrthogonalMatchingPursuit OrthogonalMatchingPursuitCV Perceptron PoissonRegressor QuantileRegressor Ridge RidgeCV "
    "RidgeClassifier RidgeClassifierCV SGDClassifier SGDRegressor TheilSenRegressor TweedieRegressor",
    "sklearn.naive_bayes": "BernoulliNB ComplementNB GaussianNB MultinomialNB",
    "sklearn.neighbors": "KNeighborsClassifier KNeighborsRegressor NearestCentroid RadiusNeighborsClassifier "
    "RadiusNeighborsRegressor",
    "sklearn.neural_network": "MLPClassifier MLPRegressor",
    "sklearn.svm": "LinearSVC LinearSVR NuSVC NuSVR SVC SVR",
    "sklearn.tree": "DecisionTreeClassifier DecisionTreeRegressor ExtraTreeClassifier ExtraTreeRegressor",
}
BUILT_IN = tuple(f"{module}.{name}" for module, names in _BY_MODULE.items() for name in names.split())


def refusal(path: str, further: Sequence[str]) -> str | None:
    """Why the estimator may not be named, None where it is on the list or among the `further` ones."""
    allowed = [*BUILT_IN, *further]
    if path in allowed:
        return None
    close = _close(path, allowed)
    return (
        f"spec.sklearn.estimator: {path} is not on the list of estimators{f'; did you mean {close}?' if close else ''} "
        "(the list: docs/estimators.md; the platform team extends it by the chart's value `estimators`)"
    )


def _close(path: str, allowed: Sequence[str]) -> str | None:
    """People misplace the module more often than the class."""
    name = path.rpartition(".")[2]
    same = [candidate for candidate in allowed if candidate.rpartition(".")[2] == name]
    return next(iter(same or get_close_matches(path, allowed, n=1)), None)
