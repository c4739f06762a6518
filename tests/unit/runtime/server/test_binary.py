"""The binary tensor extension and compressed bodies: bytes in, bytes out, and what can be wrong with them."""

from __future__ import annotations

import gzip
import struct
import zlib
from types import SimpleNamespace as Served
from typing import Any

import msgspec
import numpy as np
import pytest

Tensors = list[tuple[dict[str, Any], bytes]]


def binary_tensor(name: str, shape: list[int], raw: bytes, datatype: str = "FP64") -> tuple[dict[str, Any], bytes]:
    described = {"name": name, "shape": shape, "datatype": datatype, "parameters": {"binary_data_size": len(raw)}}
    return described, raw


def texts(*values: str) -> bytes:
    encoded = [value.encode() for value in values]
    return b"".join(struct.pack("<I", len(value)) + value for value in encoded)


def body_of(tensors: Tensors, **more: Any) -> tuple[bytes, bytes]:
    """The body and the value of its header."""
    head: bytes = msgspec.json.encode({"inputs": [described for described, _ in tensors], **more})
    return head + b"".join(raw for _, raw in tensors), str(len(head)).encode()


def infer(served: Served, tensors: Tensors, **more: Any) -> Any:
    body, length = body_of(tensors, **more)
    return served.infer(body, json_length=length)


def parts(answer: Any) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The JSON of a binary answer and its tensors' bytes by name."""
    name, _, length = answer.headers.strip().partition(b": ")
    assert name == b"Inference-Header-Content-Length"
    head = msgspec.json.decode(answer.raw[: int(length)])
    tail, found = answer.raw[int(length) :], {}
    for output in head["outputs"]:
        size = output.get("parameters", {}).get("binary_data_size", 0)
        if size:
            found[output["name"]], tail = tail[:size], tail[size:]
    assert tail == b""
    return head, found


ROWS = np.array([[0.75, 1], [0.25, 5]])
MATRIX = binary_tensor("x", [2, 2], ROWS.tobytes())


@pytest.mark.parametrize("datatype", ["f8", "f4", "f2"])
def test_a_matrix_comes_as_bytes(binary: Served, datatype: str) -> None:
    name = {"f8": "FP64", "f4": "FP32", "f2": "FP16"}[datatype]
    answer = infer(binary, [binary_tensor("x", [2, 2], ROWS.astype(datatype).tobytes(), name)], id="7")
    assert answer.body["id"] == "7"
    assert [output["data"] for output in answer.body["outputs"]] == [["yes", "no"], [0.25, 0.75, 0.75, 0.25]]


