"""Whole runs, from files to a sealed version that loads and answers as it was judged."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import numpy as np
import pytest

from perennial.runtime import limits, skops
from perennial.runtime.failures import InputError, RunError
from perennial.runtime.frame import frame
from perennial.runtime.store import Version
from perennial.wire.manifest import ONNX_FILE, REFERENCE_FILE, SKOPS_FILE
from perennial.wire.reference import Categorical, Numeric, Reference
from perennial.wire.run import Bound, Expectation
from perennial.wire.run import Test as HeldOut
from perennial.wire.schema import SCHEMA_FILE, Feature, Schema
from tests.unit.runtime.trainer.world import World, flights

BOOSTING = "sklearn.ensemble.HistGradientBoosting"


def schema_of(version: Version) -> Schema:
    return msgspec.json.decode(version.read(SCHEMA_FILE), type=Schema)


def reference_of(version: Version) -> Reference:
    return msgspec.json.decode(version.read(REFERENCE_FILE), type=Reference)


def test_an_accepted_classifier_is_published_whole(world: World) -> None:
    bounds = [Bound("roc_auc", min=0.7), Bound("error", max=0.4)]
    result = world.train(estimator=BOOSTING + "Classifier", bounds=bounds, time="scheduled", test=HeldOut(0.25, "Time"))
    assert result.outcome == "Accepted"
    assert [gate.passed for gate in result.gates] == [True, True]
    assert result.rows is not None
    assert (result.rows.train, result.rows.test) == (300, 100)
    assert result.trained_through == "2026-01-17T15:00:00Z"
    version = world.version(result)
    assert set(version.manifest.files) == {
        "model.skops", "model.onnx", "schema.json", "reference.json", "expectations.json",
        "metrics.json", "lineage.json", "card.md", "answers.npz",
        "attributions.msgpack",
    }  # fmt: skip
    model = version.manifest.model
    assert model.attributed == "decision_function"
    assert (model.engine, model.file, model.primary) == ("onnx", ONNX_FILE, SKOPS_FILE)
    assert model.agreement is not None
    assert model.agreement.labels_different == 0
    schema = schema_of(version)
    assert schema.features == [
        Feature("carrier", "categorical"),
        Feature("distance", "numeric"),
        Feature("hour", "numeric"),
        Feature("wet", "boolean"),
    ]
    assert (schema.classes, schema.score) == ([False, True], "positive")


def test_the_published_model_answers_its_examples(world: World) -> None:
    version = world.version(world.train(estimator=BOOSTING + "Classifier"))
    schema = schema_of(version)
    model = skops.load(version.read(SKOPS_FILE))
    for example in schema.examples:
        given = dict(zip((feature.name for feature in schema.features), example.values, strict=True))
        numbers = np.array([[np.nan if given[name] is None else given[name] for name in schema.numbers]], float)
        texts = np.array([[given[name] or "" for name in schema.texts]], object)
        rows = frame(schema, numbers, texts)
        assert model.predict(rows).tolist() == [example.prediction]
        assert model.predict_proba(rows)[0].tolist() == pytest.approx(example.probabilities)


def test_a_rejected_version_is_kept_and_not_refitted(world: World) -> None:
    result = world.train(target="delay", estimator=BOOSTING + "Regressor", bounds=[Bound("r2", min=0.999)])
    assert result.outcome == "Rejected"
    assert result.gates[0].value == result.metrics["r2"]
    lineage = json.loads(world.version(result).read("lineage.json"))
    assert lineage["learnedFrom"]["rows"] == 300


def test_refit_learns_from_all_rows_and_judges_before(world: World) -> None:
    fitted, kept = (world.train(version=version, refit=refit) for version, refit in ((1, True), (2, False)))
    assert fitted.metrics == kept.metrics
    assert fitted.model is not None
    assert kept.model is not None
    assert fitted.model.sha256 != kept.model.sha256
    assert [json.loads(world.version(each).read("lineage.json"))["learnedFrom"]["rows"] for each in (fitted, kept)] == [
        400,
        300,
    ]


def test_the_reference_counts_the_held_out_rows(world: World) -> None:
    version = world.version(world.train(estimator=BOOSTING + "Classifier"))
    reference = reference_of(version)
    assert reference.model == version.manifest.model.sha256
    assert reference.rows == 100
    assert [column.name for column in reference.features] == ["carrier", "distance", "hour", "wet"]
    assert reference.joint is not None
    assert reference.joint.features == ["distance", "hour", "wet"]
    assert all(sum(column.counts) == 100 and len(column.counts) == column.cells for column in reference.columns)
    carrier, distance, score = reference.features[0], reference.features[1], reference.score
    assert isinstance(carrier, Categorical)
    assert set(carrier.categories) == {"AA", "BB", "CC"}
    assert carrier.counts[-1] > 0, "missing carriers have a cell"
    assert isinstance(distance, Numeric)
    assert distance.counts[-1] > 0
    assert isinstance(score, Numeric)
    assert 0 <= score.edges[0] <= score.edges[-1] <= 1.0 + 1e-9
    assert reference.loss is not None
    assert reference.loss.mean == pytest.approx(1 - version.manifest.result.metrics["accuracy"])
    assert reference.loss.mean < reference.loss.upper < 1
    assert reference.classes == ["false", "true"]


def test_the_model_does_not_depend_on_the_number_of_cpus(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    digests = set()
    for version, cpus in ((1, 1), (2, 3)):
        monkeypatch.setattr(limits, "cpus", lambda cpus=cpus: cpus)
        result = world.train(
            version=version, estimator="sklearn.ensemble.RandomForestClassifier", parameters={"n_estimators": 4}
        )
        assert result.model is not None
        digests.add(result.model.sha256)
    assert len(digests) == 1


def test_text_labels_and_three_classes(empty_world: World) -> None:
    table = flights()
    table["status"] = np.where(table.hour < 8, "early", table.status)
    empty_world.write(table, "flights.csv")
    version = empty_world.version(
        empty_world.train(target="status", estimator="sklearn.linear_model.LogisticRegression")
    )
    schema = schema_of(version)
    assert (schema.classes, schema.score) == (["early", "late", "on time"], "confidence")
    assert version.manifest.model.engine == "onnx"


def test_a_regression(world: World) -> None:
    result = world.train(target="delay", estimator="sklearn.linear_model.Ridge", bounds=[Bound("mae", max=50)])
    reference = reference_of(world.version(result))
    assert reference.task == "regression"
    assert reference.loss is not None
    assert reference.loss.scale == pytest.approx(4 * result.metrics["mae"])
    assert 0.25 <= reference.loss.mean <= 0.25 + 1 / 64


def test_what_has_no_onnx_form_is_served_by_scikit_learn_and_says_why(world: World) -> None:
    result = world.train(estimator="sklearn.svm.SVC")
    manifest = world.version(result).manifest
    assert (manifest.model.engine, manifest.model.file) == ("sklearn", SKOPS_FILE)
    assert manifest.model.why == "no exact form of SVC, which compares each row with many that it keeps"
    assert "no exact form of SVC, which compares each row with many that it keeps" in result.notes[0]
    assert schema_of(world.version(result)).score == "label"


def test_without_an_imputer_scikit_learn_serves_since_it_refuses_missing_values(world: World) -> None:
    result = world.train(estimator="sklearn.linear_model.LogisticRegression", preprocessing="None", features=["hour"])
    model = world.version(result).manifest.model
    assert model.engine == "sklearn"
    assert model.why is not None
    assert "Input X contains NaN" in model.why


def test_a_second_attempt_finds_the_version_of_the_first(world: World) -> None:
    first = world.train()
    world.write(flights(seed=5))
    assert world.train() == first
    assert "published by an earlier attempt" in world.said[-1]


def test_another_runs_version_is_not_taken_for_ones_own(world: World) -> None:
    world.train()
    other = msgspec.structs.replace(world.run(), definition="v1:other")
    with pytest.raises(RunError, match="another run's") as caught:
        world.train(other)
    assert caught.value.exit_code == 65


def test_the_window_keeps_the_newest_rows(world: World) -> None:
    result = world.train(time="scheduled", window_seconds=7 * 86400 - 1)
    assert result.rows is not None
    assert result.rows.train + result.rows.test == 7 * 24
    assert "data: 168 rows of 400 are within the window" in world.said


def test_rules_are_for_the_rows_within_the_window_alone(empty_world: World) -> None:
    table = flights()
    table.loc[:99, "hour"] = 99
    empty_world.write(table)
    options: dict[str, Any] = {"time": "scheduled", "expect": {"hour": Expectation(max=23)}}
    assert empty_world.train(window_seconds=7 * 86400 - 1, **options).outcome == "Accepted"
    assert "expect: 168 rows keep every rule" in empty_world.said
    with pytest.raises(InputError, match="100 of 400 rows") as caught:
        empty_world.train(version=2, **options)
    assert caught.value.reason == "DataRejected"
    with pytest.raises(InputError, match="1 of 301 rows"):
        empty_world.train(version=3, window_seconds=300 * 3600, **options)


def test_rows_without_a_label_are_left_out(empty_world: World) -> None:
    table = flights()
    table["status"] = table.status.where(table.index % 4 > 0, None)
    empty_world.write(table)
    result = empty_world.train(target="status")
    assert result.rows is not None
    assert result.rows.train + result.rows.test == 300


def test_by_default_every_suitable_column_is_a_feature(empty_world: World) -> None:
    table = flights(600).drop(columns=["status", "delay"])
    empty_world.write(table.assign(number=[f"LH{i}" for i in range(600)]))
    result = empty_world.train(
        features=[], estimator="sklearn.ensemble.RandomForestClassifier", parameters={"n_estimators": 3}
    )
    schema = schema_of(empty_world.version(result))
    assert [feature.name for feature in schema.features] == ["carrier", "distance", "hour", "wet"]
    assert len(result.notes) == 2
    assert any(note.startswith("scheduled: left out, a date") for note in result.notes)
    assert any(note.startswith("number: left out, an identifier") for note in result.notes)


def test_csv_and_parquet_give_the_same_model(empty_world: World) -> None:
    table = flights().drop(columns="carrier")
    empty_world.write(table, "a.parquet")
    empty_world.write(table, "b.csv")
    features = ["distance", "hour", "wet"]
    one, two = (
        empty_world.train(version=version, uri=f"file://{empty_world.root}/lake/{name}", features=features)
        for version, name in ((1, "a.parquet"), (2, "b.csv"))
    )
    assert one.model is not None
    assert two.model is not None
    assert one.model.sha256 == two.model.sha256


def test_files_are_read_in_the_order_of_their_names(empty_world: World) -> None:
    table = flights()
    empty_world.write(table.iloc[200:], "b.parquet")
    empty_world.write(table.iloc[:200], "a.parquet")
    two = empty_world.train()
    lineage = json.loads(empty_world.version(two).read("lineage.json"))
    assert [file["name"].rpartition("/")[2] for file in lineage["data"]["files"]] == ["a.parquet", "b.parquet"]
    assert lineage["data"]["rows"] == 400


def test_the_card_and_the_lineage_tell_what_a_person_asks(world: World) -> None:
    version = world.version(world.train(bounds=[Bound("f1", min=0.99)], parameters={"max_depth": 3}))
    card = version.read("card.md").decode()
    for said in (
        "# air/flights, version 1",
        "DecisionTreeClassifier",
        "| f1 | min 0.99 |",
        "**failed**",
        "distance",
        "400 rows",
    ):
        assert said in card
    lineage = json.loads(version.read("lineage.json"))
    assert lineage["parameters"]["max_depth"] == 3
    assert lineage["parameters"]["random_state"] == 0
    assert lineage["libraries"]["scikit-learn"]
    assert len(lineage["data"]["sha256"]) == 64


def test_a_class_that_is_among_the_newest_rows_only_keeps_the_judged_model(empty_world: World) -> None:
    table = flights()
    table.loc[390:, "status"] = "diverted"
    empty_world.write(table)
    result = empty_world.train(target="status", time="scheduled", test=HeldOut(0.25, "Time"))
    assert "diverted" not in schema_of(empty_world.version(result)).classes
    assert any("among the held-out rows only" in line for line in empty_world.said)


def test_a_reserved_parameter_is_refused(world: World) -> None:
    with pytest.raises(InputError, match="categorical_features: preprocessing Auto sets it"):
        world.train(estimator=BOOSTING + "Classifier", parameters={"categorical_features": [0]})
