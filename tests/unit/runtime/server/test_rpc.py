"""gRPC's methods, from bytes to bytes: the same answers, refusals and counts as over HTTP."""

from __future__ import annotations

import asyncio
import struct
from types import SimpleNamespace as Served
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perennial.runtime.server.refusal import Refusal
from perennial.runtime.server.rpc.messages import health, message
from perennial.runtime.server.rpc.service import HEALTH_SERVICE, INFERENCE_SERVICE, Service

from .labelled import by_loss


def call(served: Served, method: str, data: bytes, service: str = INFERENCE_SERVICE) -> bytes:
    methods = Service(served.state, served.meter, served.admission).methods[service]

    async def awaited() -> bytes:
        return await methods[method](data)

    return asyncio.run(awaited())


def ask(served: Served, method: str, **fields: Any) -> Any:
    data = call(served, method, message(f"{method}Request")(**fields).SerializeToString())
    return message(f"{method}Response").FromString(data)


def infer(served: Served, *inputs: dict[str, Any], **fields: Any) -> Any:
    return ask(served, "ModelInfer", **{"model_name": "flights", "inputs": inputs} | fields)


def refused(served: Served, *inputs: dict[str, Any], **fields: Any) -> tuple[int, str]:
    with pytest.raises(Refusal) as refusal:
        infer(served, *inputs, **fields)
    return refusal.value.status, refusal.value.message


def typed(name: str, shape: list[int], datatype: str, **contents: Any) -> dict[str, Any]:
    return {"name": name, "shape": shape, "datatype": datatype, "contents": contents}


def outputs(response: Any) -> dict[str, tuple[str, list[int], bytes]]:
    pairs = zip(response.outputs, response.raw_output_contents, strict=True)
    return {output.name: (output.datatype, list(output.shape), raw) for output, raw in pairs}


ROWS = np.array([[0.75, 1], [0.25, 5]])
MATRIX = {"name": "x", "shape": [2, 2], "datatype": "FP64"}
ANSWERED = {
    "label": ("BYTES", [2], b"\x03\0\0\0yes\x02\0\0\0no"),
    "probabilities": ("FP64", [2, 2], struct.pack("<4d", 0.25, 0.75, 0.75, 0.25)),
}


def test_raw_contents_are_answered_raw(binary: Served) -> None:
    response = infer(binary, MATRIX, raw_input_contents=[ROWS.tobytes()], id="7")
    assert (response.model_name, response.model_version, response.id) == ("flights", "1", "7")
    assert outputs(response) == ANSWERED


@pytest.mark.parametrize(
    ("datatype", "field"),
    [("FP64", "fp64_contents"), ("FP32", "fp32_contents")],
)
def test_typed_contents_of_a_matrix(binary: Served, datatype: str, field: str) -> None:
    response = infer(binary, typed("x", [2, 2], datatype, **{field: ROWS.ravel().tolist()}), model_version="1")
    assert outputs(response) == ANSWERED


@pytest.mark.parametrize(
    ("datatype", "field"),
    [
        ("INT8", "int_contents"),
        ("INT32", "int_contents"),
        ("INT64", "int64_contents"),
        ("UINT8", "uint_contents"),
        ("UINT32", "uint_contents"),
        ("UINT64", "uint64_contents"),
        ("BOOL", "bool_contents"),
    ],
)
def test_typed_contents_of_features(mixed: Served, datatype: str, field: str) -> None:
    response = infer(
        mixed,
        typed("x", [2], datatype, **{field: [1, 0]}),
        typed("carrier", [2], "BYTES", bytes_contents=[b"UA", "ß".encode()]),
        typed("flag", [2, 1], "BOOL", bool_contents=[True, False]),
    )
    assert outputs(response) == {"prediction": ("FP64", [2], struct.pack("<2d", 12, 0))}


def test_receipts_are_an_output_and_count(binary: Served) -> None:
    response = infer(
        binary,
        MATRIX,
        raw_input_contents=[ROWS.tobytes()],
        parameters={"receipt": {"bool_param": True}},
        outputs=[{"name": "predict"}],
    )
    assert [output.name for output in response.outputs] == ["predict", "receipts"]
    raw = response.raw_output_contents[1]
    receipt = raw[4 : 4 + int.from_bytes(raw[:4], "little")].decode()
    labels = {"labels": [{"receipt": receipt, "label": "no"}]}
    assert binary.operate("/v2/models/flights/feedback", labels).body["accepted"] == 1
    [epoch] = binary.operate("/perennial/v1/epochs", {}).body["epochs"]
    [counts] = epoch["models"].values()
    assert (counts["rows"], by_loss(counts["labels"])) == (2, [0, 1])
    stats = binary.operate("/perennial/v1/stats").body
    assert (stats["requests"], stats["rows"], stats["in_flight"]) == (1, 2, 0)


