"""Predictions found again by key: whatever a request writes it as, over crashes, a full ring and pods that end."""

from __future__ import annotations

import asyncio
import http.client
import threading
import urllib.request
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from types import ModuleType
from types import SimpleNamespace as Served
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perennial.runtime.keys import digest_of, digest_of_json
from perennial.runtime.server.bequest import give_away, pass_on
from perennial.runtime.server.counts import journal as journals
from perennial.runtime.server.counts.journal import Basis, Journal
from perennial.runtime.server.counts.waiting import Waiting, Waits
from perennial.runtime.server.engine import Answers
from perennial.runtime.server.raw import RawTensor
from perennial.runtime.server.receipt import Receipt
from perennial.wire.journal import Keys, Match, Matches, Outcome, Outcomes, Visit

from .labelled import by_loss

JOURNAL, KEYS = "/perennial/v1/journal", "/perennial/v1/journal/keys"
RECEIPTS, WAITING = "/perennial/v1/journal/receipts", "/perennial/v1/journal/waiting"
LABELS, RECORDS = "/perennial/v1/journal/labels", "/perennial/v1/journal/records"
ROW = np.dtype([("key", "V8"), ("issued", "<u4")])
pack = msgspec.msgpack.encode
Listening = Callable[[Served], AbstractContextManager[str]]


def keep(served: Served, key: str | None) -> None:
    assert served.operate(JOURNAL, {"key": key}).body == {"key": key}


def keys(served: Served, after: int = 0) -> Keys:
    answer = served.operate(KEYS, pack({"after": after}), "POST")
    assert answer.status == 200, answer.body
    return msgspec.msgpack.decode(answer.raw, type=Keys)


def remembered(served: Served) -> list[bytes]:
    return [row["key"].tobytes() for row in np.frombuffer(keys(served).rows, ROW)]


def label(served: Served, *matches: tuple[int, Any, int, Any]) -> list[Outcome]:
    """Outcomes of labels: prediction number, key, mark, label."""
    sent = Matches("flights", [Match(at, digest_of(key), mark, label) for at, key, mark, label in matches])
    answer = served.operate(LABELS, pack(sent), "POST")
    assert answer.status == 200, answer.body
    return [Outcome(each) for each in msgspec.msgpack.decode(answer.raw, type=Outcomes).outcomes]


def records(served: Served, *rows: dict[str, Any], **more: Any) -> None:
    assert served.infer({"rows": [{"a": 0.1, "b": 0, **row} for row in rows], **more}).status == 200


def named(schema: Any) -> list[str]:
    return [feature.name for feature in schema.features]


@pytest.fixture
def kept(binary: Served) -> Served:
    keep(binary, "flight")
    return binary


def ask(served: Served, *rows: tuple[float, Any]) -> None:
    """Rows of a first feature, and a key."""
    names = named(served.predictor.model.schema)
    body = [dict.fromkeys(names, 0.0) | {names[0]: value, "flight": key} for value, key in rows]
    answer = served.infer({"rows": body})
    assert answer.status == 200, answer.body


@given(st.one_of(st.text(min_size=1), st.integers(), st.floats(allow_infinity=False), st.none(), st.booleans()))
def test_a_key_is_the_same_in_a_request_and_in_a_table(value: Any) -> None:
    assert digest_of_json(msgspec.Raw(msgspec.json.encode(value))) == digest_of(value)


def test_numbers_and_their_texts_are_one_key() -> None:
    assert digest_of(17) == digest_of("17") == digest_of(17.0) == digest_of_json(msgspec.Raw(b"17.0"))
    assert digest_of("017") != digest_of(17)
    assert digest_of_json(msgspec.Raw()) == b""


def test_nothing_is_remembered_unasked(binary: Served) -> None:
    ask(binary, (0.1, "UA1"))
    assert keys(binary) == Keys("flights", None)
    assert not list(binary.counting.mapped.folder.glob("journal*"))


