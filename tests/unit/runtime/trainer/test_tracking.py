"""MLflow is told of each version, once and whole, and no version is worse for it when MLflow is not there."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest

from perennial.runtime.failures import RunError
from perennial.runtime.trainer import tracking
from perennial.runtime.trainer.__main__ import _failed as ended_by
from perennial.runtime.trainer.mlflow import Server
from perennial.runtime.trainer.tracking import tracked
from perennial.wire import places
from perennial.wire.result import Failure, Result, Tracked
from perennial.wire.run import Bound, Mlflow, Run
from perennial.wire.run import Test as HeldOut
from tests.mlflow_server import PASSWORD, USER, MlflowServer, mlflow_server, pairs
from tests.unit.runtime.trainer.world import World

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    with mlflow_server("127.0.0.1", tmp_path_factory.mktemp("mlflow")) as made:
        made.wait_ready()
        yield made


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    return keys(tmp_path / "secret", mlflow_tracking_username=USER, mlflow_tracking_password=PASSWORD)


def keys(folder: Path, **values: str) -> Path:
    folder.mkdir()
    for name, value in values.items():
        (folder / name).write_text(value)
    return folder


def trained(world: World, monkeypatch: pytest.MonkeyPatch, **options: Any) -> tuple[Run, Result]:
    """A run and its sealed result, on a claim: MLflow takes no file:// for a model's source."""
    monkeypatch.setattr(places, "PVC_ROOT", str(world.root))
    run = msgspec.structs.replace(world.run(**options), store="pvc://models", uid=f"uid-of-{world.root.name}")
    return run, world.train(run)


def told(
    run: Run, result: Result, uri: str, secret: Path, experiment: str = "flights", patience: float = 20
) -> Tracked:
    lines: list[str] = []
    made = tracked(run, Mlflow(uri, experiment), result, datetime.now(UTC), lines.append, secret, patience)
    assert msgspec.structs.replace(made, tracked=None) == result
    assert made.tracked is not None
    assert (made.tracked.problem or made.tracked.run or "nothing") in lines[-1]
    return made.tracked


