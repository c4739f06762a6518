"""The inference port's answers, request by request: what is taken, what is refused and in which words."""

from __future__ import annotations

import asyncio
import math
import time
from types import SimpleNamespace as Served
from typing import Any

import msgspec
import pytest

from perennial.runtime.server.http import Reply, Request


def tensor(name: str, shape: list[int], data: list[Any], datatype: str = "FP64") -> dict[str, Any]:
    return {"name": name, "shape": shape, "datatype": datatype, "data": data}


def request(*inputs: Any, **more: Any) -> dict[str, Any]:
    return {"inputs": list(inputs), **more}


ONE = tensor("x", [1, 2], [0.75, 1])


@pytest.mark.parametrize(
    "inputs",
    [
        [tensor("x", [2, 2], [0.75, 1, 0.25, 5])],
        [tensor("x", [2, 2], [[0.75, 1], [0.25, 5]])],
        [tensor("x", [2, 2], [[0.75, 1], [0.25, 5]], "FP32")],
        [tensor("a", [2], [0.75, 0.25]), tensor("b", [2], [1, 5], "INT64")],
        [tensor("b", [2, 1], [[1], [5]], "UINT8"), tensor("a", [2, 1], [0.75, 0.25])],
        [
            tensor("b", [2], [True, False], "BOOL"),
            tensor("a", [2], [0.75, 0.25]),
            tensor("later", [2], ["x", "y"], "BYTES"),
        ],
    ],
    ids=["flat", "nested", "FP32", "named", "named columns", "more than the model knows"],
)
def test_rows_come_in_every_shape_of_the_protocol(binary: Served, inputs: list[Any]) -> None:
    answer = binary.infer(request(*inputs, id="7"))
    assert answer.status == 200
    assert answer.body == {
        "model_name": "flights",
        "model_version": "1",
        "id": "7",
        "outputs": [
            {"name": "label", "shape": [2], "datatype": "BYTES", "data": ["yes", "no"]},
            {"name": "probabilities", "shape": [2, 2], "datatype": "FP64", "data": [0.25, 0.75, 0.75, 0.25]},
        ],
    }


def test_null_is_missing(binary: Served) -> None:
    assert binary.infer(request(tensor("x", [1, 2], [None, None]))).body["outputs"][0]["data"] == ["no"]


def test_mixed_features_come_by_name(mixed: Served) -> None:
    inputs = [
        tensor("x", [3], [1, 2, None]),
        tensor("carrier", [3], ["UA", "never seen", None], "BYTES"),
        tensor("flag", [3], [True, None, False], "BOOL"),
    ]
    [output] = mixed.infer(request(*inputs)).body["outputs"]
    assert output == {"name": "prediction", "shape": [3], "datatype": "FP64", "data": [12.0, None, None]}


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["predict"], ["predict"]),
        (["probabilities", "label"], ["probabilities", "label"]),
        (["predict_proba"], ["predict_proba"]),
        ([], ["label", "probabilities"]),
    ],
)
def test_outputs_are_those_asked_for(binary: Served, names: list[str], found: list[str]) -> None:
    answer = binary.infer(request(ONE, outputs=[{"name": name} for name in names]))
    assert [output["name"] for output in answer.body["outputs"]] == found