REFUSED: list[tuple[list[dict[str, Any]], dict[str, Any], int, str]] = [
    ([], {}, 400, "inputs: there are none"),
    ([MATRIX], {"model_name": "other"}, 404, "there is no model 'other' here"),
    ([MATRIX], {"model_version": "2"}, 404, "has no version '2' here"),
    ([MATRIX | {"datatype": "FP8"}], {}, 400, "inputs[0].datatype: Invalid value 'FP8'; known are FP64"),
    ([MATRIX | {"shape": [-1, 2]}], {}, 400, "inputs[0].shape: is [-1, 2]: no size is negative"),
    ([MATRIX | {"shape": [2**62, 2]}], {}, 400, "inputs[0].shape: has 4611686018427387904 rows"),
    ([MATRIX], {}, 400, "inputs[0].contents.fp64_contents: has 0 values, but shape [2, 2] needs 4"),
    ([MATRIX], {"raw_input_contents": [b"", b""]}, 400, "raw_input_contents: has 2 tensors, but there are 1 inputs"),
    ([MATRIX], {"raw_input_contents": [b"123"]}, 400, "inputs[0]: has 3 bytes, but shape [2, 2] of FP64 needs 32"),
    ([typed("x", [1, 2], "FP64", int_contents=[1, 2])], {}, 400, "fp64_contents: has 0 values"),
    ([typed("x", [1, 2], "FP16")], {}, 400, "inputs[0].contents: FP16 has none: send it in raw_input_contents"),
    ([typed("x", [1, 2], "UINT8", uint_contents=[1, 256])], {}, 400, "uint_contents[1]: is out of the range of UINT8"),
    ([typed("x", [1, 2], "FP64", fp64_contents=[1, float("inf")])], {}, 400, "data[1]: is infinite"),
    (
        [typed("x", [2, 2], "FP64", fp64_contents=[1] * 4)],
        {"raw_input_contents": [ROWS.tobytes()]},
        400,
        "inputs[0].contents: is there beside raw_input_contents",
    ),
    ([MATRIX], {"parameters": {"receipt": {"string_param": "yes"}}}, 400, "parameters.receipt: send it as bool_param"),
    (
        [MATRIX],
        {"raw_input_contents": [ROWS.tobytes()], "outputs": [{"name": "odds"}]},
        400,
        "outputs[0].name: 'odds' is not an output",
    ),
]


@pytest.mark.parametrize(("inputs", "fields", "status", "said"), REFUSED, ids=[said[:50] for *_, said in REFUSED])
def test_what_is_wrong_is_named(
    binary: Served, inputs: list[dict[str, Any]], fields: dict[str, Any], status: int, said: str
) -> None:
    found, words = refused(binary, *inputs, **fields)
    assert (found, said in words) == (status, True), words
    stats = binary.operate("/perennial/v1/stats").body
    assert (stats["requests"], stats["rows"], stats["in_flight"]) == (1, 0, 0)


def test_bytes_that_are_no_text(mixed: Served) -> None:
    status, said = refused(
        mixed,
        typed("x", [1], "FP64", fp64_contents=[1]),
        typed("carrier", [1], "BYTES", bytes_contents=[b"\xff"]),
        typed("flag", [1], "BOOL", bool_contents=[True]),
    )
    assert (status, "inputs[1].contents.bytes_contents[0]: is not text in UTF-8" in said) == (400, True)


def test_overload_and_a_model_that_is_not_there_are_503(binary: Served) -> None:
    arrivals = [binary.meter.arrive() for _ in range(8)]
    assert refused(binary, MATRIX)[0] == 503
    for arrived in arrivals:
        binary.meter.leave(arrived, 200)
    binary.state.predictor = None
    assert refused(binary, MATRIX)[0] == 503
    assert (ask(binary, "ServerLive").live, ask(binary, "ServerReady").ready) == (True, False)


