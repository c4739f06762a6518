"""How many rows go together: as many as are answered as each alone, bit for bit, on the model itself."""

from __future__ import annotations

import asyncio
import functools
import math
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import numpy as np
import pytest

from perennial.runtime.server import model as model_module
from perennial.runtime.server.engine import Answers
from perennial.runtime.server.exactness import MAX_BATCH_ROWS, batch_rows, trial_rows
from perennial.runtime.server.http import Reply, Request
from perennial.runtime.server.rows import Rows
from perennial.wire.schema import Example, Feature, Schema

SCHEMA = Schema(
    task="classification",
    target="late",
    features=[Feature("x", "numeric"), Feature("carrier", "categorical"), Feature("flag", "boolean")],
    score="positive",
    classes=[0, 1],
    examples=[Example([1.0, "UA", True], 1, [0.0, 1.0]), Example([4.0, None, False], 0, [1.0, 0.0])],
)


class Rounding:
    """A model whose probabilities lose their last bit in batches of `odd` rows and more."""

    name = "rounding"
    decide = None

    def __init__(self, odd: int, refuses: int = 1000) -> None:
        self.odd = odd
        self.refuses = refuses

    def __call__(self, rows: Rows) -> Answers:
        if rows.count >= self.refuses:
            raise ValueError("too many")
        chance = 1 / (1 + rows.numbers[:, 0])
        if rows.count >= self.odd:
            chance[-1] = np.nextafter(chance[-1], 2)
        return Answers((chance > 0.5).astype(np.int64), np.stack([1 - chance, chance], axis=1))


tried = functools.partial(batch_rows, seconds=math.inf)


@pytest.mark.parametrize("odd", [2, 3, 17, 64])
def test_one_bit_ends_it(odd: int) -> None:
    assert tried(Rounding(odd), SCHEMA) == odd - 1


def test_what_is_exact_goes_together() -> None:
    assert tried(Rounding(1000), SCHEMA) == MAX_BATCH_ROWS


def test_what_the_model_refuses_ends_it() -> None:
    assert tried(Rounding(1000, refuses=9), SCHEMA) == 8
    assert tried(Rounding(1000, refuses=1), SCHEMA) == 1


def test_time_ends_it() -> None:
    assert batch_rows(Rounding(1000), SCHEMA, seconds=0.0) == 1


def test_the_rows_tried_are_like_the_examples_and_differ() -> None:
    rows = trial_rows(SCHEMA, 64)
    assert rows.texts is not None
    assert len(np.unique(rows.numbers[:, 0])) > 30
    assert rows.numbers[:, 0].min() >= 1
    assert rows.numbers[:, 0].max() <= 4
    assert set(rows.texts[:, 0]) == {"UA", ""}
    assert set(rows.numbers[:, 1]) == {0.0, 1.0}


@pytest.mark.parametrize("name", ["binary", "mixed"])
async def test_answers_do_not_depend_on_who_else_asks(
    name: str, models: ModuleType, serve_model: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # How many rows are quick enough to go together, on a machine that may be busy with others, is not what is tested.
    monkeypatch.setattr(model_module, "batch_rows", tried)
    monkeypatch.setattr(model_module, "_timed", lambda *_: (1e-6, 1e-6))
    served = serve_model(getattr(models, name)(tmp_path / "model"), tmp_path / "counts", max_in_flight=100)
    bodies = [body(name, chance) for chance in np.random.default_rng(3).normal(size=30).tolist()]
    alone = [await replies(served, [one]) for one in bodies]
    sizes: list[int] = []
    compute = served.predictor.compute

    def seen(batch: list[Any], rows: Rows) -> Answers:
        sizes.append(rows.count)
        answers: Answers = compute(batch, rows)
        return answers

    monkeypatch.setattr(served.predictor, "compute", seen)
    together = await replies(served, bodies)
    assert sizes == [30]
    assert together == [one for each in alone for one in each]


def body(name: str, value: float) -> bytes:
    def tensor(feature: str, datatype: str, one: Any) -> dict[str, Any]:
        return {"name": feature, "shape": [1], "datatype": datatype, "data": [one]}

    inputs = {
        "binary": [tensor("a", "FP64", value), tensor("b", "FP64", 1)],
        "mixed": [tensor("x", "FP64", value), tensor("carrier", "BYTES", "UA"), tensor("flag", "BOOL", value > 0)],
    }
    return msgspec.json.encode({"inputs": inputs[name]})


async def replies(served: Any, bodies: list[bytes]) -> list[bytes]:
    answers: list[Reply] = []
    for one in bodies:
        request = Request("POST", "/v2/models/flights/infer", one, b"", keep_alive=True)
        served.inference.arrive(request)
        served.inference.respond(request, answers.append)
        served.inference.leave(request, 200)
    for _ in bodies:
        await asyncio.sleep(0)
    assert {answer.status for answer in answers} == {200}
    return [answer.body for answer in answers]
