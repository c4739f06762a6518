"""The model beside its companion: the same rows, within a budget, never at the cost of an answer."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import ModuleType
from types import SimpleNamespace as Served
from typing import Any

import numpy as np
import pytest

from perennial.runtime.server.companion import BATCH, Companion, Incomparable
from perennial.runtime.server.inference import Intake
from perennial.runtime.server.model import load

ROWS = [(0.6, 0), (0.65, 0), (0.9, 0), (0.1, 0)]


def infer(served: Served, rows: list[Any], *, receipt: bool = False) -> Any:
    tensor = {"name": "x", "shape": [len(rows), 2], "datatype": "FP64", "data": [list(row) for row in rows]}
    return served.infer({"inputs": [tensor], "parameters": {"receipt": receipt}})


def comparison(served: Served) -> dict[str, Any]:
    found: dict[str, Any] = served.operate("/perennial/v1/stats").body["comparison"]
    return found


def test_disagreement_is_counted_beside_the_requests(paired: Served) -> None:
    infer(paired, ROWS)
    assert comparison(paired)["compared"] == 0
    asyncio.run(paired.predictor.score_samples())
    assert (comparison(paired)["compared"], comparison(paired)["disagreed"]) == (4, 2)


def test_what_waits_is_scored_in_batches(paired: Served) -> None:
    asked = []
    engine = paired.predictor.companion._engine

    def counting(rows: Any) -> Any:
        asked.append(rows.count)
        return engine(rows)

    paired.predictor.companion._engine = counting
    for _ in range(10):
        infer(paired, ROWS)
    asyncio.run(paired.predictor.score_samples())
    assert asked == [BATCH, 40 - BATCH]
    assert (comparison(paired)["compared"], comparison(paired)["disagreed"]) == (40, 20)


def test_receipts_carry_what_the_companion_said(paired: Served) -> None:
    receipts = infer(paired, ROWS, receipt=True).body["parameters"]["receipts"]
    labels = [
        {"receipt": receipt, "label": label}
        for receipt, label in zip(receipts, ["no", "yes", "yes", "yes"], strict=True)
    ]
    paired.operate("/v2/models/flights/feedback", {"labels": labels})
    found = comparison(paired)
    assert (found["compared"], found["disagreed"], found["labelled"]) == (4, 2, 4)
    assert (found["loss"], found["companion_loss"], found["loss_difference_squares"]) == (2.0, 2.0, 2.0)


def test_what_the_budget_does_not_allow_is_counted_as_not_compared(paired: Served) -> None:
    paired.predictor.companion._credit = -100.0
    infer(paired, ROWS, receipt=True)
    infer(paired, ROWS)
    asyncio.run(paired.predictor.score_samples())
    assert comparison(paired)["compared"] == 0
    metrics = paired.operate("/metrics").raw.decode()
    assert 'perennial_not_compared_rows_total{model="flights"} 4.0' in metrics


def test_the_time_taken_is_charged(paired: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    companion = paired.predictor.companion
    clock = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    companion._refilled, companion._credit = 0.0, 0.1
    companion._row_seconds = 0.05
    assert companion.afford(2)
    assert not companion.afford(3)
    clock[0] = 10.0
    assert companion.afford(4)
    assert not companion.afford(5)


def test_the_sample_follows_the_traffic(paired: Served) -> None:
    companion = paired.predictor.companion
    for _ in range(10_000):
        companion.sample(1)
    companion.tick()
    chosen = sum(companion.sample(1) is not None for _ in range(10_000))
    assert 350 < chosen < 650
    companion.tick()
    companion.tick()
    assert companion.sample(1) is not None


def test_a_large_request_gives_a_batch(paired: Served) -> None:
    chosen = paired.predictor.companion.sample(10_000)
    assert chosen is not None
    assert len(chosen) == BATCH == len(set(chosen.tolist()))
    assert chosen.tolist() == sorted(chosen.tolist())


def test_what_waits_is_bounded(paired: Served) -> None:
    paired.predictor.companion._credit = -1e9
    for _ in range(2000):
        infer(paired, ROWS[:1])
    assert len(paired.predictor.companion._queue) <= 1024


def test_a_failing_companion_costs_only_the_comparison(paired: Served) -> None:
    def broken(rows: Any) -> Any:
        raise RuntimeError("no")

    paired.predictor.companion._engine = broken
    answer = infer(paired, ROWS, receipt=True)
    assert (answer.status, len(answer.body["parameters"]["receipts"])) == (200, 4)
    infer(paired, ROWS)
    asyncio.run(paired.predictor.score_samples())
    assert comparison(paired)["compared"] == 0


def test_a_slow_companion_is_asked_beside_the_loop(paired: Served) -> None:
    paired.predictor.companion.inline_rows = 0
    assert infer(paired, ROWS, receipt=True).status == 200
    assert comparison(paired)["compared"] == 4


def test_another_task_or_feature_is_incomparable(tmp_path: Path, models: ModuleType) -> None:
    binary, mixed = load(models.binary(tmp_path / "a")), load(models.mixed(tmp_path / "b"))
    for companion, main in ((binary, mixed), (mixed, binary)):
        with pytest.raises(Incomparable):
            Companion(companion, main)


OF_BINARY = [{"name": name, "shape": [1], "datatype": "FP64", "data": [0.5]} for name in "ab"]
OF_MIXED = [
    {"name": "x", "shape": [1], "datatype": "FP64", "data": [1.0]},
    {"name": "flag", "shape": [1], "datatype": "BOOL", "data": [True]},
    {"name": "carrier", "shape": [1], "datatype": "BYTES", "data": ["UA"]},
]


@pytest.mark.parametrize(
    ("request_body", "status", "errors"),
    [
        ({"inputs": OF_MIXED}, 200, 0),
        ({"inputs": OF_BINARY}, 422, 1),
        ({"inputs": OF_BINARY, "outputs": [{"name": "probabilities"}]}, 422, 1),
        ({"inputs": OF_MIXED + OF_BINARY, "outputs": [{"name": "probabilities"}]}, 422, 1),
        ({"inputs": OF_MIXED + OF_BINARY, "outputs": [{"name": "odds"}]}, 400, 0),
        ({"inputs": OF_BINARY[:1]}, 400, 0),
        (b"{", 400, 0),
    ],
)
def test_what_only_the_version_before_took_is_an_error_of_this_one(
    mixed: Served, models: ModuleType, tmp_path: Path, request_body: Any, status: int, errors: int
) -> None:
    mixed.predictor.predecessor = Intake(load(models.binary(tmp_path / "before")))
    answer = mixed.infer(request_body)
    assert (answer.status, mixed.operate("/perennial/v1/stats").body["errors"]) == (status, errors)
    if status == 422:
        assert "the version before this one took such requests" in answer.body["error"]


def test_regressions_disagree_beyond_the_first_bin_of_the_loss(tmp_path: Path, models: ModuleType) -> None:
    model = load(models.mixed(tmp_path / "b"))
    companion = Companion(model, model)
    from perennial.runtime.server.engine import Answers

    mine, other = np.array([1.0, 1.0, 1.0, np.nan, np.nan]), np.array([3.0, 3.1, -1.0, np.nan, 1.0])
    assert companion._disagreed(Answers(mine), Answers(other)) == 2
