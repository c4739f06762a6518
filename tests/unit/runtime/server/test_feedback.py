"""Labels from the receipt of a prediction to the cells of an epoch, over any replica and any mistake."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace as Served
from typing import Any

import msgspec
import pytest

from perennial.runtime.server import receipt as receipts
from perennial.runtime.server.feedback import judge, uniform_ends
from perennial.runtime.server.receipt import Companion, Ids, Receipt

from .labelled import by_loss

FEEDBACK = "/v2/models/flights/feedback"


def predict(served: Served, *rows: tuple[float, float]) -> list[str]:
    """Receipts of the rows' predictions."""
    tensor = {"name": "x", "shape": [len(rows), 2], "datatype": "FP64", "data": [list(row) for row in rows]}
    body = served.infer({"inputs": [tensor], "parameters": {"receipt": True}}).body
    found: list[str] = body["parameters"]["receipts"]
    return found


def send(served: Served, *labels: tuple[str, Any]) -> dict[str, Any]:
    items = [{"receipt": receipt, "label": label} for receipt, label in labels]
    body: dict[str, Any] = served.operate(FEEDBACK, {"labels": items}).body
    return body


def counted(served: Served) -> dict[str, Any]:
    """The models of the newest epoch."""
    models: dict[str, Any] = served.operate("/perennial/v1/epochs", {}).body["epochs"][-1]["models"]
    return models


def test_labels_count_by_loss_and_by_score(binary: Served) -> None:
    receipts_ = predict(binary, (0.1, 0), (0.3, 0), (0.6, 0), (0.8, 0))
    verdict = send(binary, *zip(receipts_, ["no", "yes", "yes", "no"], strict=True))
    assert verdict == {"accepted": 4, "duplicates": 0, "retired": 0, "waiting": 0, "rejected": []}
    labels = counted(binary)[binary.predictor.model.digest]["labels"]
    assert by_loss(labels) == [2, 2]
    assert labels["score"] == [0, 1, 1, 1, 1, 0, 0][: len(labels["score"])]
    assert labels["by_score"] == [0, 0, 1, 1, 0, 0, 0][: len(labels["by_score"])]
    stats = binary.operate("/perennial/v1/stats").body
    assert (stats["labels"], stats["loss"]) == (4, 2.0)


def test_without_asking_there_is_no_receipt(binary: Served) -> None:
    tensor = {"name": "x", "shape": [1, 2], "datatype": "FP64", "data": [1, 2]}
    assert "parameters" not in binary.infer({"inputs": [tensor]}).body


def test_a_label_counts_once(binary: Served) -> None:
    [receipt] = predict(binary, (0.1, 0))
    assert send(binary, (receipt, "no"), (receipt, "no"))["duplicates"] == 1
    counted(binary)
    assert send(binary, (receipt, "yes")) == {
        "accepted": 0,
        "duplicates": 1,
        "retired": 0,
        "waiting": 0,
        "rejected": [],
    }
    assert binary.operate("/perennial/v1/stats").body["labels"] == 1


def test_a_retired_models_label_counts_under_its_digest(binary: Served, newer: Served) -> None:
    [receipt] = predict(binary, (0.6, 0))
    assert send(newer, (receipt, "no")) == {"accepted": 1, "duplicates": 0, "retired": 1, "waiting": 0, "rejected": []}
    issued = str(receipts.read(receipt).issued)
    labels = {"loss": {issued: [0, 1]}, "score": [0, 0, 0, 1, 0, 0, 0], "by_score": [0] * 7}
    assert counted(newer) == {binary.predictor.model.digest: {"labels": labels}}
    assert newer.operate("/perennial/v1/stats").body["labels"] == 0


@pytest.mark.parametrize(
    ("item", "said"),
    [
        (3, "Expected `object`, got `int`"),
        ({"label": 1}, "missing required field `receipt`"),
        ({"receipt": "x"}, "missing required field `label`"),
        ({"receipt": 1, "label": "no"}, "receipt: Expected `str`"),
        ({"receipt": "x", "label": None}, "label: "),
        ({"receipt": "not one!", "label": "no"}, "not a receipt"),
        ({"receipt": "AAAA", "label": "no"}, "damaged"),
        ({"receipt": "", "label": "no"}, "damaged"),
        ({"receipt": "AAAAAA", "label": "no"}, "release"),
    ],
)
def test_what_is_malformed_is_said_and_spoils_nothing(binary: Served, item: Any, said: str) -> None:
    [receipt] = predict(binary, (0.1, 0))
    answer = binary.operate(FEEDBACK, {"labels": [item, {"receipt": receipt, "label": "no"}]})
    [rejected] = answer.body["rejected"]
    assert (answer.status, answer.body["accepted"], rejected["index"]) == (200, 1, 0)
    assert said in rejected["message"]


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", {"labels": 3}, {"labels": None}])
def test_a_body_of_another_kind_is_refused(binary: Served, body: Any) -> None:
    assert binary.operate(FEEDBACK, body, "POST").status == 400


def test_every_change_of_a_receipt_is_noticed(binary: Served) -> None:
    [receipt] = predict(binary, (0.1, 0))
    for position in range(len(receipt)):
        changed = receipt[:position] + ("A" if receipt[position] != "A" else "B") + receipt[position + 1 :]
        verdict = send(binary, (changed, "no"))
        # The last character may have bits to spare: then it is the same receipt still.
        assert verdict["accepted"] == 0 or position == len(receipt) - 1
    assert send(binary, (receipt[:-5], "no"))["accepted"] == 0