REFUSED: list[tuple[Any, str]] = [
    (b"", "not valid JSON"),
    (b"{", "not valid JSON"),
    (b"\xff", "not valid JSON"),
    (b"[]", "Expected `object`, got `array`"),
    ({}, "there are no rows: send them as tensors in `inputs`, or as records in `rows`"),
    ({"inputs": []}, "inputs: Expected `array` of length >= 1"),
    ({"inputs": None}, "inputs: Expected `array`, got `null`"),
    ({"inputs": [3]}, "inputs[0]: Expected `object`, got `int`"),
    (request({"shape": [1, 2], "datatype": "FP64", "data": [1, 2]}), "inputs[0]: Object missing required field `name`"),
    (request({"name": "x", "datatype": "FP64", "data": [1, 2]}), "inputs[0]: Object missing required field `shape`"),
    (request({"name": "x", "shape": [1, 2], "data": [1, 2]}), "inputs[0]: Object missing required field `datatype`"),
    (request({"name": "x", "shape": [1, 2], "datatype": "FP64"}), "inputs[0]: Object missing required field `data`"),
    (request(tensor("x", [1, 2], [1, 2], "FLOAT")), "inputs[0].datatype: Invalid value 'FLOAT'; known are FP64, FP32"),
    (request(tensor("x", [1, 2], [1, "2"])), "inputs[0].data[1]: Expected `float | array | null`, got `str`"),
    (request(tensor("x", [1, 2], [1, True])), "inputs[0].data[1]: "),
    (request(tensor("x", [1, 2], [[1, "2"]])), "inputs[0].data[0][1]: "),
    (request(tensor("x", [1, 2], [1, 2.5], "INT64")), "inputs[0].data[1]: "),
    (request(tensor("x", [1, 2], [1, 300], "UINT8")), "inputs[0].data[1]: Expected `int` <= 255"),
    (request(tensor("x", [1, 2], [1, 2**64], "UINT64")), "inputs[0].data[1]: is out of the range of its datatype"),
    (request(tensor("x", [1, 2], [1, 2**63], "INT64")), "inputs[0].data[1]: "),
    (request(tensor("x", [1, 2], [1, 2, 3])), "inputs[0].data: has 3 values, but shape [1, 2] needs 2"),
    (request(tensor("x", [1, 2], [[1], [2]])), "inputs[0].data: is nested as [2, 1], but shape is [1, 2]"),
    (request(tensor("x", [2, 2], [[1, 2], [3]])), "inputs[0].data[1]: has 1 values"),
    (request(tensor("x", [2, 2], [[1, 2], 3])), "inputs[0].data[1]: nested and flat values are mixed"),
    (request(tensor("x", [1, -2], [1, 2])), "inputs[0].shape[1]: Expected `int` >= 0"),
    (request(tensor("x", [100_000, 2], [1, 2])), "inputs[0].data: has 2 values"),
    (request(tensor("x", [2**53, 2], [1, 2])), "inputs[0].shape: has 9007199254740992 rows; send at most 100000"),
    (request(tensor("b", [100_001], []), tensor("a", [1], [1])), "inputs[0].shape: has 100001 rows"),
    (
        request(tensor("x", [1, 3], [1, 2, 3])),
        "inputs[0].shape: is [1, 3], but the model takes [rows, 2], columns 'a', 'b'",
    ),
    (request(tensor("x", [2], [1, 2])), "inputs[0].shape: is [2], but the model takes [rows, 2]"),
    (request(tensor("x", [], [])), "inputs[0].shape: "),
    (request(tensor("x", [0, 2], [])), "inputs[0].shape: there are no rows"),
    (request(tensor("x", [1, 2], ["1", "2"], "BYTES")), "inputs[0].datatype: feature 'a' is numeric"),
    (request(tensor("a", [1], [1])), "inputs: there is no tensor for feature 'b'"),
    (request(tensor("p", [1], [1]), tensor("q", [1], [1])), "inputs: there is no tensor for features 'a', 'b'"),
    (request(tensor("a", [1], [1]), tensor("b", [2], [1, 2])), "inputs[1].shape: has 2 rows, but other tensors have 1"),
    (request(tensor("a", [1], [1]), tensor("a", [1], [1])), "inputs[1].name: feature 'a' is there twice"),
    (request(tensor("a", [1], [1]), tensor("b", [1, 2], [1, 2])), "inputs[1].shape: is [1, 2]"),
    (request(tensor("a", [1], [1]), tensor("b", [1], ["x"], "BYTES")), "inputs[1].datatype: feature 'b' is numeric"),
    (request(ONE, outputs=[{"name": "score"}]), "outputs[0].name: 'score' is not an output; there are label"),
    (request(ONE, outputs=[{}]), "outputs[0]: Object missing required field `name`"),
    (request(ONE, id=7), "id: Expected `str | null`, got `int`"),
    (request(ONE, parameters={"receipt": "yes"}), "parameters.receipt: Expected `bool`, got `str`"),
    (
        b'{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP64","data":[1,1e999]}]}',
        "inputs[0].data[1]: Number out of range",
    ),
    (b'{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP64","data":[1,NaN]}]}', "NaN is no JSON: send null"),
    (b'{"x":' + b"[" * 50_000, "not valid JSON"),
]


@pytest.mark.parametrize(("body", "said"), REFUSED, ids=[said[:60] for _, said in REFUSED])
def test_what_is_wrong_is_named(binary: Served, body: Any, said: str) -> None:
    answer = binary.infer(body)
    assert (answer.status, said in answer.body["error"]) == (400, True), answer.body


