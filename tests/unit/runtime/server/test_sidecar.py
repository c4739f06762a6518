"""The sidecar in front of another server, over real sockets: our own one, or one that says what a test wants."""

from __future__ import annotations

import asyncio
import gzip
import http.client
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import numpy as np
import pytest

from perennial.runtime.server import lifecycle
from perennial.runtime.server.admission import Admission
from perennial.runtime.server.http import BINARY, JSON, Reply, Request, Respond, Server
from perennial.runtime.server.lifecycle import CannotServe, Pod, Ports
from perennial.runtime.server.rows import Rows
from perennial.runtime.server.rpc import messages as rpc
from perennial.runtime.server.rpc.service import INFERENCE_SERVICE, Service
from perennial.runtime.server.sidecar import neighbour as neighbours
from perennial.runtime.server.sidecar.edits import Message, asking_also, with_receipts, without
from perennial.runtime.server.sidecar.form import Form, ModelMetadata, TensorMetadata, Unreadable
from perennial.runtime.server.sidecar.pod import Sidecar
from perennial.runtime.store import open_version
from perennial.wire.manifest import ONNX_FILE
from perennial.wire.schema import SCHEMA_FILE, Feature, Schema
from perennial.wire.serve import Serve, ServedModel

PORTS = Ports("127.0.0.1", 0, 0, 0)
INFER = "/v2/models/flights/infer"
DATA = [0.75, 1.0, 0.25, None]
QUESTION = {"inputs": [{"name": "x", "shape": [2, 2], "datatype": "FP64", "data": DATA}]}
ANSWER: dict[str, Any] = {
    "model_name": "flights",
    "model_version": "from-here",
    "outputs": [
        {"name": "label", "datatype": "BYTES", "shape": [2], "data": ["yes", "no"]},
        {"name": "probabilities", "datatype": "FP64", "shape": [2, 2], "data": [0.25, 0.75, 1.0, 0.0]},
        {"name": "embedding", "datatype": "FP32", "shape": [2, 1], "data": [1.10, 2.20]},
    ],
}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "PROPAGATION_SECONDS", 0.0)
    monkeypatch.setattr(lifecycle, "HAND_OVER_SECONDS", 0.1)
    monkeypatch.setattr(neighbours, "ASK_AGAIN_SECONDS", 0.01)


@dataclass
class Own:
    """A server of somebody's: `answers` says what it gives to a path, a Reply or what is to be written as JSON."""

    answers: dict[str, Any] = field(default_factory=lambda: {INFER: ANSWER, "/v2/models/flights/ready": {}})
    asked: list[Request] = field(default_factory=list)
    held: list[tuple[Respond, Reply]] = field(default_factory=list)
    holds: bool = False
    max_body: int = 2**20

    def arrive(self, request: Request) -> None:
        self.asked.append(request)

    def leave(self, request: Request, status: int) -> None: ...

    def respond(self, request: Request, reply: Respond) -> None:
        answer = self.answers.get(request.path, Reply(b'{"detail": "Not Found"}', 404))
        made = answer if isinstance(answer, Reply) else Reply(msgspec.json.encode(answer))
        if self.holds and request.path == INFER:
            self.held.append((reply, made))
        else:
            reply(made)

    @property
    def last(self) -> Request:
        return next(request for request in reversed(self.asked) if request.path == INFER)