def test_a_label_that_is_no_class_is_rejected(binary: Served) -> None:
    [receipt] = predict(binary, (0.1, 0))
    [rejected] = send(binary, (receipt, "maybe"))["rejected"]
    assert "'maybe' is none of the model's classes ('no', 'yes')" in rejected["message"]
    assert send(binary, (receipt, "no"))["accepted"] == 1


def test_a_regressions_loss_is_bounded_and_binned(mixed: Served) -> None:
    inputs = [
        {"name": "x", "shape": [3], "datatype": "FP64", "data": [1, 1, 1]},
        {"name": "carrier", "shape": [3], "datatype": "BYTES", "data": ["UA", "AA", "AA"]},
        {"name": "flag", "shape": [3], "datatype": "BOOL", "data": [False, False, False]},
    ]
    body = mixed.infer({"inputs": inputs, "parameters": {"receipt": True}}).body
    found = body["parameters"]["receipts"]
    verdict = send(mixed, (found[0], 11), (found[1], 100.0), (found[2], 5), (found[0], "x"), (found[0], True))
    assert (verdict["accepted"], [item["index"] for item in verdict["rejected"]]) == (3, [3, 4])
    labels = counted(mixed)[mixed.predictor.model.digest]["labels"]
    assert by_loss(labels) == [1, 1, 0, 1]
    assert labels["score"] == [0, 2, 1, 0, 0]
    assert labels["by_score"] == [0, 2, 0, 0, 0]
    assert mixed.operate("/perennial/v1/stats").body["loss"] == 1.5


def test_a_prediction_that_is_no_number_has_no_loss(mixed: Served) -> None:
    inputs = [
        {"name": "x", "shape": [1], "datatype": "FP64", "data": [None]},
        {"name": "carrier", "shape": [1], "datatype": "BYTES", "data": ["UA"]},
        {"name": "flag", "shape": [1], "datatype": "BOOL", "data": [False]},
    ]
    body = mixed.infer({"inputs": inputs, "parameters": {"receipt": True}}).body
    [rejected] = send(mixed, (body["parameters"]["receipts"][0], 3.0))["rejected"]
    assert "has no loss" in rejected["message"]


def test_equal_bins_of_the_loss_are_named_by_their_number() -> None:
    ends = uniform_ends(4)
    assert ends == [0.0, 0.25, 0.5, 0.75, 1.0]
    base = Receipt(1, 0, b"m" * 32, "value", 10.0, 2, 5, loss_ends=4, scale=8.0)
    for label, cell in ((10.0, 0), (11.0, 1), (12.0, 1), (12.5, 2), (-1e300, 4)):
        named, listed = judge(base, label), judge(msgspec.structs.replace(base, loss_ends=ends), label)
        assert (named.loss_cell, named.loss_cells) == (listed.loss_cell, listed.loss_cells) == (cell, 5)


def test_labels_of_a_classifier_match_by_value_or_text() -> None:
    base = Receipt(1, 0, b"m" * 32, "positive", 1, 2, 5, positive=1)
    for label in (1, 1.0, "1"):
        judged = judge(base, label)
        assert (judged.loss, judged.positive, judged.loss_cell) == (0.0, True, 0)
    assert judge(base, True).loss == 1.0
    assert judge(msgspec.structs.replace(base, prediction=True, positive=True), True).loss == 0.0


def test_more_than_two_classes_count_errors_by_confidence() -> None:
    base = Receipt(1, 0, b"m" * 32, "confidence", "a", 2, 5)
    assert (judge(base, "a").positive, judge(base, "b").positive) == (False, True)


def test_the_companions_loss_is_its_own() -> None:
    base = Receipt(1, 0, b"m" * 32, "positive", "yes", 2, 5, positive="yes", companion=Companion(b"c" * 32, "no"))
    judged = judge(base, "no")
    assert (judged.loss, judged.companion_loss, judged.companion) == (1.0, 0.0, (b"c" * 32).hex())


def test_receipts_survive_the_way() -> None:
    receipt = Receipt(2**62, 1_700_000_000, bytes(range(32)), "value", 1.5, 2, 5, None, [0.5, 1.0], 3.0, 0.1)
    text = receipts.write(receipt)
    assert receipts.read(text) == receipt
    assert text.isascii()
    assert not set(text) & set("+/=")


@pytest.mark.parametrize(
    "change",
    [{"score_cell": 5}, {"model": b"x"}, {"score_cells": 70_000}, {"scale": 0.0}, {"loss_ends": 0}, {"id": -1}],
)
def test_a_receipt_that_contradicts_itself_is_none(change: dict[str, Any]) -> None:
    receipt = Receipt(1, 0, b"m" * 32, "value", 1.5, 2, 5)
    with pytest.raises(receipts.BadReceipt):
        receipts.read(receipts.write(msgspec.structs.replace(receipt, **change)))


def test_ids_are_not_given_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receipts, "_COUNT_BITS", 4)
    first, second = Ids(), Ids()
    given = [ids() for _ in range(100) for ids in (first, second)]
    assert len(set(given)) == 200


def test_a_crash_forgets_no_label(binary: Served, serve_model: Callable[..., Served]) -> None:
    [first, second] = predict(binary, (0.1, 0), (0.9, 0))
    send(binary, (first, "no"))
    binary.counting._slot.release()
    again = serve_model(binary.predictor.model.served, binary.counting.mapped.folder)
    verdict = send(again, (first, "no"), (second, "no"))
    assert verdict == {"accepted": 1, "duplicates": 1, "retired": 0, "waiting": 0, "rejected": []}
    own = counted(again)[binary.predictor.model.digest]
    assert (own["rows"], by_loss(own["labels"])) == (2, [1, 1])