FLAG = tensor("flag", [1], [1])


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        (
            [tensor("x", [1], [1]), tensor("carrier", [1], [3], "INT64"), FLAG],
            "inputs[1].datatype: feature 'carrier' is categorical: send BYTES",
        ),
        (
            [tensor("x", [1], [1]), tensor("carrier", [1], ["UA"], "BYTES"), tensor("flag", [1], ["true"], "BYTES")],
            "inputs[2].datatype: feature 'flag' is boolean",
        ),
        (
            [tensor("x", [1], [1]), tensor("carrier", [2], [["UA"], "AA"], "BYTES"), FLAG],
            "inputs[1].shape: has 2 rows",
        ),
        ([tensor("x", [1, 3], [1, 2, 3])], "inputs: this model has numeric and categorical features"),
    ],
)
def test_kinds_are_checked(mixed: Served, inputs: list[Any], said: str) -> None:
    answer = mixed.infer(request(*inputs))
    assert (answer.status, said in answer.body["error"]) == (400, True), answer.body


def test_nothing_refused_is_counted(binary: Served) -> None:
    for body, _ in REFUSED:
        binary.infer(body)
    assert binary.operate("/perennial/v1/epochs", {}).body["epochs"] == []
    stats = binary.operate("/perennial/v1/stats").body
    assert (stats["requests"], stats["rows"], stats["errors"], stats["in_flight"]) == (len(REFUSED), 0, 0, 0)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v2", 200),
        ("/v2/health/live", 200),
        ("/v2/health/ready", 200),
        ("/v2/models/flights", 200),
        ("/v2/models/flights/ready", 200),
        ("/v2/models/flights/versions/1", 200),
        ("/v2/models/flights/versions/1/ready", 200),
        ("/v2/models/flights/versions/2", 404),
        ("/v2/models/flights/versions/1/2", 404),
        ("/v2/models/flights/nothing", 404),
        ("/v2/models/other", 404),
        ("/v2/models/other/ready", 404),
        ("/v2/models", 404),
        ("/v2/models/", 404),
        ("/v2/health", 404),
        ("/metrics", 404),
        ("/", 404),
        ("*", 404),
    ],
)
def test_paths(binary: Served, path: str, status: int) -> None:
    assert binary.get(path).status == status


def test_a_version_can_be_named(binary: Served) -> None:
    assert binary.infer(request(ONE), "/v2/models/flights/versions/1/infer").status == 200
    assert binary.infer(request(ONE), "/v2/models/flights/versions/2/infer").status == 404
    answer = binary.infer(request(ONE), "/v2/models/other/infer")
    assert (answer.status, answer.body["error"]) == (404, "there is no model 'other' here; this server has 'flights'")


@pytest.mark.parametrize(("path", "allowed"), [("/v2/models/flights/infer", b"POST"), ("/v2/models/flights", b"GET")])
def test_methods(binary: Served, path: str, allowed: bytes) -> None:
    for method in {"GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"} - {allowed.decode()}:
        answer = binary.get(path, method)
        assert (answer.status, answer.headers) == (405, b"allow: %b\r\n" % allowed)


def test_metadata_says_what_the_model_takes(mixed: Served) -> None:
    body = mixed.get("/v2/models/flights").body
    assert body["inputs"] == [
        {"name": "x", "datatype": "FP64", "shape": [-1]},
        {"name": "carrier", "datatype": "BYTES", "shape": [-1]},
        {"name": "flag", "datatype": "BOOL", "shape": [-1]},
    ]
    assert body["outputs"] == [{"name": "prediction", "datatype": "FP64", "shape": [-1]}]
    assert (body["versions"], body["properties"]["engine"]) == (["1"], "onnx")


def test_before_the_model_is_there(binary: Served) -> None:
    binary.state.predictor = None
    assert binary.get("/v2/health/live").status == 200
    for path in ("/v2/health/ready", "/v2/models/flights/ready"):
        answer = binary.get(path)
        assert (answer.status, answer.body["ready"]) == (503, False)
    assert binary.infer(request(ONE)).headers == b"retry-after: 1\r\n"


def test_a_draining_pod_is_not_ready_but_answers(binary: Served) -> None:
    binary.state.draining = True
    assert binary.get("/v2/models/flights/ready").status == 503
    assert binary.get("/v2/health/live").status == 200
    assert binary.infer(request(ONE)).status == 200


def test_overload_is_refused(binary: Served) -> None:
    arrivals = [binary.meter.arrive() for _ in range(8)]
    answer = binary.infer(request(ONE))
    assert (answer.status, answer.headers) == (503, b"retry-after: 1\r\n")
    for arrived in arrivals:
        binary.meter.leave(arrived, 200)
    assert binary.infer(request(ONE)).status == 200
    stats = binary.operate("/perennial/v1/stats").body
    assert (stats["refused"], stats["errors"], stats["in_flight"]) == (1, 0, 0)