@pytest.mark.parametrize("kind", ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"])
def test_integers_of_every_size(mixed: Served, kind: str) -> None:
    largest = np.iinfo(kind).max
    datatype = f"{'UINT' if kind[0] == 'u' else 'INT'}{int(kind[1]) * 8}"
    answer = infer(
        mixed,
        [
            binary_tensor("x", [2], np.array([largest, 1], kind).tobytes(), datatype),
            binary_tensor("carrier", [2], texts("UA", ""), "BYTES"),
            binary_tensor("flag", [2], b"\x01\x00", "BOOL"),
        ],
    )
    assert answer.body["outputs"][0]["data"] == [float(largest) + 11, 1.0]


def test_bytes_and_json_mix_and_nan_is_missing(mixed: Served) -> None:
    given = {"name": "carrier", "shape": [2], "datatype": "BYTES", "data": ["UA", "ß"]}
    x = binary_tensor("x", [2], struct.pack("<2d", 2, float("nan")))
    answer = infer(mixed, [x, (given, b""), binary_tensor("flag", [2], b"\x00\x07", "BOOL")])
    assert answer.body["outputs"][0]["data"] == [12.0, None]


def test_a_tensor_that_the_model_does_not_know_is_passed_over(binary: Served) -> None:
    tensors = [
        binary_tensor("later", [1], b"\xff\xff", "BYTES"),
        binary_tensor("a", [1], struct.pack("<d", 0.75)),
        binary_tensor("b", [1], b"\x01", "INT8"),
    ]
    assert infer(binary, tensors).body["outputs"][0]["data"] == ["yes"]


@pytest.mark.parametrize(
    ("more", "as_bytes"),
    [
        ({"parameters": {"binary_data_output": True}}, {"label", "probabilities"}),
        ({"outputs": [{"name": "predict_proba", "parameters": {"binary_data": True}}]}, {"predict_proba"}),
        (
            {
                "parameters": {"binary_data_output": True},
                "outputs": [{"name": "label", "parameters": {"binary_data": False}}, {"name": "probabilities"}],
            },
            {"probabilities"},
        ),
        ({"outputs": [{"name": "label", "parameters": {"binary_data": True, "classification": 2}}]}, {"label"}),
    ],
)
def test_outputs_leave_as_bytes_where_asked_for(binary: Served, more: dict[str, Any], as_bytes: set[str]) -> None:
    answer = infer(binary, [MATRIX], **more)
    assert answer.status == 200
    head, found = parts(answer)
    assert set(found) == as_bytes
    assert all(("data" in output) != (output["name"] in as_bytes) for output in head["outputs"])
    expected = {"label": texts("yes", "no"), "probabilities": struct.pack("<4d", 0.25, 0.75, 0.75, 0.25)}
    expected["predict_proba"] = expected["probabilities"]
    assert found == {name: expected[name] for name in as_bytes}


def test_json_may_ask_for_bytes(binary: Served) -> None:
    tensor = {"name": "x", "shape": [2, 2], "datatype": "FP64", "data": [0.75, 1, 0.25, 5]}
    wanted = {"binary_data_output": True, "receipt": True}
    head, found = parts(binary.infer({"inputs": [tensor], "parameters": wanted}))
    assert found["label"] == texts("yes", "no")
    assert len(head["parameters"]["receipts"]) == 2


def test_what_came_as_bytes_is_counted_as_any_other(binary: Served) -> None:
    infer(binary, [MATRIX])
    [epoch] = binary.operate("/perennial/v1/epochs", {}).body["epochs"]
    [counts] = epoch["models"].values()
    assert counts["rows"] == 2


def _json(**changes: Any) -> dict[str, Any]:
    return MATRIX[0] | changes


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ([(_json(shape=[3, 2]), MATRIX[1])], "inputs[0]: has 32 bytes, but shape [3, 2] of FP64 needs 48"),
        ([(_json(shape=[2**50, 2]), MATRIX[1])], "inputs[0].shape: has 1125899906842624 rows"),
        ([(_json(datatype="FP32"), MATRIX[1])], "inputs[0]: has 32 bytes, but shape [2, 2] of FP32 needs 16"),
        ([(MATRIX[0], MATRIX[1][:-1])], "inputs[0].parameters.binary_data_size: is 32, but only 31 bytes are left"),
        ([(MATRIX[0], MATRIX[1] + b"xyz")], "3 bytes at the end of the body belong to no tensor"),
        ([(_json(parameters={}), MATRIX[1])], "32 bytes at the end of the body belong to no tensor"),
        ([(_json(parameters=None), b"")], "inputs[0]: Object missing required field `data`"),
        ([(_json(data=[1, 2, 3, 4]), MATRIX[1])], "inputs[0].parameters.binary_data_size: is there beside `data`"),
        ([(_json(parameters={"binary_data_size": -1}), b"")], "inputs[0].parameters.binary_data_size: Expected"),
        ([(_json(parameters={"binary_data_size": 2**54}), b"")], "inputs[0].parameters.binary_data_size: Expected"),
        ([(_json(parameters={"binary_data_size": "8"}), b"")], "inputs[0].parameters.binary_data_size: Expected `int"),
        (
            [binary_tensor("x", [1, 2], struct.pack("<2d", 1, float("inf")))],
            "inputs[0].data[1]: is infinite; a missing value is NaN",
        ),
        ([binary_tensor("x", [1, 2], struct.pack("<2e", float("-inf"), 1), "FP16")], "inputs[0].data[0]: is infinite"),
        ([binary_tensor("x", [1, 2], texts("1", "2"), "BYTES")], "inputs[0].datatype: feature 'a' is numeric"),
    ],
)
def test_bytes_that_do_not_fit_are_named(binary: Served, tensors: Tensors, said: str) -> None:
    answer = infer(binary, tensors)
    assert (answer.status, said in answer.body["error"]) == (400, True), answer.body


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (texts("UA"), "inputs[0]: has 6 bytes, which 2 values of shape [2] exceed"),
        (texts("UAxxxx"), "inputs[0].data[1]: the bytes end before the value does"),
        (texts("UA") + b"\xff\xff\xff\xff", "inputs[0].data[1]: its length exceeds the bytes that there are"),
        (texts("UA", "DL", "AA"), "inputs[0]: has 6 bytes more than its 2 values take"),
        (
            texts("UA") + b"\x01\x00\x00\x00\xff",
            "inputs[0].data[1]: is not text in UTF-8: invalid start byte at byte 0",
        ),
    ],
)
def test_texts_that_are_cut_wrongly_are_named(mixed: Served, raw: bytes, said: str) -> None:
    x, flag = binary_tensor("x", [2], bytes(16)), binary_tensor("flag", [2], b"\x00\x01", "BOOL")
    answer = infer(mixed, [binary_tensor("carrier", [2], raw, "BYTES"), x, flag])
    assert (answer.status, said in answer.body["error"]) == (400, True), answer.body


