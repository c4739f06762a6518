"""The estimator's own `class_weight`, as a TrainingJob can write it: keys of YAML are texts, classes need not be."""

from __future__ import annotations

from typing import Any

import numpy as np

from perennial.runtime.failures import InputError, hint
from perennial.runtime.scoring import label_text

from .target import AnyArray

_FIELD = "spec.sklearn.parameters.class_weight"


def weigh_classes(estimator: Any, target: AnyArray) -> None:
    """Turn the keys of a `class_weight` by class into the classes themselves. Raises InputError where one is none."""
    weights = estimator.get_params(deep=False).get("class_weight")
    if not isinstance(weights, dict):
        return
    classes = {label_text(label): label for label in np.unique(target).tolist()}
    for name, weight in weights.items():
        if name not in classes:
            raise InputError("InvalidParameters", f"{_FIELD}: {name!r} is no class{hint(str(name), classes)}")
        if isinstance(weight, bool) or not isinstance(weight, (int, float)) or weight < 0:
            raise InputError("InvalidParameters", f"{_FIELD}.{name}: must be a number of at least 0, and is {weight!r}")
    estimator.set_params(class_weight={classes[name]: weight for name, weight in weights.items()})
