"""Labels that come with receipts and in tables, in any order, to pods that are killed and pods that end: each
prediction that has one counts it once.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from pathlib import Path
from types import ModuleType
from types import SimpleNamespace as Served
from typing import Any

import pytest

from perennial.runtime.joiner import join as joining
from perennial.runtime.joiner.join import join
from perennial.runtime.joiner.servers import Pod
from perennial.runtime.server.bequest import give_away, pass_on
from perennial.runtime.server.counts.journal import Journal
from perennial.wire.join import Join, Server

Listening = Callable[[Served], AbstractContextManager[str]]
STEPS = 60


class Fleet:
    """Three pods of one model, which come and go, and a folder of label files."""

    def __init__(self, folder: Path, make: Callable[[str], Served], listening: Listening, seed: int) -> None:
        self.draw = random.Random(seed)
        self.receipts: dict[str, str] = {}
        self.labelled: set[str] = set()
        self._table = folder / "labels"
        self._table.mkdir()
        self._make, self._listening = make, listening
        self._joined = b""
        self._files = self._made = self._gone = 0
        self._pods: dict[str, Served] = {}
        for _ in range(3):
            self.arrive()
        self.predict()

    @property
    def counted(self) -> int:
        return self._gone + sum(int(pod.counting.book.totals.labels) for pod in self._pods.values())

    @property
    def waiting(self) -> int:
        return sum(len(pod.counting.waiting) for pod in self._pods.values())

    def any(self) -> Served:
        return self.draw.choice([*self._pods.values()])

    def arrive(self) -> None:
        self._made += 1
        name = f"pod-{self._made}"
        self._pods[name] = self._make(name)
        self._pods[name].operate("/perennial/v1/journal", {"key": "flight"})

    def predict(self) -> None:
        keys = [f"k{len(self.receipts) + at}" for at in range(3)]
        rows = [{"a": 0.1, "b": 0.0, "flight": key} for key in keys]
        answer = self.any().infer({"rows": rows, "parameters": {"receipt": True}})
        self.receipts |= {key: row["receipt"] for key, row in zip(keys, answer.body["rows"], strict=True)}

    def send(self) -> None:
        """A label with its receipt, to whichever pod."""
        key = self.draw.choice([*self.receipts])
        items = [{"receipt": self.receipts[key], "label": "no"}]
        assert not self.any().operate("/v2/models/flights/feedback", {"labels": items}).body["rejected"]
        self.labelled.add(key)

    def write(self) -> None:
        """Another file of the table."""
        keys = self.draw.sample([*self.receipts], min(4, len(self.receipts)))
        self._files += 1
        (self._table / f"{self._files}.csv").write_text("\n".join(["flight,late", *(f"{key},no" for key in keys)]))
        self.labelled |= set(keys)

    def join(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Sometimes the Job dies after its work, and is done again."""
        with ExitStack() as stack:
            near = {name: stack.enter_context(self._listening(pod)) for name, pod in self._pods.items()}

            class Near(Pod):
                def __init__(self, server: Server, deployment: str, port: int) -> None:
                    super().__init__(server, deployment, port, pause=0)
                    self._address = near[server.name]

            monkeypatch.setattr(joining, "Pod", Near)
            servers = [Server(name, name, "127.0.0.1") for name in near]
            asked = Join(1, "flights", f"file://{self._table}/*.csv", "flight", "late", servers, joined=self._joined)
            for _ in range(self.draw.choice((1, 2))):
                joined = join(asked, Path("/nowhere"), lambda _: None)
        self._joined += joined.files

    def kill(self) -> None:
        """Between the count of the last label and its mark, where there was one."""
        name = self.draw.choice([*self._pods])
        counting = self._pods[name].counting
        ledger = counting.book._ledger
        last = int(ledger._records["id"][ledger.written - 1]) if ledger.written else 0
        if (number := counting.journal.number_of(last)) is not None:
            counting.journal.mark(number, 0)
        counting._slot.release()
        self._pods[name] = self._make(name)

    def end(self) -> None:
        """A pod gives what it has to another one, as it drains; a new one takes its place."""
        leaving = self._pods.pop(self.draw.choice([*self._pods]))
        with self._listening(self.any()) as heir:
            sent = pass_on(leaving.counting.waiting.all, "flights", heir, 5)
            leaving.predictor.feedback.settle(sent, ())
            give_away(leaving.counting.journal, "flights", heir, 5)
        self._gone += leaving.counting.book.totals.labels
        self.arrive()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_prediction_counts_one_label(
    tmp_path: Path,
    models: ModuleType,
    serve_model: Callable[..., Served],
    listening: Listening,
    monkeypatch: pytest.MonkeyPatch,
    seed: int,
) -> None:
    monkeypatch.setattr("perennial.runtime.server.counting.Journal", partial(Journal, capacity=256))
    model = models.binary(tmp_path / "model")
    fleet = Fleet(tmp_path, lambda name: serve_model(model, tmp_path / name), listening, seed)
    often: dict[Callable[[], Any], int] = {
        fleet.predict: 6,
        fleet.send: 12,
        fleet.write: 4,
        lambda: fleet.join(monkeypatch): 3,
        fleet.kill: 3,
        fleet.end: 2,
    }
    for step in fleet.draw.choices([*often], [*often.values()], k=STEPS):
        step()
    fleet.join(monkeypatch)
    assert fleet.waiting == 0
    assert len(fleet.labelled) > 10
    assert fleet.counted == len(fleet.labelled)
