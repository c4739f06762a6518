"""Whatever comes in, nothing comes out as a 5xx, and what was answered is counted."""

from __future__ import annotations

import gzip
import struct
from types import SimpleNamespace as Served
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

DATATYPES = ["FP16", "FP32", "FP64", "INT8", "INT64", "UINT64", "BOOL", "BYTES", "FP8"]
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
ROW_VALUES = (
    st.none() | st.floats(allow_nan=False) | st.integers(-(2**70), 2**70) | st.booleans() | st.sampled_from(["UA", ""])
)
TENSORS = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["a", "b", "x", "carrier", "flag", ""]),
        "shape": st.lists(st.integers(0, 3), max_size=3) | st.sampled_from([[1], [1, 2], [2, 2], [1, 1]]),
        "datatype": st.sampled_from(DATATYPES),
        "data": st.lists(ROW_VALUES, max_size=4) | st.lists(st.lists(ROW_VALUES, max_size=2), max_size=2),
    },
    optional={"parameters": JSON},
)
RECORDS = st.dictionaries(st.sampled_from(["a", "b", "x", "carrier", "flag", ""]), ROW_VALUES | JSON, max_size=5)
REQUESTS = st.fixed_dictionaries(
    {},
    optional={
        "inputs": st.lists(TENSORS, max_size=4),
        "rows": st.lists(RECORDS | JSON, max_size=4),
        "id": st.text(max_size=5),
        "parameters": st.fixed_dictionaries({}, optional={"receipt": st.booleans(), "other": JSON}),
        "outputs": st.lists(
            st.fixed_dictionaries({"name": st.sampled_from(["label", "predict", "prediction", "x"])}), max_size=2
        ),
    },
)
VALID = st.lists(st.tuples(*[st.none() | st.floats(allow_nan=False, allow_infinity=False)] * 2), min_size=1, max_size=5)
BODIES = (REQUESTS | JSON).map(msgspec.json.encode) | st.binary(max_size=50)
FUZZ = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=100)


@FUZZ
@given(body=BODIES)
def test_inference_never_fails(binary: Served, body: bytes) -> None:
    _check(binary, body)


@FUZZ
@given(body=BODIES)
def test_inference_of_mixed_rows_never_fails(mixed: Served, body: bytes) -> None:
    _check(mixed, body)


RAW = st.binary(max_size=40) | st.lists(st.floats(width=32), max_size=6).map(lambda v: struct.pack(f"<{len(v)}f", *v))
BINARY = st.tuples(
    st.sampled_from(["a", "b", "x", "carrier", "flag"]),
    st.lists(st.integers(0, 3), max_size=3) | st.sampled_from([[1], [1, 2], [2, 2], [2**50, 2]]),
    st.sampled_from(DATATYPES),
    RAW,
    st.integers(-2, 2) | st.just(0),
)


@FUZZ
@given(tensors=st.lists(BINARY, min_size=1, max_size=4), shift=st.integers(-3, 3) | st.just(0), output=st.booleans())
def test_bytes_never_fail(mixed: Served, tensors: list[Any], shift: int, output: bool) -> None:
    inputs = [
        {"name": name, "shape": shape, "datatype": datatype, "parameters": {"binary_data_size": len(raw) + more}}
        for name, shape, datatype, raw, more in tensors
    ]
    head = msgspec.json.encode({"inputs": inputs, "parameters": {"binary_data_output": output}})
    length = str(len(head) + shift).encode()
    answer = mixed.infer(head + b"".join(tensor[3] for tensor in tensors), json_length=length)
    assert answer.status in (200, 400)


@FUZZ
@given(body=BODIES | st.binary(max_size=60), encoding=st.sampled_from([b"gzip", b"deflate", b"br"]))
def test_compressed_bodies_never_fail(binary: Served, body: bytes, encoding: bytes) -> None:
    assert binary.infer(body, encoding=encoding).status in (400, 413, 415)
    if encoding == b"gzip":
        assert binary.infer(gzip.compress(body), encoding=encoding).status in (200, 400)


def _check(served: Served, body: bytes) -> None:
    before = served.operate("/perennial/v1/stats").body
    answer = served.infer(body)
    after = served.operate("/perennial/v1/stats").body
    rows = _rows_of(answer.body) if answer.status == 200 else 0
    assert answer.status in (200, 400)
    assert after["requests"] == before["requests"] + 1
    assert after["rows"] == before["rows"] + rows
    assert answer.status == 200 or answer.body["error"]


def _rows_of(answer: Any) -> int:
    return len(answer["rows"]) if "rows" in answer else answer["outputs"][0]["shape"][0]


@FUZZ
@given(rows=VALID)
def test_valid_rows_are_always_answered(binary: Served, rows: list[tuple[Any, Any]]) -> None:
    tensor = {"name": "x", "shape": [len(rows), 2], "datatype": "FP64", "data": rows}
    answer = binary.infer({"inputs": [tensor], "parameters": {"receipt": True}})
    assert answer.status == 200
    assert len(answer.body["parameters"]["receipts"]) == len(rows)
    records = binary.infer({"rows": [dict(zip("ab", row, strict=True)) for row in rows]}).body["rows"]
    assert [record["prediction"] for record in records] == answer.body["outputs"][0]["data"]


@FUZZ
@given(
    body=JSON.map(msgspec.json.encode) | st.binary(max_size=50),
    path=st.sampled_from(["/perennial/v1/epochs", "/v2/models/flights/feedback"]),
)
def test_the_control_port_never_fails(binary: Served, body: bytes, path: str) -> None:
    assert binary.operate(path, body).status in (200, 400)


@FUZZ
@given(
    labels=st.lists(
        st.fixed_dictionaries({"receipt": st.text(alphabet="AZaz09-_=", max_size=200), "label": JSON}) | JSON,
        max_size=4,
    )
)
def test_labels_are_judged_one_by_one(binary: Served, labels: list[Any]) -> None:
    verdict = binary.operate("/v2/models/flights/feedback", {"labels": labels}).body
    assert len(verdict["rejected"]) == len(labels)
    assert verdict["accepted"] == 0


@FUZZ
@given(path=st.text(max_size=40), method=st.sampled_from(["GET", "POST", "PUT", "FOO"]))
def test_any_path_is_answered(binary: Served, path: str, method: str) -> None:
    assert binary.get(path, method).status in (404, 405)
    assert binary.get("/v2/models/" + path, method).status in (200, 404, 405)
