"""The Job that joins labels, against the control ports of real servers: every label to its prediction, once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from types import SimpleNamespace as Served
from typing import Any

import msgspec
import pandas as pd
import pytest

from perennial.runtime.failures import InputError
from perennial.runtime.joiner import join as joining
from perennial.runtime.joiner.join import join
from perennial.runtime.joiner.predictions import Predictions
from perennial.runtime.joiner.servers import Pod
from perennial.runtime.joiner.termination import message
from perennial.runtime.keys import digest_of
from perennial.wire.join import Join, Joined, Server
from perennial.wire.result import Failure

from .labelled import by_loss

Listening = Callable[[Served], AbstractContextManager[str]]


def keep(served: Served, key: str = "flight") -> None:
    served.operate("/perennial/v1/journal", {"key": key})


def ask(served: Served, **rows: float) -> None:
    """A row for each key, of a first feature."""
    names = [feature.name for feature in served.predictor.model.schema.features]
    body = [dict.fromkeys(names, 0.0) | {names[0]: value, "flight": key} for key, value in rows.items()]
    assert served.infer({"rows": body}).status == 200


def losses(served: Served) -> dict[str, list[int]]:
    """Labels by loss of the newest epoch, by model digest."""
    epochs = served.operate("/perennial/v1/epochs", {}).body["epochs"]
    models = epochs[-1]["models"] if epochs else {}
    return {model: by_loss(counts["labels"]) for model, counts in models.items() if "labels" in counts}


def receipts(served: Served, **rows: float) -> dict[str, str]:
    """The same, with the rows' receipts, by key."""
    names = [feature.name for feature in served.predictor.model.schema.features]
    body = [dict.fromkeys(names, 0.0) | {names[0]: value, "flight": key} for key, value in rows.items()]
    answer = served.infer({"rows": body, "parameters": {"receipt": True}})
    return dict(zip(rows, (row["receipt"] for row in answer.body["rows"]), strict=True))


def send(served: Served, *labels: tuple[str, str]) -> tuple[int, int, int]:
    """Labels with receipts: how many were accepted, of them wait, and were duplicates."""
    items = [{"receipt": receipt, "label": label} for receipt, label in labels]
    body = served.operate("/v2/models/flights/feedback", {"labels": items}).body
    assert not body["rejected"], body
    return body["accepted"], body["waiting"], body["duplicates"]