@pytest.mark.parametrize("length", [b"", b"x", b"-1", b"1.5", b"9" * 30, b"\xb2", b"100000"])
def test_a_wrong_length_of_the_json_is_named(binary: Served, length: bytes) -> None:
    answer = binary.infer(body_of([MATRIX])[0], json_length=length)
    assert (answer.status, "Inference-Header-Content-Length: " in answer.body["error"]) == (400, True)


def test_bytes_without_the_header_are_not_json(binary: Served) -> None:
    assert binary.infer(body_of([MATRIX])[0]).status == 400


BARE = zlib.compressobj(wbits=-15)
JSON_BODY = msgspec.json.encode({"inputs": [MATRIX[0] | {"data": [0.75, 1, 0.25, 5], "parameters": {}}]})


@pytest.mark.parametrize(
    ("encoding", "compress"),
    [
        (b"gzip", gzip.compress),
        (b"deflate", zlib.compress),
        (b"deflate", lambda data: BARE.copy().compress(data) + _flushed(data)),
        (b"identity", lambda data: data),
    ],
    ids=["gzip", "deflate", "deflate without header", "identity"],
)
def test_bodies_come_compressed(binary: Served, encoding: bytes, compress: Any) -> None:
    answer = binary.infer(compress(JSON_BODY), encoding=encoding)
    assert answer.body["outputs"][0]["data"] == ["yes", "no"]
    body, length = body_of([MATRIX])
    answer = binary.infer(compress(body), encoding=encoding, json_length=length)
    assert answer.body["outputs"][0]["data"] == ["yes", "no"]


def _flushed(data: bytes) -> bytes:
    packer = BARE.copy()
    packer.compress(data)
    return packer.flush()


@pytest.mark.parametrize(
    ("body", "encoding", "status", "said"),
    [
        (gzip.compress(bytes(2**20 + 1)), b"gzip", 413, "1048576 bytes"),
        (zlib.compress(bytes(2**26)), b"deflate", 413, "1048576 bytes"),
        (gzip.compress(JSON_BODY)[:-9], b"gzip", 400, "ends before its end"),
        (gzip.compress(JSON_BODY) * 2, b"gzip", 400, "bytes follow the compressed body"),
        (JSON_BODY, b"gzip", 400, "not what content-encoding says"),
        (JSON_BODY, b"deflate", 400, "not what content-encoding says"),
        (b"", b"gzip", 400, "ends before its end"),
        (JSON_BODY, b"br", 415, "there are gzip and deflate"),
        (JSON_BODY, b"gzip, gzip", 415, "there are gzip and deflate"),
    ],
    ids=["bomb", "deflate bomb", "cut", "two members", "plain", "plain deflate", "empty", "unknown", "twice"],
)
def test_what_cannot_be_inflated_is_refused(
    binary: Served, body: bytes, encoding: bytes, status: int, said: str
) -> None:
    answer = binary.infer(body, encoding=encoding)
    assert (answer.status, said in answer.body["error"]) == (status, True), answer.body
