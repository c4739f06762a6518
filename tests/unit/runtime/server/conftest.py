from __future__ import annotations

import numpy as np
import pytest

from perennial.wire.reference import Categorical, Loss, Numeric, Reference

MODEL = "ab" * 32


@pytest.fixture
def reference() -> Reference:
    generator = np.random.default_rng(1)
    wide = np.sort(generator.normal(size=33)).tolist()
    return Reference(
        model=MODEL,
        task="classification",
        rows=100,
        features=[
            Numeric("wide", wide, [3] * 34 + [0]),
            Numeric("tied", [0.0, 1.0, 1.0000000000000002], [0, 50, 50, 0, 0]),
            Categorical("carrier", ["UA", "AA"], [60, 30, 5, 0, 5], others=["DL", "WN"]),
            Numeric("single", [2.0, 2.0000000000000004], [0, 100, 0, 0]),
        ],
        score=Numeric("score", np.linspace(0, 1, 11).tolist(), [0] + [10] * 10 + [0, 0]),
        loss=Loss([0.0, 1.0], [90, 10], 0.1, 0.15, 0.95),
        classes=["no", "yes"],
    )