class Scene:
    """A folder of label files, and server pods behind their control ports."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.addresses: list[str] = []
        self.said: list[str] = []
        self._patch = monkeypatch
        folder.mkdir()

    def add(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    def join(self, joined: bytes = b"", **changes: Any) -> Joined:
        pods = iter(self.addresses)

        class Near(Pod):
            """A pod that is in this process: at a port of its own."""

            def __init__(self, server: Server, deployment: str, port: int) -> None:
                super().__init__(server, deployment, port, pause=0)
                self._address = next(pods)

        self._patch.setattr(joining, "Pod", Near)
        servers = [Server(str(i), f"pod-{i}", "127.0.0.1") for i in range(len(self.addresses))]
        asked = Join(1, "flights", f"file://{self.folder}/*.csv", "flight", "late", servers, joined=joined)
        return join(msgspec.structs.replace(asked, **changes), Path("/nowhere"), self.said.append)


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    return Scene(tmp_path / "labels", monkeypatch)


@pytest.fixture
def asked(scene: Scene, binary: Served, listening: Listening) -> Iterator[Scene]:
    """With one pod, which remembers a prediction."""
    keep(binary)
    ask(binary, a=0.1)
    with listening(binary) as address:
        scene.addresses = [address]
        yield scene


def test_labels_reach_the_pods_that_predicted(
    scene: Scene, binary: Served, newer: Served, listening: Listening
) -> None:
    keep(binary)
    keep(newer)
    ask(binary, a=0.1, b=0.8)
    ask(newer, c=0.6, d=0.9)
    scene.add("1.csv", "flight,late,more\na,no,x\nb,no,x\nc,yes,x\nnobody,yes,x\nd,,x\n,yes,x\n")
    with ExitStack() as stack:
        scene.addresses = [stack.enter_context(listening(served)) for served in (binary, newer)]
        first = scene.join()
        again = scene.join(first.files)
    assert (first.counted, first.unmatched, first.duplicates, first.rejected) == (3, 1, 0, 0)
    assert len(first.files) == 8
    assert first.since is not None
    assert again == Joined(1)
    assert losses(binary) == {binary.predictor.model.digest: [1, 1]}
    assert losses(newer) == {newer.predictor.model.digest: [0, 1]}


def test_a_join_that_is_done_again_tells_and_counts_the_same(
    scene: Scene, binary: Served, listening: Listening
) -> None:
    keep(binary)
    ask(binary, a=0.1, b=0.8)
    scene.add("1.csv", "flight,late\na,no\na,yes\nb,maybe\n")
    with listening(binary) as address:
        scene.addresses = [address]
        first, again = scene.join(), scene.join()
    assert first == again
    assert (first.counted, first.duplicates, first.rejected) == (1, 1, 1)
    assert first.notes == [
        f"file://{scene.folder}/1.csv, row 3: label 'maybe' is none of the model's classes ('no', 'yes')"
    ]
    assert losses(binary) == {binary.predictor.model.digest: [1, 0]}


def test_a_later_file_only_adds(scene: Scene, binary: Served, listening: Listening) -> None:
    keep(binary)
    ask(binary, a=0.1, b=0.8, c=0.9)
    scene.add("1.csv", "flight,late\na,no\n")
    with listening(binary) as address:
        scene.addresses = [address]
        first = scene.join()
        scene.add("2.csv", "flight,late\na,yes\nb,yes\n")
        second = scene.join(first.files)
        # The same file, grown: only what is new in it counts.
        scene.add("1.csv", "flight,late\na,no\nc,no\n")
        third = scene.join(first.files + second.files)
    assert (second.counted, second.duplicates) == (1, 1)
    assert (third.counted, third.duplicates) == (1, 1)
    assert losses(binary) == {binary.predictor.model.digest: [2, 1]}


def test_labels_of_a_version_before_are_late(scene: Scene, binary: Served, newer: Served, listening: Listening) -> None:
    keep(binary)
    ask(binary, a=0.65)
    models, records, _ = binary.counting.journal.given(0, 10)
    newer.predictor.keep("flight")
    newer.counting.journal.take(models, records)
    scene.add("1.csv", "flight,late\na,no\n")
    with listening(newer) as address:
        scene.addresses = [address]
        assert (joined := scene.join()).late == 1, joined
    assert losses(newer) == {binary.predictor.model.digest: [0, 1]}


def test_a_label_is_for_what_was_predicted_before_it(
    scene: Scene, binary: Served, listening: Listening, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that comes again and again: each prediction has the first label that became known after it."""
    keep(binary)
    for moment in (100, 200, 300):
        monkeypatch.setattr("perennial.runtime.server.counts.journal.time.time", lambda now=moment: now)
        ask(binary, a=0.1)
    scene.add(
        "1.csv", "flight,late,known\na,yes,1970-01-01T00:04:10Z\na,no,150\n".replace("150", "1970-01-01 00:02:30")
    )
    with listening(binary) as address:
        scene.addresses = [address]
        joined = scene.join(time="known")
    assert (joined.counted, joined.duplicates) == (2, 0)
    assert losses(binary) == {binary.predictor.model.digest: [1, 1]}


def test_a_pod_that_is_gone_is_missed_and_the_others_are_asked(
    scene: Scene, binary: Served, listening: Listening
) -> None:
    keep(binary)
    ask(binary, a=0.1)
    scene.add("1.csv", "flight,late\na,no\n")
    with listening(binary) as address:
        scene.addresses = ["http://127.0.0.1:9", address]
        joined = scene.join()
    assert joined.counted == 1
    assert joined.missed is not None
    assert joined.missed.startswith("pod pod-0 does not answer: ")