@dataclass
class Front:
    """A sidecar that lives, and how it is asked."""

    pod: Sidecar | Pod
    own: Own

    async def ask(
        self, path: str = INFER, body: Any = None, *, port: int | None = None, **headers: str
    ) -> tuple[int, Any, dict[str, str]]:
        return await asyncio.to_thread(self._ask, port or self.pod.ports.inference, path, body, headers)

    def _ask(self, port: int, path: str, body: Any, headers: dict[str, str]) -> tuple[int, Any, dict[str, str]]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        data = body if body is None or isinstance(body, bytes) else msgspec.json.encode(body)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request("GET" if body is None else "POST", path, data, named)
        answer = connection.getresponse()
        said, raw = {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        connection.close()
        is_json = said["content-type"] == "application/json"
        return answer.status, msgspec.json.decode(raw) if is_json else raw, said

    async def stats(self) -> dict[str, Any]:
        found: dict[str, Any] = (await self.ask("/perennial/v1/stats", port=self.pod.ports.control))[1]
        return found

    async def cells(self) -> list[int]:
        """What was counted for drift, of all epochs."""
        taken = (await self.ask("/perennial/v1/epochs", {}, port=self.pod.ports.control))[1]
        models = [counts for epoch in taken["epochs"] for counts in epoch["models"].values()]
        cells: list[int] = np.sum([counts["cells"] for counts in models], axis=0).tolist() if models else []
        return cells

    async def metric(self, name: str) -> float:
        text = (await self.ask("/metrics", port=self.pod.ports.control))[1].decode()
        return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name))


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(6000):
        if condition():
            return
        await asyncio.sleep(0.01)
    pytest.fail("it did not come to be")


@asynccontextmanager
async def living(pod: Pod) -> AsyncIterator[Pod]:
    ending = asyncio.Event()
    life = asyncio.create_task(pod.live(ending))
    try:
        await until(lambda: pod.ready or life.done())
        yield pod
    finally:
        ending.set()
        await life


@asynccontextmanager
async def beside(own: Own, model: ServedModel, counts: Path, **more: Any) -> AsyncIterator[Front]:
    """A sidecar in front of `own`."""
    await asyncio.to_thread(counts.mkdir, exist_ok=True)
    server = Server(own, keeps_head=True)
    await server.listen("127.0.0.1", 0)
    try:
        sidecar = Sidecar(Serve("flights", model, **more), counts, PORTS, server.port)
        async with living(sidecar):
            yield Front(sidecar, own)
    finally:
        await server.close(0)


@pytest.fixture
def model(tmp_path: Path, models: ModuleType) -> ServedModel:
    served: ServedModel = models.binary(tmp_path / "model")
    return served


# ---- what passes through ----


async def test_question_and_answer_pass_as_they_are(model: ServedModel, tmp_path: Path) -> None:
    said = Reply(msgspec.json.encode(ANSWER), headers=b"x-own: 7\r\n")
    async with beside(Own({"/v2/models/flights/ready": {}, INFER: said}), model, tmp_path / "c") as front:
        body = msgspec.json.encode({**QUESTION, "parameters": {"theirs": [1]}}) + b"  "
        status, answer, headers = await front.ask(f"{INFER}?trace=a%20b", body, X_Mine="8", Authorization="me")
        assert (status, answer, headers["x-own"]) == (200, ANSWER, "7")
        request = front.own.last
        assert (request.body, request.target) == (body, f"{INFER}?trace=a%20b".encode())
        given = {name.lower(): value for name, value in request.headers}
        assert (given[b"x-mine"], given[b"authorization"]) == (b"8", b"me")
        assert given[b"host"].startswith(b"127.0.0.1:")
        assert b"user-agent" not in given


async def test_a_compressed_question_is_passed_on_inflated(model: ServedModel, tmp_path: Path) -> None:
    async with beside(Own(), model, tmp_path / "c") as front:
        body = msgspec.json.encode(QUESTION)
        status, _, _ = await front.ask(INFER, gzip.compress(body), Content_Encoding="gzip", Accept_Encoding="gzip")
        names = {name.lower() for name, _ in front.own.last.headers}
        assert (status, front.own.last.body) == (200, body)
        assert not names & {b"content-encoding", b"accept-encoding"}
        assert (await front.stats())["rows"] == 2


@pytest.mark.parametrize("path", ["/v2", "/v2/models/flights", "/docs", "/v2/models/flights/generate?x=1"])
async def test_everything_else_passes_by(model: ServedModel, tmp_path: Path, path: str) -> None:
    own = Own()
    own.answers[path.partition("?")[0]] = {"theirs": True}
    async with beside(own, model, tmp_path / "c") as front:
        assert (await front.ask(path))[:2] == (200, {"theirs": True})
        assert (await front.ask(path, b"1"))[:2] == (200, {"theirs": True})
        assert own.asked[-1].target == path.encode()
        assert (await front.ask("/nothing"))[:2] == (404, {"detail": "Not Found"})
        assert (await front.stats())["requests"] == 0