def test_what_a_client_waits_no_more_for_is_not_predicted(binary: Served) -> None:
    method = Service(binary.state, binary.meter, binary.admission).methods[INFERENCE_SERVICE]["ModelInfer"]
    data = message("ModelInferRequest")(
        model_name="flights", inputs=[typed("x", [1, 2], "FP64", fp64_contents=[0.75, 1])]
    ).SerializeToString()

    async def leave() -> None:
        call = asyncio.ensure_future(method(data))
        asyncio.get_running_loop().call_soon(call.cancel)
        with pytest.raises(asyncio.CancelledError):
            await call

    asyncio.run(leave())
    stats = binary.operate("/perennial/v1/stats").body
    assert (stats["requests"], stats["rows"], stats["in_flight"]) == (1, 0, 0)


def test_health_and_metadata(mixed: Served) -> None:
    assert ask(mixed, "ServerLive").live
    assert ask(mixed, "ServerReady").ready
    assert ask(mixed, "ModelReady", name="flights", version="1").ready
    assert ask(mixed, "ServerMetadata").name == "perennial"
    described = ask(mixed, "ModelMetadata", name="flights")
    assert [(tensor.name, tensor.datatype, list(tensor.shape)) for tensor in described.inputs] == [
        ("x", "FP64", [-1]),
        ("carrier", "BYTES", [-1]),
        ("flag", "BOOL", [-1]),
    ]
    assert (list(described.versions), described.properties["engine"]) == (["1"], "onnx")
    for method in ("ModelReady", "ModelMetadata"):
        with pytest.raises(Refusal, match="there is no model"):
            ask(mixed, method, name="other")


@pytest.mark.parametrize(("service", "draining", "status"), [("", False, 1), ("flights", False, 1), ("", True, 2)])
def test_the_standard_health_check(mixed: Served, service: str, draining: bool, status: int) -> None:
    mixed.state.draining = draining
    data = health("HealthCheckRequest")(service=service).SerializeToString()
    answer = call(mixed, "Check", data, HEALTH_SERVICE)
    assert health("HealthCheckResponse").FromString(answer).status == status


def test_the_health_of_what_is_not_here(mixed: Served) -> None:
    data = health("HealthCheckRequest")(service="other").SerializeToString()
    with pytest.raises(Refusal, match="there is no service 'other' here"):
        call(mixed, "Check", data, HEALTH_SERVICE)


FUZZ = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
CONTENTS = st.fixed_dictionaries(
    {},
    optional={
        "bool_contents": st.lists(st.booleans(), max_size=4),
        "int_contents": st.lists(st.integers(-(2**31), 2**31 - 1), max_size=4),
        "uint64_contents": st.lists(st.integers(0, 2**64 - 1), max_size=4),
        "fp32_contents": st.lists(st.floats(width=32), max_size=4),
        "fp64_contents": st.lists(st.floats(), max_size=4),
        "bytes_contents": st.lists(st.binary(max_size=4), max_size=4),
    },
)
INPUTS = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["x", "carrier", "flag", ""]),
        "shape": st.lists(st.integers(-(2**63), 2**63 - 1), max_size=3) | st.sampled_from([[1], [2], [1, 1], [0]]),
        "datatype": st.sampled_from(["FP64", "FP32", "FP16", "INT8", "UINT64", "BOOL", "BYTES", "FP8", ""]),
    },
    optional={"contents": CONTENTS},
)


@FUZZ
@given(
    inputs=st.lists(INPUTS, max_size=4),
    raw=st.lists(st.binary(max_size=24), max_size=4),
    receipt=st.booleans(),
)
def test_messages_never_fail(mixed: Served, inputs: list[Any], raw: list[bytes], receipt: bool) -> None:
    request = message("ModelInferRequest")(
        model_name="flights",
        inputs=inputs,
        raw_input_contents=raw,
        parameters={"receipt": {"bool_param": receipt}},
    )
    _check(mixed, request.SerializeToString())


@FUZZ
@given(data=st.binary(max_size=200))
def test_any_bytes_never_fail(mixed: Served, data: bytes) -> None:
    _check(mixed, data)


def _check(served: Served, data: bytes) -> None:
    before = served.operate("/perennial/v1/stats").body["requests"]
    assert _status(served, data) in (200, 400, 404)
    assert served.operate("/perennial/v1/stats").body["requests"] == before + 1


def _status(served: Served, data: bytes) -> int:
    try:
        answer = message("ModelInferResponse").FromString(call(served, "ModelInfer", data))
    except Refusal as refusal:
        return refusal.status
    return 200 if answer.outputs else 500