def test_a_version_is_there_with_all_that_is_known_of_it(
    world: World, server: MlflowServer, secret: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, result = trained(
        world,
        monkeypatch,
        parameters={"max_depth": 3},
        bounds=[Bound("roc_auc", min=0.5), Bound("log_loss", max=9)],
        test=HeldOut(folds=3),
        version=7,
    )
    found = told(run, result, server.uri, secret, "whole")
    assert found.problem is None
    (logged,) = server.runs("whole")
    info, data = logged["info"], logged["data"]
    assert (info["run_id"], info["run_name"], info["status"]) == (found.run, "flights v7", "FINISHED")
    assert info["start_time"] <= info["end_time"] <= time.time() * 1000
    assert result.model is not None
    tags = pairs(data["tags"])
    assert {name: tags[f"perennial.{name}"] for name in ("uid", "version", "trainingJob", "outcome", "definition")} == {
        "uid": run.uid,
        "version": "7",
        "trainingJob": "air/flights",
        "outcome": "Accepted",
        "definition": "v1:0",
    }
    assert tags["perennial.model.sha256"] == result.model.sha256
    assert tags["perennial.model.seal"] == result.model.seal
    assert len(tags["perennial.data.sha256"]) == 64
    assert tags["perennial.gates"].count("passed: ") == 2
    assert tags["mlflow.note.content"].startswith("# air/flights, version 7")
    parameters = pairs(data["params"])
    assert (parameters["max_depth"], parameters["criterion"], parameters["min_samples_leaf"]) == ("3", "gini", "1")
    assert parameters["sklearn.estimator"] == "sklearn.tree.DecisionTreeClassifier"
    metrics = pairs(data["metrics"])
    assert metrics["roc_auc"] == result.metrics["roc_auc"]
    assert metrics["roc_auc.low"] < metrics["roc_auc"] < metrics["roc_auc.high"]
    assert 0 < metrics["roc_auc.folds.mean"] < 1
    gate = {name: metrics[f"gate.max.log_loss.{name}"] for name in ("value", "bound", "passed")}
    assert gate == {"value": result.metrics["log_loss"], "bound": 9, "passed": 1}

    (version,) = server.versions("air.flights")
    assert (version["source"], version["run_id"]) == (result.model.uri, found.run)
    assert pairs(version["tags"])["perennial.version"] == "7"


def test_telling_it_again_changes_nothing(
    world: World, server: MlflowServer, secret: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking, "_PAUSE_SECONDS", 0)
    run, result = trained(world, monkeypatch)
    run.name = "again"
    calls = iter(["runs/update", "model-versions/create"])
    awaited = next(calls)
    post = Server.post

    def cut_off(self: Server, what: str, **body: Any) -> dict[str, Any]:
        """The process dies once it has done what is next in the list, and does not see the answer."""
        nonlocal awaited
        made = post(self, what, **body)
        if what == awaited:
            awaited = next(calls, "")
            raise RuntimeError("cut off")
        return made

    monkeypatch.setattr(Server, "post", cut_off)
    ends = [told(run, result, server.uri, secret, "again") for _ in range(4)]
    assert [end.problem for end in ends] == ["RuntimeError: cut off"] * 2 + [None] * 2
    (logged,) = server.runs("again")
    assert {end.run for end in ends[2:]} == {logged["info"]["run_id"]}
    assert len(server.versions("air.again")) == 1


def test_what_was_interrupted_is_completed_and_nothing_is_there_twice(
    world: World, server: MlflowServer, secret: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, result = trained(world, monkeypatch)
    with monkeypatch.context() as patched:
        patched.setattr(tracking, "_complete_run", lambda *_: 1 / 0)
        assert "ZeroDivisionError" in (told(run, result, server.uri, secret, "interrupted").problem or "")
    (begun,) = server.runs("interrupted")
    assert begun["info"]["status"] == "RUNNING"
    complete = tracking._complete_run
    monkeypatch.setattr(tracking, "_complete_run", lambda *told: (complete(*told), complete(*told)))
    end = told(run, result, server.uri, secret, "interrupted")
    (logged,) = server.runs("interrupted")
    assert (logged["info"]["run_id"], logged["info"]["status"]) == (begun["info"]["run_id"], "FINISHED")
    history = server.ask("metrics/get-history", run_id=str(end.run), metric_key="accuracy")["metrics"]
    assert [entry["value"] for entry in history] == [result.metrics["accuracy"]]


def test_a_rejected_version_is_logged_and_not_registered(
    world: World, server: MlflowServer, secret: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, result = trained(world, monkeypatch, bounds=[Bound("accuracy", min=1.0)])
    run.name = "rejected"
    assert told(run, result, server.uri, secret, "rejected").problem is None
    (logged,) = server.runs("rejected")
    assert pairs(logged["data"]["tags"])["perennial.outcome"] == "Rejected"
    assert pairs(logged["data"]["metrics"])["gate.min.accuracy.passed"] == 0
    assert server.versions("air.rejected") == []


def failed(run: Run, uri: str, secret: Path, experiment: str, reason: str = "DataRejected") -> Tracked:
    result = Result(run.version, "Failed", failure=Failure(reason, f"it was {reason}"))
    return told(run, result, uri, secret, experiment)


def test_a_run_that_failed_is_there_with_its_reason_until_an_attempt_comes_to_a_version(
    world: World, server: MlflowServer, secret: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, result = trained(world, monkeypatch, parameters={"class_weight": {"true": 2, "false": 1}}, version=3)
    run.name = "failed"
    told_of = {failed(run, server.uri, secret, "failures", reason).run for reason in ("StoreUnreachable", "NoMemory")}
    (logged,) = server.runs("failures")
    assert told_of == {logged["info"]["run_id"]}
    assert (logged["info"]["run_name"], logged["info"]["status"]) == ("failed v3", "FAILED")
    assert logged["info"]["start_time"] <= logged["info"]["end_time"]
    tags = pairs(logged["data"]["tags"])
    assert (tags["perennial.outcome"], tags["perennial.failure"]) == ("Failed", "NoMemory")
    assert tags["mlflow.note.content"] == "NoMemory: it was NoMemory"
    assert pairs(logged["data"]["params"])["sklearn.parameters"] == '{"class_weight":{"true":2,"false":1}}'
    assert server.versions("air.failed") == []

    assert told(run, result, server.uri, secret, "failures").problem is None
    (logged,) = server.runs("failures")
    tags = pairs(logged["data"]["tags"])
    assert (logged["info"]["status"], tags["perennial.outcome"], tags["perennial.failure"]) == (
        "FINISHED",
        "Accepted",
        "",
    )
    # What is there as a version does not fail any more.
    assert failed(run, server.uri, secret, "failures").problem is None
    assert server.runs("failures") == [logged]


def test_a_run_that_fails_ends_the_same_with_an_mlflow_server_or_without(
    world: World, server: MlflowServer, secret: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERENNIAL_TERMINATION_LOG", str(world.root / "message"))
    monkeypatch.setattr(tracked, "__defaults__", (secret, 20.0))
    monkeypatch.setattr(tracking, "_OUTAGE_SECONDS", 0)
    ends = []
    for mlflow in (Mlflow(server.uri, "ends"), Mlflow("http://127.0.0.1:1", "ends"), None):
        run = msgspec.structs.replace(world.run(target="lat"), mlflow=mlflow, uid="ends")
        with pytest.raises(RunError) as raised:
            world.train(run)
        code = ended_by(run, raised.value, datetime.now(UTC))
        result = msgspec.json.decode((world.root / "message").read_bytes(), type=Result)
        ends.append((code, msgspec.structs.replace(result, tracked=None), result.tracked))
    (*first, logged), (*second, away), (*third, nothing) = ends
    assert first == second == third
    assert (first[0], nothing) == (64, None)
    assert logged is not None
    assert away is not None
    assert [each["info"]["run_id"] for each in server.runs("ends")] == [logged.run]
    assert "does not answer: Connection refused" in (away.problem or "")


def test_what_the_server_refuses_is_told_in_its_words(
    world: World, server: MlflowServer, secret: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, result = trained(world, monkeypatch)
    wrong = keys(tmp_path / "wrong", mlflow_tracking_username=USER, mlflow_tracking_password="guessed")
    assert "HTTP 401" in (told(run, result, server.uri, wrong).problem or "")
    assert told(run, result, server.uri, secret, "deleted").problem is None
    experiment = server.ask("experiments/get-by-name", experiment_name="deleted")["experiment"]["experiment_id"]
    server.ask("experiments/delete", {"experiment_id": experiment})
    assert "'deleted' was deleted there: restore it" in (told(run, result, server.uri, secret, "deleted").problem or "")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"mlflow_tracking_user": USER}, "a key that means nothing: mlflow_tracking_user;"),
        ({"mlflow_tracking_username": USER}, "it takes both"),
    ],
)
def test_a_secret_that_means_nothing_is_told(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, values: dict[str, str], words: str
) -> None:
    run, result = trained(world, monkeypatch)
    assert words in (told(run, result, "http://127.0.0.1:1", keys(tmp_path / "keys", **values)).problem or "")


Behaviour = Callable[[BaseHTTPRequestHandler], None]


@pytest.fixture
def other(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of something that is no MLflow server."""
    behave: Behaviour = request.param

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            behave(self)

        def log_message(self, format: str, *args: object) -> None:
            """Not into the test's output."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as made:
        made.daemon_threads = True
        threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{made.server_port}"
        made.shutdown()


def page(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    handler.wfile.write(b"<html>Welcome!</html>")


def login(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(302)
    handler.send_header("Location", "https://login.example.com/?next=secret")
    handler.end_headers()


def trickle(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    for _ in range(1000):
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(0.02)


def hang_up(handler: BaseHTTPRequestHandler) -> None:
    handler.connection.close()


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (page, "does not answer as MLflow does: is the path right?"),
        (login, "answers HTTP 302: it sends the caller on to https://login.example.com/,"),
        (trickle, "no answer within 1 s"),
        (hang_up, "does not answer: "),
    ],
    indirect=["other"],
)
def test_whatever_is_there_instead_is_told_in_time(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: str, words: str
) -> None:
    run, result = trained(world, monkeypatch)
    begun = time.monotonic()
    problem = told(run, result, other, tmp_path / "none", patience=1).problem or ""
    assert words in problem
    assert "secret" not in problem
    assert time.monotonic() - begun < 3


def test_an_outage_within_patience_is_waited_for(
    world: World, server: MlflowServer, secret: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, result = trained(world, monkeypatch)
    monkeypatch.setattr(tracking, "_PAUSE_SECONDS", 0.01)
    down = iter([True, True])
    ask = Server._ask

    def at_first_down(self: Server, what: str, data: bytes | None) -> dict[str, Any]:
        there = self._root
        self._root = "http://127.0.0.1:1" if next(down, False) else there
        try:
            return ask(self, what, data)
        finally:
            self._root = there

    monkeypatch.setattr(Server, "_ask", at_first_down)
    assert told(run, result, server.uri, secret, "outage").problem is None
    assert len(server.runs("outage")) == 1
