"""Attributions on request: what is said, in every form of an answer, and that they stay within their limits."""

from __future__ import annotations

import asyncio
import dataclasses
import math
import os
import re
import signal
import struct
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from types import SimpleNamespace as Process
from types import SimpleNamespace as Served
from typing import Any

import jsonschema
import msgspec
import numpy as np
import pytest

from perennial.runtime.attributions.explainer import Explainer, decode
from perennial.runtime.attributions.messages import Explained
from perennial.runtime.server.attributing import MAX_ROWS, MAX_WAITING, SHARE, Attributor
from perennial.runtime.server.http import Reply, Request
from perennial.runtime.server.inference import Intake
from perennial.runtime.server.measurements import exposition
from perennial.runtime.server.model import load
from perennial.runtime.server.refusal import Refusal
from perennial.runtime.server.rows import Rows
from perennial.runtime.server.rpc.messages import message
from perennial.runtime.server.rpc.service import INFERENCE_SERVICE, Service
from perennial.runtime.store import open_version
from perennial.wire.manifest import ATTRIBUTIONS_FILE

ROWS = [{"x": 3.0, "carrier": "UA", "flag": True}, {"x": 0.5, "carrier": "DL", "flag": None}]
WANTED = {"attributions": True}
VALUES = [[2.0, 5.0, 0.75], [-0.5, -5.0, None]]
PATH = "/v2/models/flights/infer"


class Inline:
    """Explains like the process, without one. Each question waits for `gate` and is said to take `seconds` a row."""

    def __init__(self, served: Served, seconds: float = 0.0) -> None:
        model = served.predictor.model
        self._explainer = Explainer(decode(open_version(model.served.uri).read(ATTRIBUTIONS_FILE)), model.schema)
        self.base = self._explainer.base
        self.gate: asyncio.Event | None = None
        self.asked: list[int] = []
        self._seconds = seconds

    async def ask(self, rows: Rows) -> Explained:
        self.asked.append(rows.count)
        if self.gate is not None:
            await self.gate.wait()
        return Explained.of(self._explainer(rows.numbers, rows.texts), self._seconds * rows.count)

    def end(self) -> None:
        """There is nothing to end."""


@pytest.fixture
def helper(mixed: Served) -> Inline:
    helper = Inline(mixed)
    mixed.predictor.attributor = Attributor(helper, mixed.counting.totals.attributed)
    return helper


def durations(served: Served) -> tuple[int, int]:
    """Requests in the histogram of latencies, and in that of those that waited for attributions."""
    text = exposition(served.state, served.meter).decode()
    counts = dict(re.findall(r"^(perennial_\w*request_duration_seconds)_count\S+ (\S+)$", text, re.MULTILINE))
    names = ("perennial_request_duration_seconds", "perennial_attributed_request_duration_seconds")
    plain, explained = (int(float(counts[name])) for name in names)
    return plain, explained


def tensors(x: list[Any], **more: Any) -> dict[str, Any]:
    count = len(x)
    return {
        "inputs": [
            {"name": "x", "shape": [count], "datatype": "FP64", "data": x},
            {"name": "carrier", "shape": [count], "datatype": "BYTES", "data": ["UA"] * count},
            {"name": "flag", "shape": [count], "datatype": "BOOL", "data": [True] * count},
        ]
    } | more


@pytest.mark.usefixtures("helper")
def test_records_have_them_by_feature(mixed: Served) -> None:
    rows = mixed.infer({"rows": ROWS, "parameters": WANTED}).body["rows"]
    assert [row["base_value"] for row in rows] == [6.25, 6.25]
    assert [list(row["attributions"].values()) for row in rows] == VALUES
    assert list(rows[0]["attributions"]) == ["x", "carrier", "flag"]
    assert rows[0]["prediction"] == 14.0 == rows[0]["base_value"] + sum(rows[0]["attributions"].values())
    assert "attributions" not in mixed.infer({"rows": ROWS}).body["rows"][0]


@pytest.mark.usefixtures("helper")
def test_tensors_have_them_as_outputs_in_the_order_of_the_features(mixed: Served) -> None:
    answer = mixed.infer(tensors([3.0, 1.0], parameters=WANTED)).body
    prediction, attributions, base = answer["outputs"]
    assert prediction["data"] == [14.0, 12.0]
    assert (attributions["name"], attributions["shape"], base["name"]) == ("attributions", [2, 3], "base_values")
    assert (attributions["data"], base["data"]) == ([2.0, 5.0, 0.75, 0.0, 5.0, 0.75], [6.25, 6.25])


