"""Rows as records: taken as the model's schema says, refused by row and field, answered as records."""

from __future__ import annotations

from types import SimpleNamespace as Served
from typing import Any

import pytest

from .labelled import by_loss


def test_rows_are_answered_as_rows(binary: Served) -> None:
    answer = binary.infer({"rows": [{"a": 0.75, "b": 1}, {"b": None, "a": 0.25, "later": [{}]}], "id": "7"})
    assert answer.body == {
        "model_name": "flights",
        "model_version": "1",
        "id": "7",
        "rows": [
            {"prediction": "yes", "probabilities": {"no": 0.25, "yes": 0.75}},
            {"prediction": "no", "probabilities": {"no": 0.75, "yes": 0.25}},
        ],
    }


def test_kinds_of_a_schema(mixed: Served) -> None:
    rows = [
        {"x": 1, "carrier": "UA", "flag": True},
        {"x": 2.5, "carrier": None, "flag": 1},
        {"x": 2.5, "carrier": "never seen", "flag": False},
        {"x": None, "carrier": "UA", "flag": None},
    ]
    found = mixed.infer({"rows": rows}).body["rows"]
    assert [row["prediction"] for row in found] == [12.0, 3.5, 2.5, None]
    assert all(set(row) == {"prediction"} for row in found)


@pytest.mark.parametrize(
    ("names", "fields"),
    [
        (["predict"], {"prediction"}),
        (["predict_proba"], {"probabilities"}),
        (["label", "probabilities"], {"prediction", "probabilities"}),
    ],
)
def test_only_what_was_asked_for(binary: Served, names: list[str], fields: set[str]) -> None:
    answer = binary.infer({"rows": [{"a": 1, "b": 1}], "outputs": [{"name": name} for name in names]})
    assert set(answer.body["rows"][0]) == fields


def test_each_row_has_its_receipt_and_is_counted(binary: Served) -> None:
    answer = binary.infer({"rows": [{"a": 1, "b": 1}, {"a": 0, "b": 1}], "parameters": {"receipt": True}})
    labels = [{"receipt": row["receipt"], "label": "yes"} for row in answer.body["rows"]]
    assert binary.operate("/v2/models/flights/feedback", {"labels": labels}).body["accepted"] == 2
    [epoch] = binary.operate("/perennial/v1/epochs", {}).body["epochs"]
    [counts] = epoch["models"].values()
    assert (counts["rows"], by_loss(counts["labels"])) == (2, [1, 1])


X = {"x": 1.0, "carrier": "UA", "flag": True}


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "rows: there are none"),
        ({}, "rows: Expected `array`, got `object`"),
        ("x", "rows: Expected `array`, got `str`"),
        ([X, 3], "rows[1]: Expected `object`, got `int`; a row is an object with a field for each feature"),
        (
            [X, X | {"x": "1.0"}],
            "rows[1].x: Expected `float | null`, got `str`; the feature is numeric: send a number, or null",
        ),
        ([X | {"x": True}], "rows[0].x: Expected `float | null`, got `bool`; the feature is numeric"),
        (
            [X | {"carrier": 7}],
            "rows[0].carrier: Expected `str | null`, got `int`; the feature is categorical: send text",
        ),
        ([X | {"flag": "yes"}], "rows[0].flag: Expected "),
        ([X | {"flag": 2}], "rows[0].flag: Invalid enum value 2; the feature is boolean: send true or false"),
        ([X, {"x": 1.0, "carrier": "UA"}], "rows[1]: there is no field 'flag'; send null for a value that is missing"),
        (
            [{"x": 1.0, "Carrier": "UA"}],
            "rows[0]: there are no fields 'carrier', 'flag', but 'Carrier', which the model does not know; send null",
        ),
        ([X] * 100_001, "rows: Expected `array` of length <= 100000"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_row_and_field_are_named(mixed: Served, rows: Any, said: str) -> None:
    answer = mixed.infer({"rows": rows})
    assert (answer.status, said in answer.body["error"]) == (400, True), answer.body


def test_tensors_and_rows_do_not_mix(binary: Served) -> None:
    tensor = {"name": "x", "shape": [1, 2], "datatype": "FP64", "data": [1, 1]}
    answer = binary.infer({"rows": [{"a": 1, "b": 1}], "inputs": [tensor]})
    assert (answer.status, "both `inputs` and `rows`" in answer.body["error"]) == (400, True)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"rows":[{"a":1e999,"b":1}]}', "rows[0].a: Number out of range"),
        (b'{"rows":[{"a":NaN,"b":1}]}', "not valid JSON"),
        (b'{"rows":' + b"[" * 50_000, "not valid JSON"),
        (b'{"rows":[{"a":' + b"[" * 900 + b"]" * 900 + b"}]}", "rows[0].a: Expected `float | null`, got `array`"),
        (b'{"rows":[{"a":1,"\xc8":1}]}', "rows[0]: Object missing required field `b`; send null"),
        (b'{"rows":[{"a":1},{"\xc8":1}]}', "rows[0]: Object missing required field `b`; send null"),
    ],
    ids=["huge", "NaN", "deep", "nested", "no text", "a later one that is no text"],
)
def test_what_no_encoder_writes(binary: Served, body: bytes, said: str) -> None:
    answer = binary.infer(body)
    assert (answer.status, said in answer.body["error"]) == (400, True), answer.body