def test_while_nothing_is_remembered_no_file_is_done_with(scene: Scene, binary: Served, listening: Listening) -> None:
    keep(binary, "booking")
    scene.add("1.csv", "flight,late\na,no\n")
    with listening(binary) as address:
        scene.addresses = [address]
        assert scene.join() == Joined(1, notes=["no pod remembers a prediction yet"])


def test_keys_of_parquet_and_csv_are_those_of_requests(scene: Scene, binary: Served, listening: Listening) -> None:
    big = 2**60 + 1
    keep(binary)
    ask(binary, **{"007": 0.1, str(big): 0.8})
    scene.add("1.csv", "flight,late\n007,no\n")
    frame = pd.DataFrame({"flight": pd.array([big, None], "Int64"), "late": ["yes", "yes"]})
    frame.to_parquet(scene.folder / "2.parquet")
    with listening(binary) as address:
        scene.addresses = [address]
        assert scene.join(uri=f"file://{scene.folder}").counted == 2


def test_no_file_yet_is_no_fault(scene: Scene) -> None:
    assert scene.join().notes == [f"spec.labels.uri: no file matches file://{scene.folder}/*.csv"]


@pytest.mark.parametrize(
    ("text", "changes", "reason", "said"),
    [
        ("flight,delayed\na,1\n", {}, "MissingColumn", "no column 'late'; there is flight, delayed"),
        ("flite,late\na,1\n", {}, "MissingColumn", "no column 'flight'; did you mean flite?"),
        (
            "flight,late,t\na,1,x\n",
            {"time": "t"},
            "TimeUnreadable",
            "row 1: column 't' (spec.labels.time) has no",
        ),
        ("", {}, "DataUnreadable", "the file is empty"),
    ],
)
def test_a_table_that_cannot_be_read_is_named(
    asked: Scene, text: str, changes: dict[str, Any], reason: str, said: str
) -> None:
    asked.add("1.csv", text)
    with pytest.raises(InputError, match=r".*") as caught:
        asked.join(**changes)
    assert caught.value.reason == reason
    assert said in caught.value.message
    assert "1.csv" in caught.value.message


def test_a_file_that_changed_is_read_again_whatever_its_time_says(asked: Scene) -> None:
    asked.add("1.csv", "flight,late\nb,no\n")
    first, file = asked.join(), asked.folder / "1.csv"
    moment = file.stat().st_mtime_ns
    asked.add("1.csv", "flight,late\na,no\n")
    os.utime(file, ns=(moment, moment))
    assert (first.counted, asked.join(first.files).counted) == (0, 1)


def test_a_pod_that_remembers_nothing_by_now_is_not_asked_again(binary: Served, listening: Listening) -> None:
    with listening(binary) as address:
        pod = Pod(Server("0", "pod-0", "127.0.0.1"), "flights", 0, pause=0)
        pod._address = address
        assert pod.label([]) is None


def test_files_beyond_one_joins_room_are_left_for_the_next(asked: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joining, "FILES_A_JOIN", 2)
    for number in range(3):
        asked.add(f"{number}.csv", "flight,late\na,no\n")
    first = asked.join()
    assert (first.more, len(first.files)) == (True, 16)
    second = asked.join(first.files)
    assert (second.more, len(second.files)) == (False, 8)


def test_a_table_of_too_many_files_is_refused(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joining, "MAX_FILES", 1)
    scene.add("1.csv", "flight,late\n")
    scene.add("2.csv", "flight,late\n")
    with pytest.raises(InputError, match="narrow the pattern"):
        scene.join()


def test_of_no_predictions_there_is_no_oldest_one() -> None:
    assert Predictions().sealed().since is None


def test_a_result_fits_where_it_is_told() -> None:
    failure = Failure("DataUnreadable", "é" * 5000)
    full = Joined(9, b"x" * 1600, 1, 2, 3, 4, 5, True, "m" * 4000, 1, ["n" * 4000], failure)
    told = msgspec.json.decode(message(full), type=Joined)
    assert (told.files, told.counted, told.rejected, told.more) == (full.files, 1, 5, True)
    assert told.failure is not None


