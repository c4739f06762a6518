"""The publisher: what own containers leave, from a whole set of files to nothing at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from onnx import TensorProto
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.tree import DecisionTreeClassifier

from perennial.runtime import skops
from perennial.runtime.failures import InputError
from perennial.runtime.onnx.graph import Graph
from perennial.runtime.trainer.publishing import publish
from perennial.wire import places
from perennial.wire.manifest import ONNX_FILE, REFERENCE_FILE, SKOPS_FILE
from perennial.wire.reference import Reference
from perennial.wire.result import Result
from perennial.wire.run import Accepted, Bound, Champion
from perennial.wire.schema import LABEL, NUMBERS, PREDICTION, PROBABILITIES, SCHEMA_FILE, Feature, Schema
from tests.unit.runtime.trainer.world import World


class Container:
    """A container's output folder, and the publisher run on it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.folder = world.root / "output"
        self.folder.mkdir()

    def leave(self, name: str, data: bytes) -> None:
        (self.folder / name).write_bytes(data)

    def leave_rows(self, rows: pd.DataFrame, name: str = "predictions.parquet") -> None:
        if name.endswith("csv"):
            rows.to_csv(self.folder / name, index=False)
        else:
            rows.to_parquet(self.folder / name, index=False)

    def publish(self, *bounds: Bound) -> Result:
        run = msgspec.structs.replace(self.world.run(), sklearn=None, metrics=list(bounds))
        return publish(run, self.world.said.append)

    def refused(self, reason: str, *said: str) -> None:
        with pytest.raises(InputError) as caught:
            self.publish()
        assert caught.value.reason == reason, caught.value.message
        for words in said:
            assert words in caught.value.message


@pytest.fixture
def container(empty_world: World, monkeypatch: pytest.MonkeyPatch) -> Container:
    made = Container(empty_world)
    monkeypatch.setenv(places.OUTPUT_ENV, str(made.folder))
    return made


def fitted() -> tuple[Any, pd.DataFrame]:
    """A logistic regression on two columns and its held-out rows."""
    random = np.random.default_rng(0)
    table = pd.DataFrame({"speed": random.normal(size=200), "height": random.normal(size=200)})
    label = np.where(table.speed + table.height + random.normal(size=200) / 3 > 0, "up", "down")
    model = LogisticRegression().fit(table, label)
    return model, table.assign(label=label, prediction=model.predict(table))


def rising(columns: int = 2) -> bytes:
    """A classifier: label is whether the first number is above 0."""
    graph = Graph()
    first = graph.add("Gather", graph.input(NUMBERS, columns), graph.constant(np.array([0])), axis=1)
    second = graph.add("Sigmoid", first)
    graph.output(
        graph.add("Squeeze", graph.add("Greater", first, graph.constant(0.0)), graph.constant(np.array([1]))),
        LABEL,
        "b",
    )
    both = graph.add("Concat", graph.add("Sub", graph.constant(1.0), second), second, axis=1)
    graph.output(both, PROBABILITIES, "f", 2)
    return bytes(graph.model().SerializeToString())


def rising_rows() -> pd.DataFrame:
    table = pd.DataFrame({"speed": np.linspace(-1, 1, 60), "height": np.arange(60.0)})
    return table.assign(label=table.height % 7 > 2, prediction=table.speed > 0)


def test_a_skops_model_with_rows_is_gated_and_binned(container: Container) -> None:
    model, rows = fitted()
    container.leave(SKOPS_FILE, skops.dump(model))
    container.leave_rows(rows)
    result = container.publish(Bound("accuracy", min=0.8), Bound("roc_auc", min=0.999))
    assert result.outcome == "Rejected"
    assert [gate.passed for gate in result.gates] == [True, False]
    version = container.world.version(result)
    schema = msgspec.json.decode(version.read(SCHEMA_FILE), type=Schema)
    assert schema.features == [Feature("speed", "numeric"), Feature("height", "numeric")]
    assert (schema.classes, schema.score) == (["down", "up"], "positive")
    assert len(schema.examples) == 5
    reference = msgspec.json.decode(version.read(REFERENCE_FILE), type=Reference)
    assert [column.name for column in reference.features] == ["speed", "height"]
    assert reference.joint is not None
    assert "speed * height" in [column.name for column in reference.joint.columns]
    assert reference.loss is not None
    assert reference.loss.mean == pytest.approx(1 - result.metrics["accuracy"])
    assert version.manifest.model.engine == "sklearn"


