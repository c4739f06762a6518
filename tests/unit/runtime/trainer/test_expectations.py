"""Rules for the rows: each breach is told with its rows, all of them at once, and what a version's rows were like."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from perennial.runtime.failures import INPUT_EXIT, InputError
from perennial.runtime.trainer import data_report
from perennial.runtime.trainer.columns import Column
from perennial.runtime.trainer.expectations import Breach, breaches
from perennial.runtime.trainer.inferred import inferred
from perennial.runtime.trainer.rows import Rows
from perennial.runtime.trainer.termination import message
from perennial.wire.result import Failure, Result
from perennial.wire.run import Expectation
from perennial.wire.schema import Feature
from tests.unit.runtime.trainer.world import World, flights


def found(values: Any, /, *more: Any, within: list[int] | None = None, **rules: Any) -> list[Breach]:
    pieces = [pd.Series(each) for each in (values, *more)]
    column = Column("x", pieces, [(f"{chr(97 + place)}.csv", len(piece)) for place, piece in enumerate(pieces)])
    rows = np.arange(sum(map(len, pieces))) if within is None else np.array(within)
    return breaches(column, Expectation(**rules), rows)


def told(values: Any, /, *more: Any, **rules: Any) -> list[tuple[str, int, list[str]]]:
    return [(breach.rule, breach.rows, breach.values) for breach in found(values, *more, **rules)]


@pytest.mark.parametrize(
    ("values", "rules", "expected"),
    [
        ([1.0, 2.0, None], {"min": 1, "max": 2, "type": "Number"}, []),
        ([1.0, -3.0, 9.5, -3.0], {"min": 0, "max": 9}, [("min 0", 2, ["-3 (2)"]), ("max 9", 1, ["9.5"])]),
        (["1", "far", "2.5"], {"max": 2}, [("type Number", 1, ["'far'"]), ("max 2", 1, ["'2.5'"])]),
        ([True, False], {"min": 0}, [("type Number", 2, ["True", "False"])]),
        ([np.inf, 1.0], {"max": 5}, [("max 5", 1, ["inf"])]),
        (["AA", "ZZ", None, "ZZ"], {"values": ["AA", "UA"]}, [("values AA, UA", 2, ["'ZZ' (2)"])]),
        ([1, 2, 3], {"values": ["1", "2.0"]}, [("values 1, 2.0", 1, ["3"])]),
        ([True, False], {"values": ["true"]}, [("values true", 1, ["False"])]),
        (["a", "", None, "b"], {"nulls": 0.5}, []),
        (["a", "", None, "b"], {"nulls": 0.005}, [("nulls at most 0.5%", 2, [])]),
        ([None, None], {"nulls": 0.0, "values": ["a"]}, [("nulls at most 0%", 2, [])]),
        (["a", "b", "a", "a", None, None], {"unique": True}, [("unique", 2, ["'a' (2)"])]),
        (["2026-01-01", "2026-01-02T10:00:00Z", "soon"], {"type": "Date"}, [("type Date", 1, ["'soon'"])]),
        (["x", "1"], {"type": "Text"}, []),
        ([1, 2], {"type": "Text"}, [("type Text", 2, ["1", "2"])]),
        (["true", "FALSE", "1"], {"type": "Boolean"}, [("type Boolean", 1, ["'1'"])]),
    ],
)
def test_each_rule_finds_what_breaks_it(values: list[Any], rules: dict[str, Any], expected: list[Any]) -> None:
    assert told(values, **rules) == expected
    assert told(pd.Series(values).astype("category"), **rules) == expected, "as Parquet's texts come"


def test_dates_of_parquet_are_dates() -> None:
    days = pd.date_range("2026-01-01", periods=3).tolist()
    assert told(days, type="Date") == []
    assert told(days, type="Number")[0][:2] == ("type Number", 3)


def test_rows_are_named_by_file_and_counted_over_all_of_them() -> None:
    (breach,) = found([1, 2, 99], [1, 98], max=10)
    assert breach.first == ["a.csv, row 3", "b.csv, row 2"]
    assert str(breach) == "x: max 10: 2 of 5 rows (40.00%): 99, 98; first a.csv, row 3"


def test_files_may_differ_in_type_and_the_rule_says_whose_is_wrong() -> None:
    (breach,) = found([1, 2], ["3", "x"], type="Number")
    assert (breach.rows, breach.first) == (1, ["b.csv, row 2"])


def test_only_rows_within_the_window_count() -> None:
    assert found([99, 1, 1], within=[1, 2], max=10) == []
    (breach,) = found([1, 99, 1, 1], within=[1, 2], max=10)
    assert (breach.rows, breach.looked_at, breach.first) == (1, 2, ["a.csv, row 2"])


RULES = {
    "carrier": Expectation(values=["AA", "BB", "CC"], nulls=0.01),
    "distance": Expectation(min=0, max=1000),
    "scheduled": Expectation(type="Date"),
}


def test_data_that_breaks_rules_fails_the_run_with_every_breach(world: World) -> None:
    with pytest.raises(InputError) as caught:
        world.train(expect=RULES)
    failure = caught.value
    assert (failure.reason, failure.exit_code) == ("DataRejected", INPUT_EXIT)
    assert failure.message.startswith("data.expect: 2 rules are broken; carrier: nulls at most 1%: ")
    assert "; distance: max 1000: " in failure.message
    place = f"{world.root}/store/air/flights-abc123/v1/data-report.json"
    assert failure.message.endswith(f"; the whole report: file://{place}")
    with open(place) as file:
        report = json.load(file)
    rows = flights()
    assert [(breach["column"], breach["rows"], breach["lookedAt"]) for breach in report["breaches"]] == [
        ("carrier", int(rows.carrier.isna().sum()), 400),
        ("distance", int((rows.distance > 1000).sum()), 400),
    ]
    assert report["files"][0]["sha256"]
    assert any(line.startswith("expect: distance: max 1000") for line in world.said)


def test_mended_data_is_published_where_the_report_lay(world: World) -> None:
    with pytest.raises(InputError):
        world.train(expect=RULES)
    loose = {"carrier": Expectation(nulls=0.5)}
    assert world.version(world.train(expect=loose)).manifest.result.outcome == "Accepted"
    assert "expect: 400 rows keep every rule" in world.said


def test_a_column_with_rules_need_not_be_a_feature(world: World) -> None:
    result = world.train(features=["hour"], expect={"distance": Expectation(min=0)})
    schema = json.loads(world.version(result).read("schema.json"))
    assert [feature["name"] for feature in schema["features"]] == ["hour"]


def test_a_rule_for_a_column_that_is_not_there_is_told(world: World) -> None:
    with pytest.raises(InputError, match=r"data\.expect\.columns: .* no column 'distanc'; did you mean distance"):
        world.train(expect={"distanc": Expectation(min=0)})


def test_a_store_that_does_not_take_the_report_hides_no_breach(world: World) -> None:
    (world.root / "store").write_text("in the way")
    with pytest.raises(InputError) as caught:
        world.train(expect=RULES)
    assert caught.value.reason in ("DataRejected", "StoreUnreachable")


def test_many_breaches_stay_within_a_termination_message() -> None:
    breach = Breach(
        "é" * 40, "max 10", 3, 400, ["'" + "ü" * 70 + "'"] * 5, ["s3://lake/a/very/long/name.csv, row 1"] * 9
    )
    told = data_report._message([breach] * 50, "s3://models/air/flights-abc123/v1/data-report.json")
    assert len(told) <= data_report.MESSAGE_LIMIT + 100
    assert "; and 4" in told
    said = message(Result(version=1, outcome="Failed", failure=Failure("DataRejected", told)))
    assert json.loads(said)["failure"]["message"] == told


def test_what_the_rows_were_like_is_told_in_the_form_of_rules() -> None:
    frame = pd.DataFrame({
        "carrier": pd.Series(["AA", "", "BB"], dtype=object), "distance": [1.5, np.nan, 3.0], "wet": [0.0, 1.0, 1.0],
    })  # fmt: skip
    rows = Rows(frame, np.array([True, False, True]), "classification", np.arange(3))
    features = [Feature("carrier", "categorical"), Feature("distance", "numeric"), Feature("wet", "boolean")]
    assert inferred(rows, features, "late") == {
        "rows": 3,
        "columns": {
            "carrier": {"type": "Text", "nulls": "33.34%", "values": ["AA", "BB"]},
            "distance": {"type": "Number", "nulls": "33.34%", "min": 1.5, "max": 3.0},
            "wet": {"type": "Boolean", "nulls": "0%"},
            "late": {"values": ["false", "true"]},
        },
    }


def test_the_rows_of_a_version_keep_what_was_inferred_of_them(world: World) -> None:
    version = world.version(world.train())
    columns = json.loads(version.read("expectations.json"))["columns"]
    assert set(columns) == {"carrier", "distance", "hour", "wet", "late"}
    rules = {
        name: Expectation(**{**rule, "nulls": float(rule.get("nulls", "100%")[:-1]) / 100})
        for name, rule in columns.items()
    }
    assert world.train(version=2, expect=rules).outcome == "Accepted"