async def test_models_are_not_loaded_by_clients(model: ServedModel, tmp_path: Path) -> None:
    async with beside(Own(), model, tmp_path / "c") as front:
        asked = len(front.own.asked)
        assert (await front.ask("/v2/repository/models/flights/unload", b"{}"))[0] == 404
        assert (await front.ask("/v2/models/other/infer", QUESTION))[0] == 404
        assert len(front.own.asked) == asked


async def test_no_other_host_is_asked(model: ServedModel, tmp_path: Path) -> None:
    async with beside(Own(), model, tmp_path / "c") as front:
        asked = len(front.own.asked)
        for target in ("http://a@example.com/", "http://example.com/v2", "*"):
            assert (await front.ask(target))[0] in (400, 404)
        assert len(front.own.asked) == asked


async def test_readiness_is_ours(model: ServedModel, tmp_path: Path) -> None:
    async with beside(Own(), model, tmp_path / "c") as front:
        for path in ("/v2/health/live", "/v2/health/ready", "/v2/models/flights/ready"):
            assert (await front.ask(path))[0] == 200
        front.pod._state.draining = True
        assert (await front.ask("/v2/models/flights/ready"))[0] == 503


# ---- what is counted ----


async def asked_alike(front: Any, question: Any) -> None:
    status, answer, _ = await front.ask(INFER, question)
    assert status == 200, answer


async def test_it_counts_as_the_built_in_server_counts(tmp_path: Path, models: ModuleType) -> None:
    """Our own server is the neighbour: both count the same requests, in their own files."""
    model = models.mixed(tmp_path / "model")
    (tmp_path / "theirs").mkdir()
    (tmp_path / "ours").mkdir()
    draw = np.random.default_rng(1)
    async with living(Pod(Serve("flights", model), tmp_path / "theirs", PORTS)) as built_in:
        sidecar = Sidecar(Serve("flights", model), tmp_path / "ours", PORTS, built_in.ports.inference)
        async with living(sidecar):
            front, behind = Front(sidecar, Own()), Front(built_in, Own())
            before = await behind.cells()  # The examples, which it was asked to see whether it serves the model.
            for count in (1, 2, 7):
                numbers = [None if draw.random() < 0.2 else v for v in draw.normal(1, 1, count).tolist()]
                columns = [
                    {"name": "x", "shape": [count], "datatype": "FP64", "data": numbers},
                    {"name": "carrier", "shape": [count, 1], "datatype": "BYTES", "data": ["UA"] * count},
                    {"name": "flag", "shape": [count], "datatype": "BOOL", "data": [True] * count},
                ]
                await asked_alike(front, {"inputs": columns})
            rows = [{"x": 1.5, "carrier": "DL", "flag": False}, {"x": None, "carrier": None, "flag": True}]
            status, answer, _ = await front.ask(INFER, {"rows": rows})
            assert status == 200
            assert [row["prediction"] for row in answer["rows"]] == [1.5, None]
            theirs = np.subtract(await behind.cells(), before).tolist()
            assert await front.cells() == theirs
            assert sum(theirs) == 4 * 12
            assert (await front.stats())["rows"] == 12


async def test_receipts_are_added_and_taken_back(model: ServedModel, tmp_path: Path) -> None:
    async with beside(Own(), model, tmp_path / "c") as front:
        status, answer, _ = await front.ask(INFER, {**QUESTION, "parameters": {"receipt": True}})
        receipts = answer.pop("parameters")["receipts"]
        assert (status, answer, len(receipts)) == (200, ANSWER, 2)
        labels = {"labels": [{"receipt": receipts[0], "label": "yes"}, {"receipt": receipts[1], "label": "yes"}]}
        told = await front.ask("/v2/models/flights/feedback", labels, port=front.pod.ports.control)
        assert told[1]["accepted"] == 2
        assert (await front.stats())["labels"] == 2