@pytest.mark.parametrize("key", ["UA1", 17, 'a"b\\é', 2**60 + 1])
def test_rows_are_found_by_a_field_that_is_no_feature(kept: Served, key: Any) -> None:
    ask(kept, (0.1, key), (0.2, None))
    assert remembered(kept) == [digest_of(key)]
    assert kept.operate("/perennial/v1/epochs", {}).body["key"] == "flight"


@pytest.mark.parametrize("odd", [None, True, [1], {"a": 1}, ""])
def test_a_key_that_is_none_costs_no_request(kept: Served, odd: Any) -> None:
    ask(kept, (0.1, odd))
    assert remembered(kept) == []


def test_rows_are_found_by_a_tensor_beside_a_matrix(kept: Served) -> None:
    matrix = {"name": "x", "shape": [2, 2], "datatype": "FP64", "data": [0.1, 0, 0.9, 0]}
    big = 2**60 + 1
    key = {"name": "flight", "shape": [2, 1], "datatype": "INT64", "data": [big, 7]}
    assert kept.infer({"inputs": [key, matrix]}).status == 200
    assert remembered(kept) == [digest_of(big), digest_of(7)]
    short = {"name": "flight", "shape": [1], "datatype": "BYTES", "data": ["UA1"]}
    assert kept.infer({"inputs": [matrix, short]}).status == 200
    assert len(remembered(kept)) == 2


def test_a_tensor_as_bytes_is_a_key_too() -> None:
    raw = RawTensor("flight", "INT64", [1], np.array([2**60 + 1]).tobytes())
    text = RawTensor("flight", "BYTES", [1], b"\x03\x00\x00\x00UA1")
    assert (raw.values(""), text.values("")) == ([2**60 + 1], ["UA1"])


def test_a_request_of_one_row_is_found_by_its_id(binary: Served) -> None:
    keep(binary, "id")
    names = named(binary.predictor.model.schema)
    row = dict.fromkeys(names, 0.0)
    assert binary.infer({"rows": [row], "id": "r-1"}).status == 200
    assert binary.infer({"rows": [row, row], "id": "r-2"}).status == 200
    assert binary.infer({"rows": [{**row, "id": "mine"}], "id": "r-3"}).status == 200
    assert remembered(binary) == [digest_of("r-1"), digest_of("mine")]


def test_a_feature_can_be_the_key(binary: Served) -> None:
    names = named(binary.predictor.model.schema)
    keep(binary, names[0])
    assert binary.infer({"rows": [dict.fromkeys(names, 3.0)]}).status == 200
    assert remembered(binary) == [digest_of(3)]


def test_labels_count_as_those_with_receipts_do(kept: Served) -> None:
    ask(kept, (0.1, "a"), (0.3, "b"), (0.6, "c"), (0.8, "d"))
    outcomes = label(kept, (0, "a", 1, "no"), (1, "b", 2, "yes"), (2, "c", 3, "yes"), (3, "d", 4, "no"))
    assert outcomes == [Outcome.COUNTED] * 4
    epochs = kept.operate("/perennial/v1/epochs", {}).body["epochs"]
    labels = epochs[-1]["models"][kept.predictor.model.digest]["labels"]
    assert by_loss(labels) == [2, 2]
    assert labels["score"] == [0, 1, 1, 1, 1, 0, 0][: len(labels["score"])]
    assert labels["by_score"] == [0, 0, 1, 1, 0, 0, 0][: len(labels["by_score"])]


def test_a_label_counts_once_and_a_row_sent_again_is_known(kept: Served) -> None:
    ask(kept, (0.1, "a"))
    assert label(kept, (0, "a", 1, "no"), (0, "a", 1, "no"), (0, "a", 2, "yes")) == [4, 4, Outcome.DUPLICATE]
    assert kept.operate("/perennial/v1/stats").body["labels"] == 1