def test_a_digest_is_as_long_as_the_index_takes_it() -> None:
    assert len(digest_of("a")) == 8


@pytest.fixture
def two(scene: Scene, binary: Served, newer: Served, listening: Listening) -> Iterator[Scene]:
    """Two pods that remember by key, `binary` and `newer`."""
    keep(binary)
    keep(newer)
    with ExitStack() as stack:
        scene.addresses = [stack.enter_context(listening(served)) for served in (binary, newer)]
        yield scene


def test_a_label_that_comes_both_ways_counts_once(two: Scene, binary: Served, newer: Served) -> None:
    """Receipt and table, in either order, and the receipt at whichever pod."""
    receipt = receipts(binary, a=0.1, b=0.2, c=0.3, d=0.4, e=0.8)
    assert send(binary, (receipt["a"], "no")) == (1, 0, 0)
    assert send(newer, (receipt["b"], "no")) == (1, 1, 0)
    two.add("1.csv", "flight,late\na,no\nb,no\nc,no\nd,no\n")
    joined = two.join()
    assert (joined.counted, joined.duplicates, joined.unmatched) == (2, 2, 0)
    assert "1 labels that came with receipts were counted, 0 go on waiting" in two.said
    assert send(binary, (receipt["c"], "no")) == (0, 0, 1)
    assert send(newer, (receipt["d"], "no"), (receipt["d"], "no"), (receipt["e"], "no")) == (2, 2, 1)
    two.join(joined.files)
    assert not len(newer.counting.waiting)
    assert losses(binary) == {binary.predictor.model.digest: [4, 1]}
    assert losses(newer) == {}


def test_a_copy_of_a_label_at_another_pod_counts_once_too(two: Scene, binary: Served, newer: Served) -> None:
    receipt = receipts(binary, a=0.1)
    assert send(newer, (receipt["a"], "no")) == (1, 1, 0)
    assert send(binary, (receipt["a"], "no")) == (1, 0, 0)
    two.join()
    assert send(newer, (receipt["a"], "no")) == (1, 1, 0)
    two.join()
    assert losses(binary) == {binary.predictor.model.digest: [1, 0]}
    assert losses(newer) == {}


def test_what_no_pod_remembers_counts_where_it_waits(
    two: Scene, binary: Served, newer: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ring has gone on since; no table can find it any more."""
    receipt = receipts(binary, a=0.1)
    assert send(newer, (receipt["a"], "no")) == (1, 1, 0)
    binary.counting.journal._records["id"] = 0
    assert send(binary, (receipt["a"], "no")) == (1, 1, 0), "a copy"
    addresses = two.addresses
    two.addresses = [*addresses, "http://127.0.0.1:9"]
    two.join()
    assert len(newer.counting.waiting) == 1, "a pod that cannot be asked may remember it"
    two.addresses = addresses
    two.join()
    assert len(binary.counting.waiting) == len(newer.counting.waiting) == 0
    assert losses(binary) == {binary.predictor.model.digest: [1, 0]}
    assert losses(newer) == {}
    assert send(binary, (receipt["a"], "no")) == (0, 0, 1)


def test_keys_that_come_together_have_receipts_of_their_own(two: Scene, binary: Served) -> None:
    names = [feature.name for feature in binary.predictor.model.schema.features]
    row = dict.fromkeys(names, 0.0) | {"flight": "a"}
    asked = {"rows": [row, {**row, "flight": None}, row], "parameters": {"receipt": True}}
    first, unkept, last = (each["receipt"] for each in binary.infer(asked).body["rows"])
    assert send(binary, (first, "no"), (unkept, "no"), (last, "no")) == (3, 0, 0)
    two.add("1.csv", "flight,late\na,no\n")
    assert two.join().duplicates == 1
    assert losses(binary) == {binary.predictor.model.digest: [3, 0]}
