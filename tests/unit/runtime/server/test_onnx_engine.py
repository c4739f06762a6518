"""ONNX Runtime as the engine: a row by itself is answered as it is among others, and answers stay what they were."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx.parser
import pytest

from perennial.runtime.server.engine import OnnxEngine
from perennial.runtime.server.rows import Rows
from perennial.wire.schema import Class, Feature, Schema

FEATURES = [Feature("a", "numeric"), Feature("b", "numeric")]
NUMBERS = np.array([[0.75, 1.0], [0.25, 5.0], [np.nan, 0.5], [0.5, np.nan], [1.0, -1.0]])

PROBABILITIES = """
    half = Constant<value = double {0.5}>()
    zero = Constant<value = int64[1] {0}>()
    one = Constant<value = int64[1] {1}>()
    p1 = Slice(numbers, zero, one, one)
    unit = Constant<value = double[1] {1.0}>()
    p0 = Sub(unit, p1)
    probabilities = Concat<axis = 1>(p0, p1)
    column = GreaterOrEqual(p1, half)
    above = Squeeze(column, one)
"""


def classifier(elements: str, classes: list[Class], label: str) -> OnnxEngine:
    text = f"""<ir_version: 10, opset_import: ["": 21]>
    model (double[n, 2] numbers) => ({elements}[n] label, double[n, 2] probabilities) {{ {PROBABILITIES} {label} }}"""
    return OnnxEngine(compiled(text), Schema("classification", "y", FEATURES, "positive", classes))


def regressor() -> OnnxEngine:
    text = """<ir_version: 10, opset_import: ["": 21]>
    model (double[n, 2] numbers) => (double[n] prediction) {
        axis = Constant<value = int64[1] {1}>()
        prediction = ReduceSum<keepdims = 0>(numbers, axis)
    }"""
    return OnnxEngine(compiled(text), Schema("regression", "y", FEATURES, "value"))


def compiled(text: str) -> bytes:
    return bytes(onnx.parser.parse_model(text).SerializeToString())


ENGINES = {
    "whole numbers": lambda: classifier("int64", [0, 1], "label = Cast<to = 7>(above)"),
    "booleans": lambda: classifier("bool", [False, True], "label = Identity(above)"),
    "texts": lambda: classifier("string", ["0", "1"], "label = Cast<to = 8>(above)"),
    "regression": regressor,
}


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> OnnxEngine:
    return ENGINES[request.param]()


def row(position: int) -> Rows:
    return Rows(1, NUMBERS[position : position + 1])


def test_a_row_by_itself_is_answered_as_among_others(engine: OnnxEngine) -> None:
    together = engine(Rows(len(NUMBERS), NUMBERS))
    for _ in range(2):
        alone = [engine(row(position)) for position in range(len(NUMBERS))]
        predictions = np.concatenate([answers.predictions for answers in alone])
        np.testing.assert_array_equal(predictions, together.predictions)
        assert predictions.dtype == together.predictions.dtype
        if together.probabilities is not None:
            probabilities = [answers.probabilities for answers in alone if answers.probabilities is not None]
            np.testing.assert_array_equal(np.concatenate(probabilities), together.probabilities)


def test_a_row_may_be_any_view(engine: OnnxEngine) -> None:
    expected = engine(row(0)).predictions
    views = [np.asfortranarray(NUMBERS)[:1], np.repeat(NUMBERS, 2, axis=1)[:1, ::2]]
    for view in views:
        np.testing.assert_array_equal(engine(Rows(1, view)).predictions, expected)


def test_threads_do_not_mix_their_rows(engine: OnnxEngine) -> None:
    expected = [engine(row(position)).predictions.tolist() for position in (0, 1)]

    def wrong(position: int) -> int:
        return sum(engine(row(position)).predictions.tolist() != expected[position] for _ in range(2000))

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(wrong, (0, 1))) == [0, 0]
