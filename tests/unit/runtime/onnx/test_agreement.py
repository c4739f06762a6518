"""The judge of a conversion, in its own process: it finds one wrong label, and survives a runtime that does not."""

from __future__ import annotations

import subprocess
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from perennial.runtime.onnx.agreement import Answers, DisagreementError, agree
from perennial.runtime.onnx.graph import Graph
from perennial.runtime.onnx.hard_rows import Rows
from perennial.runtime.onnx.probe import ProbeError, probe
from perennial.wire.schema import LABEL, NUMBERS, PREDICTION, PROBABILITIES, TEXTS

ROWS = Rows(np.array([[1.0], [2.0], [-3.0]]), np.empty((3, 0), object))


def doubling() -> bytes:
    """prediction = 2 x"""
    graph = Graph()
    value = graph.add("Mul", graph.input(NUMBERS, 1), graph.constant(2.0))
    graph.output(graph.add("Squeeze", value, graph.constant(np.array([1]))), PREDICTION, "f")
    return bytes(graph.model().SerializeToString())


def sign() -> bytes:
    """label = x > 0, with probabilities 0 and 1"""
    graph = Graph()
    above = graph.add("Greater", graph.input(NUMBERS, 1), graph.constant(0.0))
    graph.output(graph.add("Squeeze", above, graph.constant(np.array([1]))), LABEL, "b")
    second = graph.add("Cast", above, to=TensorProto.DOUBLE)
    first = graph.add("Sub", graph.constant(1.0), second)
    graph.output(graph.add("Concat", first, second, axis=1), PROBABILITIES, "f", 2)
    return bytes(graph.model().SerializeToString())


def test_equal_answers_agree() -> None:
    found = agree(doubling(), ROWS, Answers(None, np.array([2.0, 4.0, -6.0])))
    assert (found.rows, found.labels_different, found.difference) == (3, 0, 0.0)


def test_a_value_beyond_the_tolerance_is_found() -> None:
    with pytest.raises(DisagreementError, match="largest difference"):
        agree(doubling(), ROWS, Answers(None, np.array([2.0, 4.0 + 1e-4, -6.0])))


def test_a_missing_value_where_a_number_was_expected_is_found() -> None:
    rows = Rows(np.array([[np.nan]]), np.empty((1, 0), object))
    with pytest.raises(DisagreementError, match="largest difference"):
        agree(doubling(), rows, Answers(None, np.array([0.0])))


def test_one_wrong_label_is_found() -> None:
    probabilities = np.array([[0.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    assert agree(sign(), ROWS, Answers(["True", "True", "False"], probabilities)).labels_different == 0
    with pytest.raises(DisagreementError, match="have another label"):
        agree(sign(), ROWS, Answers(["True", "False", "False"], probabilities))


def test_a_file_that_does_not_load_is_told() -> None:
    with pytest.raises(DisagreementError, match="ONNX Runtime ended with 1"):
        agree(b"no model", ROWS, Answers(None, np.zeros(3)))


@pytest.mark.process
@pytest.mark.parametrize(
    ("command", "seconds", "says"),
    [("import os; os.abort()", 60.0, "ended with -6"), ("import time; time.sleep(60)", 0.1, "did not answer")],
)
def test_a_runtime_that_crashes_or_hangs_takes_nobody_along(
    monkeypatch: pytest.MonkeyPatch, command: Any, seconds: Any, says: Any
) -> None:
    run = subprocess.run
    monkeypatch.setattr(subprocess, "run", lambda args, **options: run([args[0], "-c", command], **options))
    with pytest.raises(DisagreementError, match=says):
        agree(doubling(), ROWS, Answers(None, np.zeros(3)), seconds=seconds)


def test_a_probe_tells_inputs_outputs_and_answers() -> None:
    found = probe(sign(), ROWS)
    assert found.inputs[NUMBERS].type == "tensor(double)"
    assert found.inputs[NUMBERS].columns == 1
    assert found.outputs[PROBABILITIES].columns == 2
    assert found.answers[LABEL] == [True, True, False]
    with pytest.raises(ProbeError, match="ONNX Runtime"):
        probe(b"no model")


def test_texts_reach_the_model() -> None:
    value = helper.make_tensor_value_info(TEXTS, TensorProto.STRING, [None, 1])
    out = helper.make_tensor_value_info(LABEL, TensorProto.STRING, [None, 1])
    graph = helper.make_graph([helper.make_node("Identity", [TEXTS], [LABEL])], "echo", [value], [out])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10).SerializeToString()
    rows = Rows(np.empty((2, 0)), np.array([["é"], [""]], object))
    found = probe(model, rows)
    assert found.outputs[LABEL].dimensions == 2
    assert found.answers[LABEL] == [["é"], [""]]