def test_a_crash_between_count_and_mark_counts_once(kept: Served) -> None:
    ask(kept, (0.1, "a"))
    label(kept, (0, "a", 1, "no"))
    kept.counting.journal.mark(0, 0)
    assert label(kept, (0, "a", 1, "no")) == [Outcome.COUNTED]
    assert kept.operate("/perennial/v1/stats").body["labels"] == 1


def test_nonsense_spoils_no_other(kept: Served) -> None:
    ask(kept, (0.1, "a"))
    assert label(kept, (0, "a", 1, "maybe"), (7, "a", 1, "no"), (0, "b", 1, "no"), (0, "a", 2, "no")) == [1, 0, 0, 4]


def test_what_is_remembered_survives_the_process(kept: Served, serve_model: Callable[..., Served]) -> None:
    ask(kept, (0.1, "a"), (0.8, "b"))
    label(kept, (0, "a", 1, "no"))
    kept.counting.flush()
    kept.counting._slot.release()
    again = serve_model(kept.predictor.model.served, kept.counting.mapped.folder)
    assert remembered(again) == [digest_of("a"), digest_of("b")]
    assert label(again, (0, "a", 9, "no"), (1, "b", 9, "no")) == [Outcome.DUPLICATE, Outcome.COUNTED]


def test_what_the_companion_said_is_remembered_too(paired: Served, newer: Served) -> None:
    """A candidate that says yes from 0.5 on beside a stable model that says so from 0.7 on, by rows with keys alone."""
    keep(paired, "flight")
    ask(paired, (0.1, "first"))
    asyncio.run(paired.predictor.score_samples())
    ask(paired, (0.6, "a"), (0.8, "b"))
    asyncio.run(paired.predictor.score_samples())
    label(paired, (1, "a", 1, "no"), (2, "b", 2, "yes"), (0, "first", 3, "no"))
    stats = paired.operate("/perennial/v1/stats").body["comparison"]
    assert (stats["labelled"], stats["loss"], stats["companion_loss"]) == (3, 1.0, 0.0)
    given = paired.counting.journal.given(0, 10)
    keep(newer, "flight")
    newer.counting.journal.take(*given[:2])
    found = newer.counting.journal.find(1, digest_of("a"))
    assert found is not None
    assert found.receipt.companion is not None
    assert found.receipt.companion.prediction == "no"


def test_another_key_forgets_and_none_leaves_nothing(kept: Served) -> None:
    ask(kept, (0.1, "a"))
    keep(kept, "booking")
    assert remembered(kept) == []
    keep(kept, None)
    assert not list(kept.counting.mapped.folder.glob("journal*"))


def test_the_key_is_heard_before_the_model_is_loaded(
    serve_model: Callable[..., Served], models: ModuleType, tmp_path: Path
) -> None:
    journals.remember(tmp_path, "flight")
    served = serve_model(models.binary(tmp_path / "model"), tmp_path)
    ask(served, (0.1, "a"))
    assert remembered(served) == [digest_of("a")]


def receipted(served: Served, *keys: Any) -> list[str]:
    names = named(served.predictor.model.schema)
    body = [dict.fromkeys(names, 0.0) | {names[0]: 0.1, "flight": key} for key in keys]
    answer = served.infer({"rows": body, "parameters": {"receipt": True}})
    return [row["receipt"] for row in answer.body["rows"]]


def send(served: Served, *given: str) -> dict[str, Any]:
    items = [{"receipt": receipt, "label": "no"} for receipt in given]
    body: dict[str, Any] = served.operate("/v2/models/flights/feedback", {"labels": items}).body
    assert not body["rejected"], body
    return {name: count for name, count in body.items() if count}


def total(served: Served) -> int:
    epochs = served.operate("/perennial/v1/epochs", {}).body["epochs"]
    models = [model for epoch in epochs for model in epoch["models"].values()]
    return sum(sum(by_loss(model["labels"])) for model in models if "labels" in model)


