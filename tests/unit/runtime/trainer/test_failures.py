"""Everything that a user can get wrong ends the run with a reason, and a message that names the place."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from perennial.api.reasons import RunFailureReason, TrainingJobReason
from perennial.runtime.failures import INPUT_EXIT, InputError, TransientError
from perennial.runtime.tables import reading
from perennial.runtime.trainer import table
from perennial.wire.run import Bound, Data
from perennial.wire.run import Test as HeldOut
from tests.unit.runtime.trainer.world import World, flights

FOREST = "sklearn.ensemble.RandomForestClassifier"
LOGISTIC = "sklearn.linear_model.LogisticRegression"


def refused(world: World, reason: str, *said: str, **options: Any) -> None:
    with pytest.raises(InputError) as caught:
        world.train(**options)
    assert (caught.value.reason, caught.value.exit_code) == (reason, INPUT_EXIT), caught.value.message
    for words in said:
        assert words in caught.value.message
    assert not list((world.root).glob("store/**/manifest.json"))


@pytest.mark.parametrize(
    ("reason", "said", "options"),
    [
        (
            "EstimatorNotAllowed",
            "did you mean sklearn.ensemble.RandomForestClassifier",
            {"estimator": "sklearn.RandomForestClassifier"},
        ),
        ("EstimatorNotAllowed", "spec.sklearn.estimator: os.system is not on the list", {"estimator": "os.system"}),
        (
            "InvalidParameters",
            "spec.sklearn.parameters.max_itr: unknown; did you mean max_iter?",
            {"estimator": LOGISTIC, "parameters": {"max_itr": 3}},
        ),
        (
            "InvalidParameters",
            "'n_estimators' parameter of RandomForestClassifier must be an int",
            {"estimator": FOREST, "parameters": {"n_estimators": "many"}},
        ),
        (
            "UnknownMetric",
            "spec.acceptance.metrics[1].name: unknown metric roc_auk; did you mean roc_auc?",
            {"bounds": [Bound("f1", min=0), Bound("roc_auk", min=0)]},
        ),
        ("UnknownMetric", "r2 does not judge a model of classification", {"bounds": [Bound("r2", min=0)]}),
        ("MissingColumn", "data.target: ", {"target": "lat"}),
        ("MissingColumn", "no column 'lat'; did you mean late?", {"target": "lat"}),
        ("MissingColumn", "data.features: ", {"features": ["distance", "our"]}),
        ("MissingColumn", "data.time: ", {"time": "schedule"}),
        ("DateFeature", "data.features: 'scheduled' is a date", {"features": ["distance", "scheduled"]}),
        ("TimeUnreadable", "data.time: column 'wet' is boolean", {"time": "wet"}),
        ("TargetUnfit", "has fractions, and a classifier predicts classes: choose a regressor", {"target": "delay"}),
        (
            "TargetUnfit",
            "is text, and a regressor predicts numbers",
            {"target": "status", "estimator": "sklearn.linear_model.Ridge"},
        ),
        ("NotANumber", "column 'carrier' holds texts, and spec.sklearn.preprocessing None", {"preprocessing": "None"}),
        (
            "ValuesMissing",
            "missing values, which LogisticRegression does not take",
            {"preprocessing": "None", "features": ["distance"], "estimator": LOGISTIC},
        ),
        ("TooFewRows", "at least 20 and 10 are needed", {"test": HeldOut(0.01, "Random")}),
        (
            "DoesNotFit",
            "KNeighborsClassifier does not take this data",
            {"estimator": "sklearn.neighbors.KNeighborsClassifier", "parameters": {"n_neighbors": 5000}},
        ),
        ("DataNotFound", "no file matches", {"uri": "file:///nowhere/*.csv"}),
        ("DataNotFound", "there is no such file", {"uri": "file:///nowhere/a.csv"}),
    ],
)
def test_definitions_that_can_not_be_trained(world: World, reason: str, said: str, options: dict[str, Any]) -> None:
    refused(world, reason, said, **options)


CSV = "late,distance\n" + "".join(f"{i % 2},{i}.5\n" for i in range(60))


@pytest.mark.parametrize(
    ("reason", "said", "text"),
    [
        ("DataUnreadable", "flights.csv: the file is empty", ""),
        ("DataUnreadable", "row 3 has 3 values, the header has 2", CSV.replace("0,2.5", "0,2.5,9")),
        ("DataUnreadable", "the header has 'late' twice", CSV.replace("late,distance", "late,late")),
        (
            "NotANumber",
            "flights.csv, row 31: column 'distance' is nearly all numbers, but here is 'far'",
            CSV.replace("30.5", "far"),
        ),
        ("InfiniteValue", "flights.csv, row 3: column 'distance' is infinite", CSV.replace("\n0,2.5\n", "\n0,inf\n")),
        ("OneClass", "every one of the 60 rows has 'late' [1]", CSV.replace("\n0,", "\n1,")),
        ("TargetMissing", "column 'late' has no value", "late,distance\n" + 60 * ",1.5\n"),
        ("TooFewRows", "3 rows with a target", "late,distance\n1,1\n0,2\n1,3\n"),
        ("MissingColumn", "no column 'late'", CSV.replace("late,", "lateness,")),
        ("DataUnreadable", "the first line must be a header", "\n\n\n"),
    ],
)
def test_files_that_can_not_be_trained_on(empty_world: World, reason: str, said: str, text: str) -> None:
    empty_world.write_text(text)
    refused(empty_world, reason, said, features=["distance"])


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"PAR1 and then nothing of the kind", "the Parquet file is broken"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\xff\xfe", "neither Parquet nor CSV in UTF-8"),
        (b"\x1f\x8bno gzip after all", "neither Parquet nor CSV"),
        (gzip.compress(CSV.encode(), mtime=0)[:-30], "flights"),
    ],
)
def test_bytes_that_are_no_table(empty_world: World, data: bytes, said: str) -> None:
    (empty_world.root / "lake").mkdir()
    (empty_world.root / "lake" / "flights").write_bytes(data)
    refused(empty_world, "DataUnreadable", said, features=["distance"])


def test_a_file_that_lacks_a_column_is_named(world: World) -> None:
    world.write(flights().drop(columns="hour"), "later.parquet")
    refused(world, "MissingColumn", "later.parquet: no column 'hour'")


def test_files_of_different_types_are_named(world: World) -> None:
    world.write(flights().assign(hour=lambda each: each.hour.astype(str) + "h"), "later.parquet")
    refused(world, "DataUnreadable", "column 'hour' is numeric in ", "and text in ", "later.parquet")


def test_columns_of_lists_are_refused(empty_world: World) -> None:
    empty_world.write(flights().assign(hour=[[1, 2]] * 400))
    refused(empty_world, "DataUnreadable", "column 'hour' holds", "a column holds numbers, booleans, texts or dates")


def test_rows_without_a_time_are_counted(empty_world: World) -> None:
    rows = flights()
    rows.loc[[7, 9], "scheduled"] = pd.NaT
    empty_world.write(rows)
    refused(empty_world, "TimeUnreadable", "row 8", "so have 2 rows of 400", time="scheduled")


def test_too_many_classes_are_a_regression(empty_world: World) -> None:
    empty_world.write(flights(1200).assign(late=np.arange(1200)))
    refused(empty_world, "TargetUnfit", "has 1200 different values", target="late")


def test_data_beyond_the_memory_is_refused_before_it_is_read(world: World) -> None:
    run = world.run()
    assert isinstance(run.data, Data)
    with pytest.raises(InputError, match=r"the container has 300 MiB: set resources\.limits\.memory higher") as caught:
        table.read_files(run.data, Path("/nowhere"), world.said.append, memory=300 << 20)
    assert caught.value.reason == "DataTooLarge"
    assert world.said == []


def test_a_packed_file_is_measured_by_what_it_holds(empty_world: World) -> None:
    """Fifty megabytes of the same line again and again are packed into as many kilobytes."""
    (empty_world.root / "lake").mkdir()
    (empty_world.root / "lake" / "flights.csv.gz").write_bytes(
        gzip.compress(b"late,distance\n" + b"1,1234567890.5\n0,1234567890.5\n" * 1_700_000, 1, mtime=0)
    )
    run = empty_world.run(features=["distance"])
    assert isinstance(run.data, Data)
    with pytest.raises(InputError, match="the container has 512 MiB") as caught:
        table.read_files(run.data, Path("/nowhere"), empty_world.said.append, memory=512 << 20)
    assert caught.value.reason == "DataTooLarge"
    assert empty_world.said == []


def test_a_file_that_changes_under_the_reader_is_tried_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    read = reading.read

    def slow(file: Any, columns: Any) -> Any:
        world.write(flights(seed=3))
        return read(file, columns)

    monkeypatch.setattr(table, "read", slow)
    with pytest.raises(TransientError) as caught:
        world.train()
    assert caught.value.reason == "DataChanged"


def test_every_reason_is_documented() -> None:
    """The reasons in the trainer's code against the published list."""
    import re

    import perennial.runtime.trainer as trainer

    code = "".join(path.read_text() for path in Path(trainer.__path__[0]).glob("*.py"))
    given = set(re.findall(r'(?:Error|Failure)\(\s*"([A-Z]\w+)"', code))
    documented = {reason.value for kind in (RunFailureReason, TrainingJobReason) for reason in kind}
    assert given - {"NoVersion"} <= documented
    assert len(given) > 30