LENGTH = b"inference-header-content-length"


def message(head: bytes, tail: bytes = b"") -> Message:
    return Message([(b"X", b"1"), (b"Inference-Header-Content-Length", b"%d" % len(head))], head + tail)


def parts(made: Message) -> tuple[bytes, bytes]:
    length = int(made.header(LENGTH) or b"0")
    return made.body[:length], made.body[length:]


def test_receipts_leave_all_else_as_it_is_written() -> None:
    head = b'{"id":"1", "outputs":[{"data":[1.10, 2e5]}],"parameters":{"theirs":1.50}}'
    assert parts(with_receipts(message(head, b"\x00\x01"), ["r"])) == (
        b'{"id":"1","outputs":[{"data":[1.10, 2e5]}],"parameters":{"theirs":1.50,"receipts":["r"]}}',
        b"\x00\x01",
    )
    plain = Message([], b'{"outputs":[],"parameters":null}')
    assert with_receipts(plain, ["r"]).body == b'{"outputs":[],"parameters":{"receipts":["r"]}}'


def test_outputs_that_were_asked_besides_are_taken_out_with_their_bytes() -> None:
    asked = asking_also(message(b'{"inputs":[1.0],"outputs":[{"name":"a"}]}', b"tail"), ["b"])
    also = b'{"name":"b","parameters":{"binary_data":false}}'
    assert parts(asked) == (b'{"inputs":[1.0],"outputs":[{"name":"a"},%b]}' % also, b"tail")
    one, two, three = (
        b'{"name":"%b","parameters":{"binary_data_size":%d}}' % named for named in ((b"a", 2), (b"b", 3), (b"c", 1))
    )
    answer = message(b'{"outputs":[%b,%b,%b]}' % (one, two, three), b"aabbbc")
    assert parts(without(answer, ["b"])) == (b'{"outputs":[%b,%b]}' % (one, three), b"aac")


async def test_who_wants_labels_alone_is_counted_too(model: ServedModel, tmp_path: Path) -> None:
    """The score needs probabilities: they are asked for besides, and not passed on."""
    async with beside(Own(), model, tmp_path / "c") as front:
        _, answer, _ = await front.ask(INFER, {**QUESTION, "outputs": [{"name": "label"}]})
        asked = msgspec.json.decode(front.own.last.body)["outputs"]
        assert [output["name"] for output in asked] == ["label", "probabilities"]
        assert [output["name"] for output in answer["outputs"]] == ["label", "embedding"]
        assert (await front.stats())["rows"] == 2


async def test_binary_tensors_are_counted_both_ways(model: ServedModel, tmp_path: Path) -> None:
    label, raw = b"\x03\x00\x00\x00yes\x02\x00\x00\x00no", np.array([[0.25, 0.75], [1, 0]]).tobytes()
    outputs = [
        {"name": "label", "datatype": "BYTES", "shape": [2], "parameters": {"binary_data_size": len(label)}},
        {"name": "probabilities", "datatype": "FP64", "shape": [2, 2], "parameters": {"binary_data_size": len(raw)}},
    ]
    said = msgspec.json.encode({"model_name": "flights", "outputs": outputs})
    length = b"Inference-Header-Content-Length: %d\r\n" % len(said)
    binary = Reply(said + label + raw, content_type=BINARY, headers=length)
    async with beside(Own(), model, tmp_path / "c") as front:
        front.own.answers[INFER] = binary
        rows = np.array([[0.75, 1.0], [0.25, np.nan]]).tobytes()
        tensor = {"name": "x", "shape": [2, 2], "datatype": "FP64", "parameters": {"binary_data_size": len(rows)}}
        head = msgspec.json.encode({"inputs": [tensor]})
        _, answer, _ = await front.ask(INFER, head + rows, Inference_Header_Content_Length=str(len(head)))
        assert answer == binary.body
        by_bytes = await front.cells()
        front.own.answers[INFER] = ANSWER
        await front.ask(INFER, QUESTION)
        assert (np.array(by_bytes) * 2).tolist() == await front.cells()