def test_a_receipt_finds_its_prediction_over_crashes_and_heirs(
    kept: Served, newer: Served, serve_model: Callable[..., Served]
) -> None:
    given = receipted(kept, *"abcd")
    assert send(kept, given[0]) == {"accepted": 1}
    kept.counting.flush()
    kept.counting._slot.release()
    again = serve_model(kept.predictor.model.served, kept.counting.mapped.folder)
    given += receipted(again, *"efg")
    assert send(again, *given[:2]) == {"accepted": 1, "duplicates": 1}
    assert send(again, given[4]) == {"accepted": 1}
    assert label(again, (1, "b", 9, "no"), (2, "c", 9, "no"), (4, "e", 9, "no")) == [2, Outcome.COUNTED, 2]
    keep(newer, "flight")
    receipted(newer, "z")
    newer.counting.journal.take(*again.counting.journal.given(0, 10)[:2])
    assert send(newer, *given) == {"accepted": 3, "retired": 3, "duplicates": 4}
    assert total(again) + total(newer) == len(given)


def test_a_crash_between_a_receipts_count_and_its_mark_counts_once(kept: Served) -> None:
    [receipt] = receipted(kept, "a")
    send(kept, receipt)
    kept.counting.journal.mark(0, 0)
    assert send(kept, receipt) == {"duplicates": 1}
    assert label(kept, (0, "a", 1, "no")) == [Outcome.COUNTED]
    assert total(kept) == 1


def test_what_waits_survives_the_process(kept: Served, newer: Served, serve_model: Callable[..., Served]) -> None:
    keep(newer, "flight")
    first, second = receipted(kept, "a", "b")
    assert send(newer, first, second, first) == {"accepted": 2, "waiting": 2, "duplicates": 1}
    file = newer.counting.mapped.folder / "waiting"
    whole = file.read_bytes()
    file.write_bytes(whole[:-3])
    newer.counting._slot.release()
    again = serve_model(newer.predictor.model.served, newer.counting.mapped.folder)
    # The second one was cut, so it was not answered for: who sent it sends it again.
    assert send(again, first, second) == {"accepted": 1, "waiting": 1, "duplicates": 1}
    assert file.read_bytes() == whole


