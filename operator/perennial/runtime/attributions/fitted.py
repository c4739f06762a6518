"""A fitted pipeline to the form that its attributions are computed from. Only the trainer needs this."""

from __future__ import annotations

from typing import Any

import numpy as np

from perennial.runtime.onnx.columns import codes_of, infrequent
from perennial.runtime.onnx.graph import NotConvertibleError
from perennial.wire.manifest import Quantity
from perennial.wire.schema import Schema

from . import ensembles
from .ensembles import LINKS, Maker
from .form import Block, Codes, Form, Indicators, Linear, Number
from .known import Known, Means, NotAttributableError

_LIBRARIES = ("sklearn", "lightgbm", "xgboost", "perennial")
"""A namesake in another library is not what it is called."""


def form_of(pipeline: Any, schema: Schema, means: Means) -> tuple[Form, Quantity]:
    """The form, and what attributions are of. `means` gives the means [columns] of the rows that were learned from.

    Raises NotAttributableError.
    """
    steps = [step for _, step in pipeline.steps] if hasattr(pipeline, "steps") else [pipeline]
    *before, estimator = steps
    if len(before) > 1 or (before and type(before[0]).__name__ != "ColumnTransformer"):
        raise NotAttributableError(f"there are no attributions through {type(before[-1]).__name__}")
    blocks = _blocks(schema, before[0] if before else None)
    try:
        return _maker_of(estimator)(Known(schema, blocks, means), estimator)
    except NotConvertibleError as error:
        raise NotAttributableError(str(error)) from error


def _maker_of(estimator: Any) -> Maker:
    kind = type(estimator).__name__
    if type(estimator).__module__.partition(".")[0] not in _LIBRARIES or kind not in _MAKERS:
        why = f", {_WHY_NOT[kind]}" if kind in _WHY_NOT else ""
        raise NotAttributableError(f"there are no exact attributions for {kind}{why}")
    return _MAKERS[kind]


def beneath(estimator: Any) -> Any:
    """The classifier under a calibration, or the estimator itself. Raises NotAttributableError where there are
    several."""
    parts: list[Any] | None = getattr(estimator, "calibrated_classifiers_", None)
    if parts is None:
        return estimator
    if len(parts) > 1:
        raise NotAttributableError(
            f"there are no exact attributions for {len(parts)} classifiers with a curve each, whose mean is no sum of "
            "what features add; spec.sklearn.calibration makes one classifier with one curve"
        )
    return parts[0].estimator


def _blocks(schema: Schema, columns: Any) -> list[Block]:
    """What a fitted ColumnTransformer gives, or for None the features as they are."""
    places = {feature.name: place for place, feature in enumerate(schema.features)}
    if columns is None:
        if schema.texts:
            raise NotAttributableError("there are no attributions of texts without an encoder")
        return [Number(places[name]) for name in schema.numbers]
    return [
        block
        for _, transformer, names in columns.transformers_
        if len(names)
        for block in _of_transformer(transformer, [places[name] for name in names])
    ]


def _of_transformer(transformer: Any, features: list[int]) -> list[Block]:
    kind = "passthrough" if isinstance(transformer, str) else type(transformer).__name__
    if transformer == "passthrough" or (kind == "FunctionTransformer" and transformer.func is None):
        return [Number(feature) for feature in features]
    if kind in ("SimpleImputer", "StandardScaler"):
        return _prepared([transformer], features)
    if kind == "Pipeline":
        return _prepared([step for _, step in transformer.steps], features)
    if kind == "OrdinalEncoder":
        return [
            Codes(feature, codes_of(transformer, column), float(transformer.unknown_value))
            for column, feature in enumerate(features)
        ]
    if kind == "OneHotEncoder" and transformer.drop is None:
        return [_indicators(transformer, column, feature) for column, feature in enumerate(features)]
    raise NotAttributableError(f"there are no attributions through {kind}")