def ask_in_time(served: Served, timeout: bytes, late: float) -> tuple[int, bytes]:
    """Ask with a header of `timeout` milliseconds, in a request that began `late` seconds ago."""

    async def play() -> Reply:
        body = msgspec.json.encode(request(ONE))
        asked = Request("POST", "/v2/models/flights/infer", body, b"", keep_alive=True, timeout=timeout)
        asked.began = time.monotonic() - late
        said: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        served.inference.arrive(asked)
        served.inference.respond(asked, said.set_result)
        served.inference.leave(asked, (await said).status)
        return said.result()

    reply = asyncio.run(play())
    return reply.status, reply.body


@pytest.mark.parametrize(
    ("timeout", "late", "status"),
    [(b"", 9, 200), (b"0", 9, 200), (b"80000", 1, 200), (b"500", 1, 504), (b"-1", 0, 400), (b"1.5", 0, 400)],
)
def test_a_deadline_that_passed_is_not_worked_for(binary: Served, timeout: bytes, late: float, status: int) -> None:
    found, body = ask_in_time(binary, timeout, late)
    assert found == status
    assert status != 400 or b"x-envoy-expected-rq-timeout-ms" in body
    stats = binary.operate("/perennial/v1/stats").body
    assert (stats["rows"], stats["refused"], stats["errors"]) == (int(status == 200), int(status == 504), 0)


def test_that_one_client_has_gone_is_nothing_to_another_who_asked_the_same(binary: Served) -> None:
    async def play() -> dict[bool, int]:
        replies: dict[bool, asyncio.Future[Reply]] = {}
        for gone in (True, False):
            asked = Request("POST", "/v2/models/flights/infer", msgspec.json.encode(request(ONE)), b"", keep_alive=True)
            replies[gone] = asyncio.get_running_loop().create_future()
            binary.inference.respond(asked, replies[gone].set_result)
            asked.gone = gone
        return {gone: (await reply).status for gone, reply in replies.items()}

    assert asyncio.run(play()) == {True: 504, False: 200}


@pytest.mark.parametrize("status", [400, 408, 413, 415, 422, 431, 499, 500, 503, 504])
def test_every_answer_has_its_place_in_the_counts(binary: Served, status: int) -> None:
    binary.meter.leave(binary.meter.arrive(), status)
    assert f'code="{status}"'.encode() in binary.operate("/metrics").raw


def test_a_failure_of_ours_is_a_500_without_details(binary: Served, caplog: pytest.LogCaptureFixture) -> None:
    def broken(rows: Any) -> Any:
        raise RuntimeError("secret")

    object.__setattr__(binary.predictor.model, "engine", broken)
    answer = binary.infer(request(ONE))
    assert (answer.status, "secret" in answer.body["error"], "secret" in caplog.text) == (500, False, True)
    assert binary.operate("/perennial/v1/stats").body["errors"] == 1


def test_what_scikit_learn_refuses_counts_against_the_model(binary: Served) -> None:
    def refusing(rows: Any) -> Any:
        raise ValueError("Input X contains NaN.")

    object.__setattr__(binary.predictor.model, "engine", refusing)
    answer = binary.infer(request(ONE))
    assert (answer.status, "contains NaN" in answer.body["error"]) == (422, True)


def test_slow_predictions_are_computed_beside_the_loop(binary: Served) -> None:
    object.__setattr__(binary.predictor.model, "inline_rows", 0)
    assert binary.infer(request(ONE)).body["outputs"][0]["data"] == ["yes"]
    assert binary.infer(request(ONE, outputs=[{"name": "x"}])).status == 400


@pytest.mark.parametrize("value", [1e308, -1e308])
def test_huge_numbers_are_answered(binary: Served, value: float) -> None:
    assert binary.infer(request(tensor("x", [1, 2], [value, value]))).status == 200


def test_answers_are_json_even_for_nan(mixed: Served) -> None:
    inputs = [tensor("x", [1], [None]), tensor("carrier", [1], ["UA"], "BYTES"), tensor("flag", [1], [1], "INT8")]
    answer = mixed.infer(request(*inputs))
    assert b"NaN" not in answer.raw
    assert msgspec.json.decode(answer.raw)["outputs"][0]["data"] == [None]
    assert not math.isnan(mixed.operate("/perennial/v1/stats").body["loss"])
