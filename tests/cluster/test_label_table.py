"""Labels that arrive in a bucket, joined by a Job with what two pods predicted: every label once, whoever dies, also
those that come with receipts too, and harm found from nothing else.
"""

from __future__ import annotations

import json
import random
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from cluster.harness import Harness
from perennial.monitoring.checkpoint import decode
from tests.cluster.monitoring_scene import (
    MODELDEPLOYMENT,
    NORMAL,
    TINY,
    TRAININGJOB,
    Scene,
    driftmonitor,
    training_rows,
)
from tests.cluster.operator_process import OperatorProcess
from tests.cluster.outside import ObjectStore, host_address, object_store

ROWS = 300
"""Of each of the three batches."""

WINDOW = timedelta(seconds=5)
"""Of a prediction a window is opened no longer before than this, with the pause between two looks."""


@pytest.fixture
def bucket(cluster: Harness, tmp_path: Path) -> Iterator[ObjectStore]:
    with object_store(host_address(cluster), tmp_path) as store:
        (store.folder / "truth").mkdir()
        yield store


@pytest.fixture
def scene(cluster: Harness, namespace: str, operator: OperatorProcess, bucket: ObjectStore) -> Scene:
    """A model of two pods, and a bucket that may be read."""
    scene = Scene(cluster, namespace)
    scene.apply(training_rows(), TRAININGJOB, MODELDEPLOYMENT, bucket.secret("truth"))
    scene.wait_for(lambda: len(scene.pods()) == 2, "two pods serve")
    return scene


def labels(**changes: Any) -> dict[str, Any]:
    table = {
        "uri": "s3://truth/days/*.csv",
        "secretRef": {"name": "truth"},
        "key": "flight_id",
        "column": "late",
        "every": "10s",
        "resources": TINY,
    }
    return driftmonitor(labels={**table, **changes})


@dataclass(frozen=True)
class Served:
    """A row that was served: its key, the truth, and what the model said."""

    key: str
    late: int
    predicted: int
    receipt: str