@pytest.mark.usefixtures("helper")
@pytest.mark.parametrize("outputs", [[], [{"name": "predict", "parameters": {"binary_data": True}}]])
def test_as_bytes_where_all_outputs_are(mixed: Served, outputs: list[Any]) -> None:
    parameters = WANTED | {"binary_data_output": True}
    answer = mixed.infer(tensors([3.0], parameters=parameters, outputs=outputs))
    assert answer.raw.endswith(struct.pack("<5d", 14.0, 2.0, 5.0, 0.75, 6.25))
    only_one = mixed.infer(tensors([3.0], parameters=WANTED, outputs=outputs))
    assert only_one.raw.endswith(struct.pack("<d", 14.0)) == bool(outputs)


@pytest.mark.usefixtures("helper")
def test_over_grpc_they_are_the_same_outputs(mixed: Served) -> None:
    fields = tensors([3.0])["inputs"]
    contents = [{"fp64_contents": [3.0]}, {"bytes_contents": [b"UA"]}, {"bool_contents": [True]}]
    inputs = [
        {"name": field["name"], "shape": [1], "datatype": field["datatype"], "contents": values}
        for field, values in zip(fields, contents, strict=True)
    ]
    request = message("ModelInferRequest")(
        model_name="flights", inputs=inputs, parameters={"attributions": {"bool_param": True}}
    )
    methods = Service(mixed.state, mixed.meter, mixed.admission).methods[INFERENCE_SERVICE]

    async def asked() -> bytes:
        return bytes(await methods["ModelInfer"](request.SerializeToString()))

    response = message("ModelInferResponse").FromString(asyncio.run(asked()))
    assert durations(mixed) == (0, 1)
    assert [(output.name, list(output.shape)) for output in response.outputs] == [
        ("prediction", [1]),
        ("attributions", [1, 3]),
        ("base_values", [1]),
    ]
    assert response.raw_output_contents[1] == struct.pack("<3d", 2.0, 5.0, 0.75)


def test_the_metadata_says_what_they_are_of(mixed: Served) -> None:
    assert mixed.get("/v2/models/flights").body["properties"]["attributions"] == "prediction"
    assert "no_attributions" not in mixed.get("/v2/models/flights").body["properties"]


@pytest.mark.usefixtures("helper")
def test_a_rollout_does_not_take_their_waiting_for_the_model_s_slowness(mixed: Served) -> None:
    for parameters in ({}, WANTED, {}):
        assert mixed.infer({"rows": ROWS, "parameters": parameters}).status == 200
    # What is refused at once has waited for nothing.
    assert mixed.infer(tensors([1.0] * (MAX_ROWS + 1), parameters=WANTED)).status == 400
    assert durations(mixed) == (3, 1)
    told = mixed.operate("/perennial/v1/stats").body
    assert (told["requests"], sum(told["latency"])) == (4, 3)


@pytest.mark.usefixtures("helper")
@pytest.mark.parametrize("x", [None, 1e308])
def test_what_json_has_no_number_for_is_null_as_the_document_says(mixed: Served, x: float | None) -> None:
    row = {"x": x, "carrier": "UA", "flag": True}
    answer = mixed.infer({"rows": [row, row], "parameters": WANTED}).body
    assert (answer["rows"][0]["attributions"]["x"] is None) == (x is None)
    schema = mixed.get("/openapi.json").body | {"$ref": "#/components/schemas/RowsResponse"}
    jsonschema.Draft202012Validator(schema).validate(answer)


def test_a_model_without_them_says_so(binary: Served) -> None:
    properties = binary.get("/v2/models/flights").body["properties"]
    assert "attributions" not in properties
    assert "was published without" in properties["no_attributions"]
    answer = binary.infer({"rows": [{"a": 0.75, "b": 1.0}], "parameters": WANTED})
    assert answer.status == 400
    assert answer.body["error"].startswith("parameters.attributions: this model has none: the version was published")


def test_that_only_the_version_before_gave_them_is_this_one_s_fault(
    tmp_path: Path, models: ModuleType, serve_model: Callable[..., Served]
) -> None:
    served = serve_model(models.mixed(tmp_path / "model", attributed=False), tmp_path / "counts")
    served.predictor.predecessor = Intake(load(models.mixed(tmp_path / "before")))
    answer = served.infer({"rows": ROWS, "parameters": WANTED})
    assert (answer.status, "the version before this one took" in answer.body["error"]) == (422, True)


def test_the_rows_of_a_request_are_bounded(mixed: Served, helper: Inline) -> None:
    assert mixed.infer(tensors([1.0] * MAX_ROWS, parameters=WANTED)).status == 200
    refused = mixed.infer(tensors([1.0] * (MAX_ROWS + 1), parameters=WANTED))
    assert (refused.status, sum(helper.asked)) == (400, MAX_ROWS)
    assert f"{MAX_ROWS} a request may be" in refused.body["error"]
    assert mixed.operate("/metrics").body.decode().count(f'attributed_rows_total{{model="flights"}} {MAX_ROWS}.0') == 1


