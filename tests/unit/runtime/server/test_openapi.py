"""The description of the inference port, held against what the server does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from types import SimpleNamespace as Served
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.environments import schemathesis

FUZZ = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
VALUES = (
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.floats(allow_nan=False, allow_infinity=False).filter(lambda value: not value.is_integer())
    | st.text(max_size=3)
    | st.lists(st.none(), max_size=1)
)
RIGHT = st.fixed_dictionaries(
    {
        "x": st.none() | st.floats(allow_nan=False, allow_infinity=False),
        "carrier": st.none() | st.text(),
        "flag": st.none() | st.booleans() | st.sampled_from([0, 1]),
    }
)
WRONG = st.dictionaries(st.sampled_from(["x", "carrier", "flag", "later"]), VALUES, max_size=4)


def test_a_row_s_fields_are_the_model_s_features(mixed: Served) -> None:
    document = mixed.get("/openapi.json").body
    record = document["components"]["schemas"]["Record"]
    assert set(record["required"]) == set(record["properties"]) == {"x", "carrier", "flag"}
    [example] = document["paths"]["/v2/models/flights/infer"]["post"]["requestBody"]["content"]["application/json"][
        "example"
    ]["rows"]
    assert mixed.infer({"rows": [example]}).status == 200


@FUZZ
@given(rows=st.lists(RIGHT, min_size=1, max_size=3) | st.lists(RIGHT | WRONG, max_size=3))
def test_rows_are_taken_if_and_only_if_the_description_has_them(mixed: Served, rows: list[Any]) -> None:
    schema = mixed.get("/openapi.json").body | {"$ref": "#/components/schemas/RowsRequest"}
    fits = jsonschema.Draft202012Validator(schema).is_valid({"rows": rows})
    assert mixed.infer({"rows": rows}).status == (200 if fits else 400)


def test_before_the_model_is_there_nothing_is_described(mixed: Served) -> None:
    mixed.state.predictor = None
    assert mixed.get("/openapi.json").status == 503


@pytest.mark.process
def test_schemathesis_finds_nothing(start: Callable[..., Any], models: ModuleType, tmp_path: Path) -> None:
    server = start(models.mixed(tmp_path / "model"))
    server.wait_ready()
    url = f"http://127.0.0.1:{server.port}/openapi.json"
    # A path with the version in it is the same as the one without, and the fuzzing run has both.
    few = ["--max-examples", "10", "--seed", "1", "--exclude-path-regex", "/versions/"]
    done = schemathesis(url, *few, seconds=300)
    assert done.returncode == 0, done.stdout
    assert "6 passed" in done.stdout