def post(url: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as response:
        return json.load(response)


def key_of(pod: str) -> Any:
    """By what a pod remembers."""
    return post(f"http://{pod}:8081/perennial/v1/epochs", {"close": False})["key"]


def serve(pods: Sequence[str], batch: str) -> list[Served]:
    """Rows with keys, ten in turn to each pod."""
    draw, served = random.Random(batch), []
    for start in range(0, ROWS, 10):
        drawn = [NORMAL.row(draw) for _ in range(10)]
        rows = [
            {"flight_id": f"{batch}{start + at}", "a": a, "b": b, "carrier": carrier}
            for at, (a, b, carrier, _) in enumerate(drawn)
        ]
        answer = post(
            f"http://{pods[start // 10 % len(pods)]}:8080/v2/models/flights/infer",
            {"rows": rows, "parameters": {"receipt": True}},
        )
        served += [
            Served(str(row["flight_id"]), late, said["prediction"], said["receipt"])
            for row, (*_, late), said in zip(rows, drawn, answer["rows"], strict=True)
        ]
    return served


def feedback(pod: str, served: Sequence[Served], *, flipped: bool = False) -> tuple[int, int, int]:
    """Send the labels with their receipts, too: how many were accepted, of them wait, and were duplicates."""
    sent = {"labels": [{"receipt": each.receipt, "label": int(each.late != flipped)} for each in served]}
    said = post(f"http://{pod}:8081/v2/models/flights/feedback", sent)
    return said["accepted"], said["waiting"], said["duplicates"]


def table(served: Sequence[Served], *more: str, flipped: bool = False) -> str:
    rows = [f"{each.key},{int(each.late != flipped)}" for each in served]
    return "\n".join(["flight_id,late", *rows, *more]) + "\n"


def losses(served: Sequence[Served], *, flipped: bool = False) -> Counter[int]:
    """By hand: how many rows were right and wrong."""
    return Counter(int(each.predicted != (each.late != flipped)) for each in served)


def counted(scene: Scene) -> Counter[int]:
    """The same as the monitor has it, over all steps."""
    name = "flights-drift"
    tally = decode(scene.cluster.get("configmap", name, namespace=scene.namespace)).tally
    steps = [span.cells for span in tally.losses.spans]
    return Counter({cell: sum(step[cell] for step in steps if len(step) > cell) for cell in (0, 1)})


def rise(scene: Scene) -> float:
    """How many times what the loss was it is now."""
    loss = scene.verdict("Harm")["loss"]
    told: float = loss["now"] / loss["reference"]
    return told


def joins(scene: Scene, *names: str) -> tuple[int, ...]:
    told = scene.status.get("joins", {})
    return tuple(told.get(name, 0) for name in names)


def test_labels_of_a_table(scene: Scene, operator: OperatorProcess, bucket: ObjectStore) -> None:
    arrive = partial(bucket.put, "truth")
    scene.apply(labels(column="delayed"))
    scene.wait_for(lambda: {key_of(pod) for pod in scene.pods()} == {"flight_id"}, "both pods remember by the key")
    began = datetime.now(UTC)
    first, second, third = (serve(scene.pods(), batch) for batch in "abc")
    ended = datetime.now(UTC)

    # Of forty rows, of which each pod has predicted twenty.
    assert feedback(scene.pods()[0], first[:40]) == (40, 20, 0)
    arrive("days/1.csv", table(first[:200], table(first[:20]).split("\n", 1)[1].strip(), "nobody,1", "none,0"))
    failed = scene.wait_for_condition("LabelsJoined", "False")
    assert failed["reason"] == "JoinFailed"
    assert "MissingColumn: s3://truth/days/1.csv: no column 'delayed'; there is flight_id, late" in failed["message"]
    scene.apply(labels())
    scene.wait_for_condition("LabelsJoined", "True")
    names = ("joined", "duplicates", "unmatched", "rejected", "files", "late")
    assert joins(scene, *names) == (160, 60, 2, 0, 1, 0)
    assert feedback(scene.pods()[1], first[40:80]) == (20, 20, 20)
    scene.wait_for(lambda: scene.status.get("labels") == 200, "the labels are counted")
    assert counted(scene) == losses(first[:200])
    assert scene.status["labelCoverage"] == round(200 / scene.status["rows"], 4)

    joiners = scene.get("networkpolicy")["spec"]["ingress"][1]["from"][2]["podSelector"]["matchLabels"]
    chosen = ",".join(f"{key}={value}" for key, value in joiners.items())
    assert scene.cluster.get("pods", namespace=scene.namespace, selector=chosen)["items"], "no Job of ours is let in"

    # A later file only adds. The operator dies again and again, and once the Job's pod.
    arrive("days/2.csv", table([*first[150:], *second]))
    for death in range(4):
        going = scene.wait_for(
            lambda: scene.status["joins"].get("job") or joins(scene, "files") == (2,), "a join goes on", 60
        )
        operator.kill()
        if death == 1 and going is not True:
            scene.kubectl("delete", "pods", "--selector=app.kubernetes.io/name=labels", "--wait=false")
        operator.start()
    scene.wait_for(lambda: joins(scene, "files") == (2,), "the second file is joined")
    scene.wait_for(lambda: scene.status["labels"] == len(first) + len(second), "its labels are counted")
    assert joins(scene, *names) == (560, 110, 2, 0, 2, 0)
    assert counted(scene) == losses([*first, *second])

    # A pod ends: the other one has what it remembered, and what waited in it. And the world has turned around.
    for place, pod in enumerate(scene.pods()):
        assert feedback(pod, third[20 * place : 20 * place + 20], flipped=True) == (20, 10, 0)
    scene.kubectl("patch", "modeldeployment", "flights", "--type=merge", "--patch", '{"spec": {"replicas": 1}}')
    scene.wait_for(partial(scene.has_settled, 1), "one pod serves")
    assert datetime.now(UTC) > ended + 2 * WINDOW, "these labels are late"
    arrive("days/3.csv", table(third, flipped=True))
    scene.wait_for(lambda: joins(scene, "files") == (3,), "the third file is joined")
    assert joins(scene, *names) == (820, 150, 2, 0, 3, 0)
    scene.wait_for_condition("Harmful", "True")
    assert counted(scene) == losses([*first, *second]) + losses(third, flipped=True)
    # It is proved on some of them already, and what the loss is goes on to be told.
    scene.wait_for(lambda: rise(scene) > 2, "the loss has risen")
    harm = scene.verdict("Harm")
    assert began - WINDOW < datetime.fromisoformat(harm["since"]) < ended + WINDOW, "dated by the labels"
    assert "JoinFailed" in scene.events()