@pytest.mark.parametrize(
    ("question", "answer", "rows"),
    [
        ({"inputs": [{"name": "prompt", "shape": [1], "datatype": "BYTES", "data": ["hello"]}]}, ANSWER, 1),
        ({"prompt": "hello"}, ANSWER, 1),
        (QUESTION, {"outputs": ANSWER["outputs"][:1]}, 2),
        (QUESTION, {"outputs": [ANSWER["outputs"][0], {**ANSWER["outputs"][1], "shape": [1, 4]}]}, 2),
        (QUESTION, {"text": "hello"}, 2),
        (QUESTION, Reply(b"hello", content_type=b"text/plain"), 2),
    ],
    ids=["other inputs", "no request", "no probabilities", "other shape", "no response", "no JSON"],
)
async def test_what_cannot_be_read_is_answered_and_said(
    model: ServedModel, tmp_path: Path, question: Any, answer: Any, rows: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with beside(Own(), model, tmp_path / "c") as front:
        front.own.answers[INFER] = answer
        for _ in range(2):
            assert (await front.ask(INFER, question))[0] == 200
        assert await front.metric("perennial_unread_answers_total") == 2
        (epoch,) = (await front.ask("/perennial/v1/epochs", {}, port=front.pod.ports.control))[1]["epochs"]
        assert epoch["models"] == {model.sha256: {"unread": 2 * rows}}
        stats = await front.stats()
        assert (stats["rows"], stats["requests"], stats["errors"]) == (0, 2, 0)
        assert sum("cannot be counted" in record.message for record in caplog.records) == 1


async def test_without_a_reference_it_serves_and_says_that_it_does_not_count(
    model: ServedModel, tmp_path: Path, models: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    version = open_version(model.uri)
    schema = msgspec.json.decode(version.read(SCHEMA_FILE), type=Schema)
    bare = models.publish(tmp_path / "bare", version.read(ONNX_FILE), schema, None)
    async with beside(Own(), bare, tmp_path / "c") as front:
        _, answer, _ = await front.ask(INFER, {**QUESTION, "parameters": {"receipt": True}})
        assert len(answer["parameters"]["receipts"]) == 2
        assert ((await front.stats())["rows"], await front.cells()) == (2, [])
        assert await front.metric("perennial_drift_rows_total") == 0
    assert "NoReference" in caplog.text


@pytest.mark.parametrize(
    "names", [("predict", "predict_proba"), ("output-0", "predict_proba"), (None, "probabilities")]
)
async def test_outputs_are_known_by_other_names(model: ServedModel, tmp_path: Path, names: tuple[str, str]) -> None:
    outputs = [
        {**output, "name": name} for output, name in zip(ANSWER["outputs"][:2], names, strict=True) if name is not None
    ]
    own = Own()
    own.answers[INFER] = {"outputs": outputs}
    async with beside(own, model, tmp_path / "c") as front:
        await front.ask(INFER, QUESTION)
        assert (await front.stats())["rows"] == 2


# ---- records and gRPC: the sidecar asks in its own words ----


async def test_records_are_put_as_tensors_and_answered_as_records(model: ServedModel, tmp_path: Path) -> None:
    async with beside(Own(), model, tmp_path / "c") as front:
        rows = [{"a": 0.75, "b": 1}, {"a": 0.25, "b": None}]
        status, answer, _ = await front.ask(INFER, {"rows": rows, "parameters": {"receipt": True}})
        assert status == 200, answer
        assert [row["prediction"] for row in answer["rows"]] == ["yes", "no"]
        assert all("receipt" in row for row in answer["rows"])
        asked = msgspec.json.decode(front.own.last.body)["inputs"]
        assert asked == [
            {"name": "a", "datatype": "FP64", "shape": [2], "data": [0.75, 0.25]},
            {"name": "b", "datatype": "FP64", "shape": [2], "data": [1.0, None]},
        ]
        assert (await front.ask(INFER, {"rows": [{"a": "x", "b": 1}]}))[0] == 400


async def test_rows_are_put_as_the_servers_metadata_say(model: ServedModel, tmp_path: Path) -> None:
    own = Own()
    own.answers["/v2/models/flights"] = {"inputs": [{"name": "IN", "datatype": "FP32", "shape": [-1, 2]}]}
    async with beside(own, model, tmp_path / "c") as front:
        await front.ask(INFER, {"rows": [{"a": 0.75, "b": 1}, {"a": 0.25, "b": None}]})
        asked = msgspec.json.decode(front.own.last.body)["inputs"]
        assert asked == [{"name": "IN", "datatype": "FP32", "shape": [2, 2], "data": [0.75, 1.0, 0.25, None]}]


async def test_grpc_is_answered_by_asking_over_http(model: ServedModel, tmp_path: Path) -> None:
    async with beside(Own(), model, tmp_path / "c") as front:
        pod = front.pod
        service = Service(pod._state, pod._meter, Admission(pod._state, pod._meter, max_in_flight=8))
        raw = np.array([[0.75, 1.0], [0.25, np.nan]]).tobytes()
        inputs = [{"name": "x", "shape": [2, 2], "datatype": "FP64"}]
        asked = rpc.message("ModelInferRequest")(model_name="flights", inputs=inputs, raw_input_contents=[raw])
        said = await service.methods[INFERENCE_SERVICE]["ModelInfer"](asked.SerializeToString())
        answer = rpc.message("ModelInferResponse").FromString(said)
        assert [output.name for output in answer.outputs] == ["label", "probabilities"]
        assert answer.raw_output_contents[1] == np.array([[0.25, 0.75], [1, 0]]).tobytes()
        assert (await front.stats())["rows"] == 2
        described = await service.methods[INFERENCE_SERVICE]["ModelMetadata"](
            rpc.message("ModelMetadataRequest")(name="flights").SerializeToString()
        )
        assert rpc.message("ModelMetadataResponse").FromString(described).platform == "own"


def test_columns_have_the_shapes_and_datatypes_of_the_metadata() -> None:
    features = [Feature("x", "numeric"), Feature("flag", "boolean"), Feature("carrier", "categorical")]
    schema = Schema(task="regression", target="y", features=features, score="value")
    told = ModelMetadata([TensorMetadata("x", "INT32", [-1, 1]), TensorMetadata("carrier", "BYTES", [-1])])
    rows = Rows(2, np.array([[3.0, 1.0], [np.nan, np.nan]]), np.array([["UA"], [""]], object))
    assert Form(schema, told).request(rows)["inputs"] == [
        {"name": "x", "datatype": "INT32", "shape": [2, 1], "data": [3, None]},
        {"name": "flag", "datatype": "BOOL", "shape": [2], "data": [True, None]},
        {"name": "carrier", "datatype": "BYTES", "shape": [2], "data": ["UA", ""]},
    ]


@pytest.mark.parametrize(
    ("classes", "said", "labels"),
    [
        ([0, 1], {"datatype": "FP32", "data": [1.0, 0.0]}, [1, 0]),
        ([0, 1], {"datatype": "BYTES", "data": ["1", "0"]}, [1, 0]),
        ([False, True], {"datatype": "INT64", "data": [1, 0]}, [True, False]),
        (["1", "x"], {"datatype": "BYTES", "data": ["x", "new"]}, ["x", "new"]),
    ],
)
def test_labels_are_known_however_they_are_written(classes: list[Any], said: dict[str, Any], labels: list[Any]) -> None:
    schema = Schema(task="classification", target="y", features=[], score="label", classes=classes)
    body = msgspec.json.encode({"outputs": [{"name": "OUT", "shape": [2, 1], **said}]})
    found = Form(schema, ModelMetadata()).answers(Message([], body), 2).predictions.tolist()
    assert (found, [type(label) for label in found]) == (labels, [type(label) for label in labels])


@pytest.mark.parametrize("data", [[0.5, 1.0], [2, 0], ["one", "0"], [None, 0]])
def test_a_label_that_is_none_of_the_models_is_not_counted(data: list[Any]) -> None:
    schema = Schema(task="classification", target="y", features=[], score="label", classes=[0, 1])
    body = msgspec.json.encode({"outputs": [{"name": "label", "datatype": "FP64", "shape": [2], "data": data}]})
    with pytest.raises(Unreadable, match="a label is none of the model's"):
        Form(schema, ModelMetadata()).answers(Message([], body), 2)


# ---- what goes wrong ----


async def test_what_the_version_before_took_is_the_servers_failure(tmp_path: Path, models: ModuleType) -> None:
    stable, candidate = models.mixed(tmp_path / "stable"), models.binary(tmp_path / "candidate", version=2)
    async with beside(Own(), candidate, tmp_path / "c", companion=stable) as front:
        await until(lambda: getattr(front.pod._state.predictor, "predecessor", None) is not None)
        front.own.answers[INFER] = Reply(b"{}", 400)
        kinds = {"x": ("FP64", 1.0), "carrier": ("BYTES", "UA"), "flag": ("BOOL", True)}
        before = [{"name": n, "shape": [1], "datatype": kind, "data": [v]} for n, (kind, v) in kinds.items()]
        assert (await front.ask(INFER, {"inputs": before}))[0] == 400
        assert (await front.stats())["errors"] == 1


async def test_a_right_question_that_is_refused_is_the_servers_failure(model: ServedModel, tmp_path: Path) -> None:
    """Whoever asks sees what the server says; a rollout sees whose fault it is."""
    async with beside(Own(), model, tmp_path / "c") as front:
        front.own.answers[INFER] = Reply(b'{"error":"no"}', 400)
        wrong = {"inputs": [{"name": "x", "shape": [2], "datatype": "FP64", "data": [1, 2]}]}
        assert (await front.ask(INFER, wrong))[:2] == (400, {"error": "no"})
        assert (await front.stats())["errors"] == 0
        assert (await front.ask(INFER, QUESTION))[:2] == (400, {"error": "no"})
        assert (await front.stats())["errors"] == 1
        assert await front.metric('perennial_requests_total{code="422"') == 1


@pytest.mark.parametrize(
    ("status", "code", "errors", "refused"), [(500, 500, 1, 0), (503, 503, 0, 1), (429, 400, 0, 0), (507, 500, 1, 0)]
)
async def test_other_answers_pass_and_count(
    model: ServedModel, tmp_path: Path, status: int, code: int, errors: int, refused: int
) -> None:
    async with beside(Own(), model, tmp_path / "c") as front:
        front.own.answers[INFER] = Reply(b"{}", status)
        assert (await front.ask(INFER, QUESTION))[0] == status
        stats = await front.stats()
        assert (stats["errors"], stats["refused"]) == (errors, refused)
        assert await front.metric(f'perennial_requests_total{{code="{code}"') == 1


async def test_a_server_that_is_late_is_a_504_and_a_failure(model: ServedModel, tmp_path: Path) -> None:
    async with beside(Own(), model, tmp_path / "c") as front:
        front.own.holds = True
        status, answer, _ = await front.ask(INFER, QUESTION, X_Envoy_Expected_Rq_Timeout_Ms="50")
        assert (status, "did not answer before the deadline" in answer["error"]) == (504, True)
        stats = await front.stats()
        assert (stats["errors"], stats["refused"]) == (1, 0)
        front.own.holds = False


async def test_a_server_that_is_gone_is_a_502(model: ServedModel, tmp_path: Path) -> None:
    async with beside(Own(), model, tmp_path / "c") as front:
        assert isinstance(front.pod, Sidecar)
        front.pod._neighbour._base = "http://127.0.0.1:1"
        for question in (QUESTION, {"rows": [{"a": 1, "b": 2}]}):
            status, answer, _ = await front.ask(INFER, question)
            assert status == 502
            assert "takes no connection" in answer["error"]
        assert (await front.ask("/v2/models/flights"))[0] == 502
        assert (await front.stats())["errors"] == 2


async def test_a_kept_connection_that_ended_meanwhile_loses_no_request(model: ServedModel, tmp_path: Path) -> None:
    own = Own()
    async with beside(own, model, tmp_path / "c") as front:
        ended = 0

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            """Answers once on a connection, and ends it when it is asked again."""
            nonlocal ended
            for turn in range(2):
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
                await reader.readexactly(length)
                if turn:
                    ended += 1
                    break
                body = msgspec.json.encode(ANSWER)
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n" % (JSON, len(body)))
                writer.write(body)
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        assert isinstance(front.pod, Sidecar)
        front.pod._neighbour._base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        for _ in range(3):
            assert (await front.ask(INFER, QUESTION))[0] == 200
        assert ended == 2
        assert (await front.ask("/v2/their/own", b"{}"))[0] == 502, "what may change something is not asked again"
        assert (await front.stats())["rows"] == 6
        server.close()


# ---- how it begins and ends ----


async def test_it_waits_for_the_server_and_then_tries_it(model: ServedModel, tmp_path: Path) -> None:
    own = Own({"/v2/models/flights/ready": Reply(b"{}", 503), INFER: ANSWER})
    server = Server(own, keeps_head=True)
    await server.listen("127.0.0.1", 0)
    sidecar = Sidecar(Serve("flights", model), tmp_path, PORTS, server.port)
    ending = asyncio.Event()
    life = asyncio.create_task(sidecar.live(ending))
    await until(lambda: len(own.asked) > 2)
    assert not sidecar.ready
    own.answers["/v2/models/flights/ready"] = {}
    await until(lambda: sidecar.ready)
    assert msgspec.json.decode(own.last.body)["inputs"][0]["data"] == [0.75, None], "the version's examples"
    ending.set()
    await life
    await server.close(0)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            msgspec.json.encode(ANSWER).replace(b'"yes","no"', b'"no","no"'),
            "your server serves another model: example 0",
        ),
        (msgspec.json.encode(ANSWER).replace(b"0.75", b"0.70"), "serves another model"),
        (b'{"outputs": []}', "the examples of the version have no answer: .* cannot be read"),
    ],
)
async def test_a_server_of_another_model_is_not_stood_in_front_of(
    model: ServedModel, tmp_path: Path, answer: bytes, words: str
) -> None:
    own = Own({"/v2/models/flights/ready": {}, INFER: Reply(answer)})
    with pytest.raises(CannotServe, match=words):
        async with beside(own, model, tmp_path / "c"):
            pass