def test_a_champion_is_compared_where_a_container_leaves_the_same_rows_again(container: Container) -> None:
    model, rows = fitted()
    container.leave(SKOPS_FILE, skops.dump(model))
    container.leave_rows(rows)
    first = container.publish()
    assert first.model is not None
    against = Accepted(1, first.model.uri, first.model.sha256, first.model.seal)
    worse = LogisticRegression().fit(rows[["speed", "height"]], rows.label.to_numpy()[::-1])
    container.leave(SKOPS_FILE, skops.dump(worse))
    container.leave_rows(rows.assign(prediction=worse.predict(rows[["speed", "height"]])))
    run = msgspec.structs.replace(
        container.world.run(version=2, champion=Champion("accuracy", 0.01, against)), sklearn=None
    )
    second = publish(run, container.world.said.append)
    assert second.outcome == "Rejected"
    assert second.gates[0].note == "version 1 on the 200 rows that both held out"

    container.leave_rows(rows.iloc[:150].assign(prediction=worse.predict(rows[["speed", "height"]])[:150]))
    third = publish(msgspec.structs.replace(run, version=3, path="v3"), container.world.said.append)
    assert third.outcome == "Accepted"
    assert "without data.time nothing tells which of these are new" in (third.gates[0].note or "")


def test_an_onnx_model_with_rows_is_served_by_onnx(container: Container) -> None:
    container.leave(ONNX_FILE, rising())
    container.leave_rows(rising_rows(), "predictions.csv")
    version = container.world.version(container.publish(Bound("error", max=0.9)))
    model = version.manifest.model
    assert (model.engine, model.primary, model.file) == ("onnx", ONNX_FILE, ONNX_FILE)
    assert SKOPS_FILE not in version
    schema = msgspec.json.decode(version.read(SCHEMA_FILE), type=Schema)
    assert (schema.classes, schema.target) == ([False, True], "late")


def test_an_onnx_file_that_answers_what_scikit_learn_refuses_is_not_served(container: Container) -> None:
    model, rows = fitted()
    container.leave(SKOPS_FILE, skops.dump(model))
    container.leave(ONNX_FILE, rising())
    container.leave_rows(rows)
    manifest = container.world.version(container.publish()).manifest
    assert manifest.model.engine == "sklearn"
    assert manifest.model.why is not None
    assert "Input X contains NaN" in manifest.model.why


def test_both_files_are_served_by_onnx_only_where_they_agree(container: Container) -> None:
    _, rows = fitted()
    model = DecisionTreeClassifier(max_depth=3).fit(rows[["speed", "height"]], rows.label)
    rows = rows.assign(prediction=model.predict(rows[["speed", "height"]]))
    container.leave(SKOPS_FILE, skops.dump(model))
    container.leave(ONNX_FILE, rising())
    container.leave_rows(rows)
    manifest = container.world.version(container.publish()).manifest
    assert manifest.model.engine == "sklearn"
    assert ONNX_FILE not in manifest.files
    assert manifest.model.why is not None
    assert "have another label" in manifest.model.why


def test_without_rows_there_is_no_reference_and_no_gate_passes(container: Container) -> None:
    model, _ = fitted()
    container.leave(SKOPS_FILE, skops.dump(model))
    result = container.publish(Bound("accuracy", min=0.1))
    assert result.outcome == "Rejected"
    assert result.gates[0].value is None
    assert any(note.startswith("NoReference") for note in result.notes)
    assert REFERENCE_FILE not in container.world.version(result)


def test_without_rows_a_server_still_has_a_row_to_ask_for(container: Container) -> None:
    model, _ = fitted()
    container.leave(SKOPS_FILE, skops.dump(model))
    folder = container.world.version(container.publish())
    (example,) = msgspec.json.decode(folder.read(SCHEMA_FILE), type=Schema).examples
    assert example.values == [0.0, 0.0]
    assert example.prediction == model.predict(pd.DataFrame({"speed": [0.0], "height": [0.0]}))[0]


def test_without_rows_a_model_of_texts_must_say_so(container: Container) -> None:
    table = pd.DataFrame({"carrier": ["AA", "UA"] * 20})
    model = make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression()).fit(table, [0, 1] * 20)
    container.leave(SKOPS_FILE, skops.dump(model))
    container.refused("SchemaMismatch", "answers no row of zeros", "Leave predictions.parquet")
    schema = Schema("classification", "late", [Feature("carrier", "categorical")], "positive", [0, 1])
    container.leave(SCHEMA_FILE, msgspec.json.encode(schema))
    assert container.publish().outcome == "Accepted"


def test_rows_without_the_features_are_gated_by_what_was_said(container: Container) -> None:
    container.leave(ONNX_FILE, rising())
    schema = Schema(
        "classification", "late", [Feature("a", "numeric"), Feature("b", "numeric")], "positive", [False, True]
    )
    container.leave(SCHEMA_FILE, msgspec.json.encode(schema))
    truth = np.arange(40) % 2 == 0
    container.leave_rows(pd.DataFrame({"label": truth, "prediction": truth, "score": np.where(truth, 0.9, 0.2)}))
    result = container.publish(Bound("roc_auc", min=1.0))
    assert result.outcome == "Accepted"
    reference = msgspec.json.decode(container.world.version(result).read(REFERENCE_FILE), type=Reference)
    assert (reference.features, reference.score.name) == ([], "score")


def test_a_regression(container: Container) -> None:
    table = pd.DataFrame({"x": np.arange(50.0)})
    model = LinearRegression().fit(table, 2 * table.x + 1)
    container.leave(SKOPS_FILE, skops.dump(model))
    container.leave_rows(table.assign(label=2 * table.x + 1, prediction=model.predict(table)))
    assert container.publish(Bound("mae", max=0.01)).outcome == "Accepted"


