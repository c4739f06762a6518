"""Run in the environment that has shap: explains fitted estimators, and tells their values and base values in JSON.

python explain_with_shap.py FILE, which is joblib's, {name: (estimator, rows learned from, rows to explain)}.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import joblib
import numpy as np
import shap


def explained(estimator: Any, learned: Any, asked: Any) -> dict[str, Any]:
    if hasattr(estimator, "coef_"):
        explainer = shap.LinearExplainer(estimator, shap.maskers.Independent(learned, max_samples=len(learned)))
    else:
        explainer = shap.TreeExplainer(estimator, feature_perturbation="tree_path_dependent")
    values = np.asarray(explainer.shap_values(asked))
    return {"values": values.tolist(), "base": np.ravel(explainer.expected_value).tolist()}


given = joblib.load(sys.argv[1])
print(json.dumps({name: explained(*case) for name, case in given.items()}))