def _prepared(steps: list[Any], features: list[int]) -> list[Block]:
    blocks = [Number(feature) for feature in features]
    for position, step in enumerate(steps):
        kind = type(step).__name__
        if kind not in ("SimpleImputer", "StandardScaler") or (kind == "SimpleImputer" and position):
            raise NotAttributableError(f"there are no attributions through {kind} as step {position + 1}")
        for column, block in enumerate(blocks):
            if kind == "SimpleImputer":
                block.fill = float(step.statistics_[column])
            else:
                block.shift = 0.0 if step.mean_ is None else float(step.mean_[column])
                block.scale = 1.0 if step.scale_ is None else float(step.scale_[column])
    return list(blocks)


def _indicators(encoder: Any, column: int, feature: int) -> Indicators:
    places = {text: int(code) for text, code in codes_of(encoder, column).items()}
    width = max(places.values()) + 1
    return Indicators(feature, places, width - 1 if infrequent(encoder, column) is not None else width, width)


def _calibrated(known: Known, estimator: Any) -> tuple[Form, Quantity]:
    """Of what the one classifier says before its curve, which rises with it: through a curve there is no exact way."""
    inner = beneath(estimator)
    form, quantity = _maker_of(inner)(known, inner)
    return form, _UNCALIBRATED[quantity]


def _linear(known: Known, estimator: Any) -> tuple[Form, Quantity]:
    if not hasattr(estimator, "classes_") and np.ndim(estimator.intercept_) > 1:
        raise NotAttributableError("there are no attributions of several targets")
    weights = np.atleast_2d(np.asarray(estimator.coef_, np.float64))
    intercepts = np.broadcast_to(np.asarray(estimator.intercept_, np.float64).ravel(), len(weights))
    line = Linear(weights.tolist(), intercepts.tolist(), known.means(known.blocks).tolist())
    return known.form(len(weights), linear=line), _quantity(estimator)


def _quantity(estimator: Any) -> Quantity:
    kind = type(estimator).__name__
    if hasattr(estimator, "classes_"):
        return "decision_function"
    if kind == "TweedieRegressor":
        return LINKS[type(estimator._base_loss.link).__name__]
    return "log_prediction" if kind in ("PoissonRegressor", "GammaRegressor") else "prediction"


_FORESTS = (
    "DecisionTreeClassifier DecisionTreeRegressor ExtraTreeClassifier ExtraTreeRegressor RandomForestClassifier "
    "RandomForestRegressor ExtraTreesClassifier ExtraTreesRegressor BaggingClassifier BaggingRegressor"
)
_LINEAR = (
    "ARDRegression BayesianRidge ElasticNet ElasticNetCV GammaRegressor HuberRegressor Lars LarsCV Lasso LassoCV "
    "LassoLars LassoLarsCV LassoLarsIC LinearDiscriminantAnalysis LinearRegression LinearSVC LinearSVR "
    "LogisticRegression LogisticRegressionCV OrthogonalMatchingPursuit OrthogonalMatchingPursuitCV Perceptron "
    "PoissonRegressor QuantileRegressor Ridge RidgeCV RidgeClassifier RidgeClassifierCV SGDClassifier SGDRegressor "
    "TheilSenRegressor TweedieRegressor"
)
_MAKERS: dict[str, Maker] = {
    **dict.fromkeys(_FORESTS.split(), ensembles.forest),
    "AdaBoostClassifier": ensembles.adaboost,
    **dict.fromkeys(("GradientBoostingClassifier", "GradientBoostingRegressor"), ensembles.gradient_boosting),
    **dict.fromkeys(("HistGradientBoostingClassifier", "HistGradientBoostingRegressor"), ensembles.histogram_boosting),
    **dict.fromkeys(("LGBMClassifier", "LGBMRegressor"), ensembles.lightgbm),
    **dict.fromkeys(("XGBRegressor", "XGBRFRegressor"), ensembles.xgboost),
    "CodedClasses": ensembles.xgboost_classes,
    **dict.fromkeys(_LINEAR.split(), _linear),
    "CalibratedClassifierCV": _calibrated,
}
_UNCALIBRATED: dict[Quantity, Quantity] = {
    "probability": "uncalibrated_probability",
    "decision_function": "uncalibrated_decision_function",
}
_WHY_NOT = {"AdaBoostRegressor": "which answers by a weighted median: no feature has a share in that by itself"}
