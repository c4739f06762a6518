"""Rows as the DataFrame that a version's scikit-learn pipeline takes: columns by name, missing as the schema says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from perennial.wire.schema import Schema

if TYPE_CHECKING:
    import pandas as pd


def frame(schema: Schema, numbers: NDArray[np.float64], texts: NDArray[np.object_] | None) -> pd.DataFrame:
    """The two matrices of a batch (see `model_format.md`) as one DataFrame with the columns of `schema.features`.

    `numbers` is float64 [rows, numeric and boolean features], `texts` str [rows, categorical features] or None.
    """
    import pandas as pd

    columns: dict[str, pd.Series] = {}
    number = text = 0
    for feature in schema.features:
        if feature.kind == "categorical":
            if texts is None:
                raise ValueError(f"texts are missing: {feature.name!r} is categorical")
            columns[feature.name] = pd.Series(texts[:, text], dtype=object)
            text += 1
        else:
            columns[feature.name] = pd.Series(numbers[:, number], dtype=np.float64)
            number += 1
    return pd.DataFrame(columns)
