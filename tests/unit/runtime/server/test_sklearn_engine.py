"""scikit-learn as the engine: for a model that ONNX does not compute, loaded without pickle and computed beside the
loop.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from types import SimpleNamespace as Served
from typing import Any

import numpy as np
import pandas as pd
import pytest

from perennial.runtime import skops
from perennial.wire.manifest import SKOPS_FILE
from perennial.wire.schema import Example, Feature, Schema

from .labelled import by_loss

ROWS = pd.DataFrame({"x": [0.0, 1.0, 2.0, 3.0], "carrier": pd.Series(["UA", "UA", "AA", "AA"], dtype=object)})


def fitted() -> Any:
    from sklearn.compose import make_column_transformer
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["carrier"]), remainder="passthrough"
    )
    return make_pipeline(columns, KNeighborsClassifier(1)).fit(ROWS, ["a", "a", "b", "b"])


@pytest.fixture
def neighbours(tmp_path: Path, models: ModuleType, serve_model: Callable[..., Served]) -> Served:
    schema = Schema(
        task="classification",
        target="y",
        features=[Feature("x", "numeric"), Feature("carrier", "categorical")],
        score="positive",
        classes=["a", "b"],
        examples=[Example([0.0, "UA"], "a", [1.0, 0.0]), Example([3.0, "AA"], "b", [0.0, 1.0])],
    )
    model = models.publish(tmp_path / "model", skops.dump(fitted()), schema, None, file=SKOPS_FILE)
    assert model.sha256 == hashlib.sha256((tmp_path / "model" / SKOPS_FILE).read_bytes()).hexdigest()
    return serve_model(model, tmp_path / "counts")


def infer(served: Served, x: list[Any], carrier: list[Any]) -> Any:
    inputs = [
        {"name": "x", "shape": [len(x)], "datatype": "FP64", "data": x},
        {"name": "carrier", "shape": [len(x)], "datatype": "BYTES", "data": carrier},
    ]
    return served.infer({"inputs": inputs, "parameters": {"receipt": True}})


def test_it_answers_as_scikit_learn_does(neighbours: Served) -> None:
    answer = infer(neighbours, [0.2, 2.9, 1.4], ["UA", "AA", "never seen"])
    frame = pd.DataFrame({"x": [0.2, 2.9, 1.4], "carrier": pd.Series(["UA", "AA", "never seen"], dtype=object)})
    label, probabilities = answer.body["outputs"]
    assert label["data"] == fitted().predict(frame).tolist()
    np.testing.assert_array_equal(probabilities["data"], fitted().predict_proba(frame).ravel())
    assert neighbours.get("/v2/models/flights").body["platform"] == "sklearn_skops"


def test_values_that_it_cannot_work_with_count_against_it(neighbours: Served) -> None:
    answer = infer(neighbours, [None], ["UA"])
    assert (answer.status, "NaN" in answer.body["error"]) == (422, True)


def test_without_a_reference_labels_still_count(neighbours: Served) -> None:
    receipts = infer(neighbours, [0.2, 2.9], ["UA", "AA"]).body["parameters"]["receipts"]
    labels = [{"receipt": receipt, "label": "a"} for receipt in receipts]
    assert neighbours.operate("/v2/models/flights/feedback", {"labels": labels}).body["accepted"] == 2
    [epoch] = neighbours.operate("/perennial/v1/epochs", {}).body["epochs"]
    [labels] = (counts.pop("labels") for counts in epoch["models"].values())
    assert epoch["models"] == {neighbours.predictor.model.digest: {}}
    assert (by_loss(labels), labels.keys()) == ([1, 1], {"loss"})
    assert neighbours.operate("/perennial/v1/reference").status == 404


def test_the_decision_function_is_given_when_asked_for(
    tmp_path: Path, models: ModuleType, serve_model: Callable[..., Served]
) -> None:
    from sklearn.svm import LinearSVC

    fitted = LinearSVC().fit(ROWS[["x"]], [0, 0, 1, 1])
    features = [Feature("x", "numeric")]
    schema = Schema(
        task="classification",
        target="y",
        features=features,
        score="label",
        classes=[0, 1],
        examples=[Example([0.0], 0), Example([3.0], 1)],
    )
    model = models.publish(tmp_path / "model", skops.dump(fitted), schema, None, file=SKOPS_FILE)
    served = serve_model(model, tmp_path / "counts")
    body = {"inputs": [{"name": "x", "shape": [2], "datatype": "FP64", "data": [0.0, 3.0]}]}
    assert [output["name"] for output in served.infer(body).body["outputs"]] == ["label"]
    names = [{"name": "decision_function"}, {"name": "predict"}]
    decisions, labels = served.infer(body | {"outputs": names}).body["outputs"]
    assert decisions["data"] == fitted.decision_function(ROWS[["x"]].iloc[[0, 3]]).tolist()
    assert (decisions["shape"], labels["data"]) == ([2], [0, 1])
    described = served.get("/v2/models/flights").body["outputs"]
    assert described[1] == {"name": "decision_function", "datatype": "FP64", "shape": [-1]}


def test_a_model_without_one_says_so(neighbours: Served) -> None:
    inputs: list[Any] = [
        {"name": "x", "shape": [1], "datatype": "FP64", "data": [0.0]},
        {"name": "carrier", "shape": [1], "datatype": "BYTES", "data": ["UA"]},
    ]
    answer = neighbours.infer({"inputs": inputs, "outputs": [{"name": "decision_function"}]})
    assert answer.status == 400
    assert "'decision_function' is not an output; there are label, predict, probabilities" in answer.body["error"]


@pytest.mark.parametrize("error", [ValueError, KeyError])
def test_a_model_without_examples_starts_whatever_it_refuses(
    tmp_path: Path,
    models: ModuleType,
    serve_model: Callable[..., Served],
    monkeypatch: pytest.MonkeyPatch,
    error: type[Exception],
) -> None:
    """Missing values, a text that was never seen: no row that a server could make up is one that every model takes."""
    from sklearn.neighbors import KNeighborsClassifier

    predict = KNeighborsClassifier.predict

    def particular(self: Any, rows: Any) -> Any:
        if (np.asarray(rows, np.float64) == 0).any():
            raise error("no zeros")
        return predict(self, rows)

    monkeypatch.setattr(KNeighborsClassifier, "predict", particular)
    fitted = KNeighborsClassifier(1).fit(ROWS[["x"]], [0, 0, 1, 1])
    schema = Schema(
        task="classification", target="y", features=[Feature("x", "numeric")], score="label", classes=[0, 1]
    )
    model = models.publish(tmp_path / "model", skops.dump(fitted), schema, None, file=SKOPS_FILE)
    served = serve_model(model, tmp_path / "counts")
    assert (served.predictor.model.inline_rows, served.predictor.model.batch_rows) == (0, 1)
    body = {"inputs": [{"name": "x", "shape": [1], "datatype": "FP64", "data": [3.0]}]}
    assert served.infer(body).body["outputs"][0]["data"] == [1]


def test_a_model_without_examples_is_timed_on_a_row_of_zeros(
    tmp_path: Path, models: ModuleType, serve_model: Callable[..., Served]
) -> None:
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression().fit(ROWS[["x"]], [0, 0, 1, 1])
    schema = Schema(
        task="classification", target="y", features=[Feature("x", "numeric")], score="label", classes=[0, 1]
    )
    model = models.publish(tmp_path / "model", skops.dump(fitted), schema, None, file=SKOPS_FILE)
    assert 0 < serve_model(model, tmp_path / "counts").predictor.model.seconds_a_row < 0.01