def test_nothing_waits_for_ever(kept: Served, newer: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(newer, "flight")
    now = [0.0]
    newer.counting.waiting = Waiting(newer.counting.mapped.folder, lambda: now[0])
    first, second = receipted(kept, "a", "b")
    send(newer, first)
    assert b'perennial_labels_waiting{model="flights"} 1.0' in newer.operate("/metrics").raw
    newer.operate("/perennial/v1/journal/waiting", pack(Visit("flights", again=4000)), "POST")
    now[0] = 3 * 4000
    newer.predictor.tick()
    assert total(newer) == 0
    now[0] += 1
    newer.predictor.tick()
    assert total(newer) == 1
    # And while nobody comes, what is sent is counted at once.
    assert send(newer, second) == {"accepted": 1, "retired": 1}
    assert len(newer.counting.waiting) == 0


@pytest.mark.parametrize("key", ["booking", None])
def test_with_another_key_nothing_waits(kept: Served, newer: Served, key: str | None) -> None:
    keep(newer, "flight")
    [receipt] = receipted(kept, "a")
    send(newer, receipt)
    keep(newer, key)
    assert total(newer) == 1
    assert not len(newer.counting.waiting)


def test_only_so_many_wait(kept: Served, newer: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perennial.runtime.server.counts.waiting.LIMIT", 1)
    keep(newer, "flight")
    first, second = receipted(kept, "a", "b")
    send(newer, first)
    items = [{"receipt": second, "label": "no"}]
    [rejected] = newer.operate("/v2/models/flights/feedback", {"labels": items}).body["rejected"]
    assert "send it again after it" in rejected["message"]


def test_what_is_on_its_way_takes_no_label(kept: Served) -> None:
    [receipt] = receipted(kept, "a")
    kept.counting.journal.closed = True
    answer = kept.operate("/v2/models/flights/feedback", {"labels": [{"receipt": receipt, "label": "no"}]})
    assert answer.status == 503


def test_labels_that_wait_in_a_pod_that_ends_go_to_another(kept: Served, newer: Served, listening: Listening) -> None:
    keep(newer, "flight")
    first, second = receipted(kept, "a", "b")
    send(newer, first, second)
    with listening(kept) as address:
        sent = pass_on(newer.counting.waiting.all, "flights", address, 5)
    newer.predictor.feedback.settle(sent, ())
    assert (total(kept), total(newer), len(newer.counting.waiting)) == (2, 0, 0)
    assert pass_on([Waits(1, first, "no")], "flights", "http://127.0.0.1:9", 0.3) == []


BASIS = Basis(Receipt(0, 0, b"\1" * 32, "value", 0.0), [], None)


def fill(journal: Journal, *names: str) -> None:
    journal.append(list(names), Answers(np.arange(len(names), dtype=float)), None)


def test_the_ring_keeps_the_newest(tmp_path: Path) -> None:
    journals.remember(tmp_path, "k")
    journal = Journal(tmp_path, "k", BASIS, capacity=4)
    fill(journal, *"abcdef")
    first, end, rows = journal.rows(0, 100)
    assert (first, end, len(rows)) == (2, 6, 4 * ROW.itemsize)
    assert journal.find(1, digest_of("b")) is None
    found = journal.find(5, digest_of("f"))
    assert found is not None
    assert found.receipt.prediction == 5.0
    assert journal.rows(5, 100)[:2] == (5, 6)


def test_a_full_disk_is_told_and_costs_no_request(
    binary: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    keep(binary, "flight")
    ask(binary, (0.1, "a"))
    assert keys(binary).key is None
    assert "No space left" in caplog.text


def test_a_pod_that_ends_gives_away_what_it_remembers(kept: Served, newer: Served, listening: Listening) -> None:
    ask(kept, (0.1, "a"), (0.65, "b"))
    label(kept, (0, "a", 1, "no"))
    with listening(newer) as address:
        assert give_away(kept.counting.journal, "flights", address, 5) == 2
    # The heir was told no key by anybody, and knows the other model by what came with the records.
    assert remembered(newer) == [digest_of("a"), digest_of("b")]
    assert label(newer, (0, "a", 7, "no"), (1, "b", 7, "no")) == [Outcome.DUPLICATE, Outcome.LATE]
    models = newer.operate("/perennial/v1/epochs", {}).body["epochs"][-1]["models"]
    assert by_loss(models[kept.predictor.model.digest]["labels"]) == [0, 1]
    assert kept.operate(LABELS, pack(Matches("flights", [])), "POST").status == 503


def test_models_that_no_record_is_of_are_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pods that give to pods that give: a deployment that is retrained every day must not gather models for ever."""
    monkeypatch.setattr(journals, "MODELS", 8)
    others = [Basis(Receipt(0, 0, bytes([number]) * 32, "value", 0.0)) for number in range(journals.MODELS + 9)]
    heirs: list[Journal] = []
    for number, basis in enumerate(others):
        folder = tmp_path / str(number)
        folder.mkdir()
        journals.remember(folder, "k")
        heir = Journal(folder, "k", basis, capacity=200)
        if heirs:
            models, given, _ = heirs[-1].given(heirs[-1].first, 1000)
            heir.take(models, given)
        fill(heir, f"of {number}")
        heirs.append(heir)
    last = heirs[-1]
    models, given, end = last.given(0, 1000)
    assert len(models) == journals.MODELS
    assert end == last.written >= journals.MODELS
    newest = last.find(end - 1, digest_of(f"of {len(others) - 1}"))
    assert newest is not None
    assert newest.receipt.model == bytes([len(others) - 1]) * 32
    models, given, _ = last.given(end - 1, 1)
    assert (len(models), len(given)) == (1, 56)


def test_a_pod_that_ends_takes_no_more(kept: Served, newer: Served, listening: Listening) -> None:
    newer.state.draining = True
    ask(kept, (0.1, "a"))
    with listening(newer) as address:
        assert give_away(kept.counting.journal, "flights", address, 0.6) == 0
    assert newer.counting.journal is None


def test_what_was_sent_and_not_answered_is_not_sent_twice(kept: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    ask(kept, (0.1, "a"))
    calls = []

    def lost(request: Any, timeout: float) -> None:
        calls.append(request.full_url)
        raise ConnectionResetError("gone")

    monkeypatch.setattr("urllib.request.urlopen", lost)
    assert give_away(kept.counting.journal, "flights", "http://other", 5) == 0
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        (JOURNAL, b"{}", 400),
        (KEYS, b"\xc1", 400),
        (LABELS, pack({"name": "flights", "matches": [[1]]}), 400),
        (LABELS, pack({"name": "others", "matches": []}), 404),
        (RECEIPTS, pack({"name": "flights", "labels": [[1]]}), 400),
        (RECEIPTS, pack({"name": "others", "labels": []}), 404),
        (WAITING, pack({"name": "flights"}), 400),
        (WAITING, pack({"name": "others", "again": 1.0}), 404),
        (RECORDS, pack({"name": "flights", "key": "flight", "models": [], "records": b"x" * 56}), 400),
        (RECORDS, pack({"name": "flights", "key": "flight", "models": [], "records": b"x"}), 400),
        (RECORDS, pack({"name": "flights", "key": "other", "models": [], "records": b""}), 409),
        (RECORDS, pack({"name": "others", "key": "flight", "models": [], "records": b""}), 404),
    ],
)
def test_nonsense_is_refused_by_name(kept: Served, path: str, body: bytes, status: int) -> None:
    assert kept.operate(path, body, "POST").status == status


def sent(port: int, path: str, body: Any) -> bytes:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", pack(body))
    with urllib.request.urlopen(request, timeout=60) as response:
        found: bytes = response.read()
        return found


@pytest.mark.process
def test_a_server_that_is_killed_while_labels_come_both_ways_counts_each_once(
    models: ModuleType, start: Callable[..., Any], tmp_path: Path
) -> None:
    """The Job, and who sends receipts, send all of them again to whoever is there then."""
    model = models.binary(tmp_path / "model")
    server = start(model)
    server.wait_ready()
    assert server.ask(server.control, JOURNAL, {"key": "flight"})[0] == 200
    rows = 300
    x = {"name": "x", "shape": [rows, 2], "datatype": "FP64", "data": [0.1, 0] * rows}
    key = {"name": "flight", "shape": [rows], "datatype": "INT64", "data": list(range(rows))}
    body = {"inputs": [x, key], "parameters": {"receipt": True}}
    status, answer = server.ask(server.port, "/v2/models/flights/infer", body)
    assert status == 200
    matches = [Match(at, digest_of(at), at + 1, "no") for at in range(rows)]
    items = [{"receipt": receipt, "label": "no"} for receipt in answer["parameters"]["receipts"]]
    feedback = "/v2/models/flights/feedback"
    dying = threading.Timer(0.05, server.process.kill)
    dying.start()
    try:
        for turn in range(10_000):
            for first in range(0, rows, 10):
                part = slice(first, first + 10)
                if (turn + first // 10) % 2:
                    sent(server.control, LABELS, Matches("flights", matches[part]))
                else:
                    server.ask(server.control, feedback, {"labels": items[part]})
    except (OSError, http.client.HTTPException):
        server.process.wait()
    dying.join()
    again = start(model)
    again.wait_ready()
    told = msgspec.msgpack.decode(sent(again.control, LABELS, Matches("flights", matches)), type=Outcomes)
    assert set(told.outcomes) <= {Outcome.COUNTED, Outcome.DUPLICATE}
    assert again.ask(again.control, feedback, {"labels": items})[1]["duplicates"] == rows
    assert again.ask(again.control, "/perennial/v1/stats")[1]["labels"] == rows