def respond(served: Served, body: Any, deadline_ms: int = 0) -> asyncio.Future[Reply]:
    request = Request("POST", PATH, msgspec.json.encode(body), b"", keep_alive=True, timeout=b"%d" % deadline_ms)
    request.began = asyncio.get_running_loop().time()
    reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
    served.inference.respond(request, reply.set_result)
    return reply


async def test_others_are_answered_meanwhile_and_what_is_too_much_is_refused(mixed: Served, helper: Inline) -> None:
    helper.gate = asyncio.Event()
    waiting = [respond(mixed, tensors([1.0], parameters=WANTED)) for _ in range(MAX_WAITING)]
    refused = await respond(mixed, tensors([1.0], parameters=WANTED))
    assert (refused.status, refused.headers) == (503, b"retry-after: 1\r\n")
    assert (await respond(mixed, tensors([1.0]))).status == 200
    assert helper.asked == [1]
    assert b'attributions_waiting{model="flights"} %d.0' % MAX_WAITING in exposition(mixed.state, mixed.meter)
    helper.gate.set()
    assert {(await reply).status for reply in waiting} == {200}
    assert mixed.predictor.attributor.waiting == 0


async def test_what_is_late_is_neither_explained_nor_counted(mixed: Served, helper: Inline) -> None:
    helper.gate = asyncio.Event()
    first = respond(mixed, tensors([1.0], parameters=WANTED))
    late = respond(mixed, tensors([1.0], parameters=WANTED), deadline_ms=1)
    await asyncio.sleep(0.002)
    helper.gate.set()
    assert ((await first).status, (await late).status) == (200, 504)
    assert helper.asked == [1]
    assert b'perennial_rows_total{model="flights"} 1.0' in exposition(mixed.state, mixed.meter)


@dataclasses.dataclass
class Patient:
    deadline: float = math.inf
    gone: bool = False


@pytest.mark.looptime
async def test_they_take_no_more_than_their_share_of_the_time(mixed: Served) -> None:
    helper = Inline(mixed, seconds=0.04)
    attributor = Attributor(helper, mixed.counting.totals.attributed)
    loop = asyncio.get_running_loop()
    started = loop.time()
    for _ in range(5):
        attributor.admit()
        await attributor.explain(Rows(2, np.zeros((2, 2)), np.full((2, 1), "UA", object)), Patient())
    assert helper.asked == [1] * 10
    # The first row is explained at once, the tenth once the nine before it have had their rest.
    assert loop.time() - started == pytest.approx(9 * 0.04 * (1 / SHARE - 1))


async def test_a_client_that_is_gone_costs_no_more(mixed: Served) -> None:
    helper = Inline(mixed)
    attributor = Attributor(helper, mixed.counting.totals.attributed)
    attributor.admit()
    with pytest.raises(Refusal):
        await attributor.explain(Rows(1, np.zeros((1, 2)), np.full((1, 1), "UA", object)), Patient(gone=True))
    assert (helper.asked, attributor.waiting) == ([], 0)


def children(process: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def only_child(process: int) -> int:
    """Once the one that was killed has been waited for."""
    deadline = time.monotonic() + 10
    while len(found := children(process)) > 1 and time.monotonic() < deadline:
        time.sleep(0.01)
    [child] = found
    return child


@pytest.mark.process
def test_the_process_that_explains(start: Callable[..., Process], models: ModuleType, tmp_path: Path) -> None:
    server = start(models.mixed(tmp_path / "mixed"))
    server.wait_ready()
    asked = {"rows": ROWS, "parameters": WANTED}
    assert server.ask(server.port, PATH, {"rows": ROWS})[0] == 200
    assert children(server.process.pid) == []
    # It runs only while nothing else wants a processor, other tests included.
    status, answer = server.ask(server.port, PATH, asked, seconds=120)
    assert (status, [list(row["attributions"].values()) for row in answer["rows"]]) == (200, VALUES)
    [helper] = children(server.process.pid)
    assert os.sched_getscheduler(helper) == os.SCHED_IDLE or os.getpriority(os.PRIO_PROCESS, helper) == 19
    os.kill(helper, signal.SIGKILL)
    # It may not be noticed before it is asked: one request is then told to come again.
    statuses = [server.ask(server.port, PATH, asked, seconds=120)[0] for _ in range(2)]
    assert statuses[1] == 200
    assert only_child(server.process.pid) != helper
    assert server.rows() == 2 * (2 + statuses.count(200))