async def test_single_precision_is_right(model: ServedModel, tmp_path: Path) -> None:
    own = Own()
    own.answers[INFER] = Reply(msgspec.json.encode(ANSWER).replace(b"0.75", b"0.75000012"))
    async with beside(own, model, tmp_path / "c") as front:
        assert front.pod.ready


async def test_what_is_in_flight_is_answered_before_the_end(model: ServedModel, tmp_path: Path) -> None:
    async with beside(Own(), model, tmp_path / "c") as front:
        front.own.holds = True
        asked = asyncio.create_task(front.ask(INFER, QUESTION))
        await until(lambda: bool(front.own.held))
        assert (await front.stats())["in_flight"] == 1, "what autoscaling on concurrency measures"
        ending = asyncio.create_task(front.pod._drain())
        await asyncio.sleep(0.1)
        assert not ending.done()
        reply, made = front.own.held[0]
        reply(made)
        assert (await asked)[0] == 200
        await ending


async def test_it_is_compared_with_the_version_before(tmp_path: Path, models: ModuleType) -> None:
    stable = models.binary(tmp_path / "stable", threshold=0.7)
    candidate = models.binary(tmp_path / "candidate", version=2)
    async with beside(Own(), candidate, tmp_path / "c", companion=stable) as front:
        await until(lambda: front.pod.companion is not None)
        tensor = {"name": "x", "shape": [2, 2], "datatype": "FP64", "data": [0.6, 1, 0.25, None]}
        await front.ask(INFER, {"inputs": [tensor], "parameters": {"receipt": True}})
        comparison = (await front.stats())["comparison"]
        assert (comparison["companion"], comparison["compared"], comparison["disagreed"]) == (stable.sha256, 2, 1)