def test_predictions_that_are_not_the_models_are_refused(container: Container) -> None:
    model, rows = fitted()
    container.leave(SKOPS_FILE, skops.dump(model))
    container.leave_rows(rows.assign(prediction=rows.label))
    container.refused("PredictionsDisagree", "the model does not say what is in the column 'prediction'")


def test_probabilities_may_be_rounded_and_not_another_models(container: Container) -> None:
    model, rows = fitted()
    container.leave(SKOPS_FILE, skops.dump(model))
    score = model.predict_proba(rows[["speed", "height"]])[:, 1]
    container.leave_rows(rows.assign(score=score + np.where(rows.index == 6, 0.001, 0.0)))
    container.refused("PredictionsDisagree", "in 1 of 200 rows", "in the column 'score'; in row 7")
    container.leave_rows(rows.assign(score=score.astype(np.float32)))
    assert container.publish().outcome == "Accepted"


def test_checkpoints_are_kept_until_there_is_a_version(container: Container, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "PVC_ROOT", str(container.world.root))
    run = msgspec.structs.replace(container.world.run(version=9), sklearn=None, store="pvc://models")
    folder = container.world.root / "models" / "air" / "flights-abc123"
    left = folder / ".v9.checkpoint" / "epochs"
    for version in (7, 9, 10):
        (folder / f".v{version}.checkpoint" / "epochs").mkdir(parents=True)
    with pytest.raises(InputError):
        publish(run, container.world.said.append)
    assert left.exists()
    container.leave(ONNX_FILE, rising())
    container.leave_rows(rising_rows())
    publish(run, container.world.said.append)
    # The run before failed and left its own; that of a later one is not ours.
    assert sorted(path.name for path in folder.iterdir()) == [".v10.checkpoint", "v9"]


@pytest.mark.parametrize(
    ("change", "reason", "said"),
    [
        (lambda rows: rows.drop(columns="label"), "MissingColumn", "needs the columns 'label'"),
        (lambda rows: rows.drop(columns="prediction"), "MissingColumn", "and 'prediction'"),
        (lambda rows: rows.head(3), "TooFewRows", "3 rows; at least 10"),
        (lambda rows: rows.assign(prediction=rows.prediction.where(rows.index != 4)), "ValuesMissing", "row 5: column"),
        (lambda rows: rows.assign(score=3.0), "InvalidScore", "from 0 to 1"),
    ],
)
def test_rows_that_can_not_be_used(container: Container, change: Any, reason: str, said: str) -> None:
    model, rows = fitted()
    container.leave(SKOPS_FILE, skops.dump(model))
    container.leave_rows(change(rows))
    container.refused(reason, said)


def test_an_empty_folder_is_no_model(container: Container) -> None:
    container.leave("weights.pkl", b"\x80\x04")
    container.refused("NoModel", "neither model.onnx nor model.skops", "there is weights.pkl")


def test_a_missing_folder_is_no_model(container: Container, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(places.OUTPUT_ENV, str(Path(container.folder, "none")))
    container.refused("NoModel", "there is nothing")


@pytest.mark.parametrize("name", [SKOPS_FILE, ONNX_FILE])
def test_a_broken_file_is_refused_in_words(container: Container, name: str) -> None:
    container.leave(name, b"broken")
    container.refused("ModelUnreadable", name)


def test_an_onnx_model_of_another_form_is_told_the_form(container: Container) -> None:
    graph = Graph()
    graph.output(graph.add("Cast", graph.input("X", 2), to=TensorProto.FLOAT), PREDICTION, "f", 2)
    container.leave(ONNX_FILE, bytes(graph.model().SerializeToString()))
    container.refused("ModelUnreadable", "model.onnx")
    two_dimensional = Graph()
    two_dimensional.output(two_dimensional.input(NUMBERS, 2), PREDICTION, "f", 2)
    container.leave(ONNX_FILE, bytes(two_dimensional.model().SerializeToString()))
    container.refused("ModelUnreadable", "a regressor prediction (double, [rows])")


def test_an_onnx_classifier_without_rows_or_schema_must_say_its_classes(container: Container) -> None:
    container.leave(ONNX_FILE, rising())
    container.refused("SchemaMissing", "does not say its classes")


def test_features_that_do_not_fit_the_model_are_refused(container: Container) -> None:
    container.leave(ONNX_FILE, rising(columns=3))
    container.leave_rows(rising_rows())
    container.refused("SchemaMismatch", "takes 3 numbers and 0 texts, but the features are 2 and 0")


def test_a_schema_that_is_none_is_refused(container: Container) -> None:
    container.leave(ONNX_FILE, rising())
    container.leave(SCHEMA_FILE, b'{"task":"guessing"}')
    container.refused("SchemaInvalid", "schema.json")


def test_a_second_attempt_finds_the_first(container: Container) -> None:
    container.leave(ONNX_FILE, rising())
    container.leave_rows(rising_rows())
    assert container.publish() == container.publish()
