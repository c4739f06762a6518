"""Rows from every place that `data.uri` can name, on a real cluster with a real S3 server beside it, and what is said
when they cannot be had; versions told to a real MLflow server, and to none. All TrainingJobs are applied at once; each
is looked at when its run has ended.
"""

from __future__ import annotations

import io
import json
import secrets
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cluster.harness import Harness
from tests.cluster.operator_process import OperatorProcess
from tests.cluster.outside import ObjectStore, file_server, host_address, object_store
from tests.cluster.training_scene import FIT, Scene, configmap, own, rows, trainingjob
from tests.mlflow_server import PASSWORD, USER, MlflowServer, mlflow_server, pairs

pytestmark = pytest.mark.xdist_group("sources")

COUNT = 400
WEEKS = 4
HOURS = 24 * 7
FIRST = pd.Timestamp("2026-03-02T00:00:00Z")
AUC = {"metrics": [{"name": "roc_auc", "min": 0.75}]}
SIGNAL = {"target": "late", "time": "at", "uri": "s3://lake/weeks/*.parquet", "secretRef": {"name": "lake"}}


def week(number: int) -> bytes:
    """A row an hour. Before the last two weeks `late` meant the opposite: who learns from all learns little."""
    draw = np.random.default_rng(number)
    a = draw.normal(size=HOURS)
    late = (a + draw.normal(0, 0.5, HOURS) > 0) == (number >= WEEKS - 2)
    at = FIRST + pd.to_timedelta(np.arange(HOURS) + HOURS * number, unit="h")
    buffer = io.BytesIO()
    pd.DataFrame({"at": at, "a": a, "late": late.astype(int)}).to_parquet(buffer)
    return buffer.getvalue()


def fill(store: ObjectStore) -> None:
    for number in range(WEEKS):
        store.put("lake", f"weeks/{number}.parquet", week(number))
    for part in range(3):
        store.put("lake", f"parts/{part}.csv", rows(seed=part, count=COUNT))
    store.put("lake", "parts/_SUCCESS", "")
    store.put("lake", "mixed/a.csv", rows())
    store.put("lake", "mixed/b.csv", "x,y\n1,2\n")


def lake(uri: str, secret: str = "lake") -> dict[str, Any]:
    return {"data": {"uri": uri, "target": "late", "secretRef": {"name": secret}}}


def tracked(uri: str) -> dict[str, Any]:
    return {"tracking": {"mlflow": {"uri": uri, "experiment": "sources", "secretRef": {"name": "tracker"}}}}


def works(image: str, web: str, tracker: str) -> dict[str, dict[str, Any]]:
    """The specs by name whose runs must succeed."""
    nobody = tracker.rpartition(":")[0] + ":1"
    looks = "import os; print(os.path.getsize(os.environ['PERENNIAL_DATA'])); raise SystemExit(64)"
    return {
        "s3-glob": lake("s3://lake/parts/*.csv") | tracked(tracker),
        "http": {"data": {"uri": f"{web}/rows.csv?signature=hidden", "target": "late"}} | tracked(nobody),
        "configmap": {"data": {"uri": "configmap://rows/rows.csv", "target": "late"}},
        "pvc": {"data": {"uri": "pvc://disk/rows.csv", "target": "late"}},
        "window": {"data": {**SIGNAL, "window": "14d", "test": {"split": "Time"}}, "acceptance": AUC},
        "own-container": own(image, looks) | {"data": {"uri": "configmap://rows/rows.csv"}},
        "own-tracked": own(image, FIT) | tracked(tracker),
    }


FAILURES: dict[str, tuple[dict[str, Any], str, str]] = {
    "no-object": (
        lake("s3://lake/nosuch/*.csv") | tracked("TRACKER"),
        "DataNotFound",
        "no file matches s3://lake/nosuch/*.csv",
    ),
    "no-bucket": (lake("s3://nosuch/*.csv"), "DataNotFound", "s3://nosuch/*.csv: there is no such bucket"),
    "wrong-key": (lake("s3://lake/parts/*.csv", "wrong-key"), "DataForbidden", "check the keys of secretRef"),
    "no-credentials": ({"data": {"uri": "s3://lake/parts/*.csv", "target": "late"}}, "DataForbidden", "no credentials"),
    "unreachable": (lake("s3://lake/parts/*.csv", "unreachable"), "DataUnreachable", "the connection is refused"),
    "unlike": (lake("s3://lake/mixed/*.csv"), "MissingColumn", "s3://lake/mixed/b.csv"),
    "http-absent": ({"data": {"uri": "WEB/nosuch.csv", "target": "late"}}, "DataNotFound", "HTTP 404"),
}


def broken_secrets(store: ObjectStore) -> list[dict[str, Any]]:
    return [
        store.secret("wrong-key", aws_secret_access_key="guessed"),
        store.secret("unreachable", aws_endpoint="http://127.0.0.1:1"),
    ]


def claim_with_rows(image: str) -> list[dict[str, Any]]:
    """A claim, and a pod that copies the ConfigMap's rows onto it."""
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    container = {
        "name": "fill",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "-c", "import shutil; shutil.copy('/rows/rows.csv', '/disk/rows.csv')"],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": "rows", "mountPath": "/rows"}, {"name": "disk", "mountPath": "/disk"}],
    }
    pod = {
        "restartPolicy": "Never",
        "securityContext": {"runAsNonRoot": True, "fsGroup": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
        "volumes": [
            {"name": "rows", "configMap": {"name": "rows"}},
            {"name": "disk", "persistentVolumeClaim": {"claimName": "disk"}},
        ],
    }
    return [
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "disk"}, "spec": claim},
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "fill"}, "spec": pod},
    ]


@pytest.fixture(scope="module")
def tracker(cluster: Harness, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    """It starts while the rest of the scene is set."""
    with mlflow_server(host_address(cluster), tmp_path_factory.mktemp("mlflow")) as server:
        yield server


@pytest.fixture(scope="module")
def scene(
    cluster: Harness, images: list[str], crds: None, tracker: MlflowServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scene]:
    address, folder = host_address(cluster), tmp_path_factory.mktemp("outside")
    (folder / "web").mkdir()
    (folder / "web" / "rows.csv").write_text(rows(count=COUNT))
    namespace = f"test-{secrets.token_hex(4)}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}})
    with ExitStack() as stack:
        store = stack.enter_context(object_store(address, folder / "s3"))
        web = stack.enter_context(file_server(address, folder / "web"))
        stack.callback(cluster.kubectl, "delete", "namespace", namespace, "--wait=false")
        fill(store)
        scene = Scene(cluster, namespace)
        scene.apply(configmap("rows", rows_csv=rows(count=COUNT)), store.secret("lake"), *broken_secrets(store))
        scene.apply(*claim_with_rows(images[1]))
        scene.kubectl("wait", "pod/fill", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s")
        operator = OperatorProcess(cluster, namespace, images[1], folder / "operator.log")
        operator.start()
        stack.callback(operator.stop)
        keys = {"mlflow_tracking_username": USER, "mlflow_tracking_password": PASSWORD}
        scene.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "tracker"}, "stringData": keys})
        tracker.wait_ready()
        scene.apply(*jobs(images[1], web, tracker.uri))
        yield scene


def jobs(image: str, web: str, tracker: str) -> list[dict[str, Any]]:
    good = [trainingjob(name, **spec) for name, spec in works(image, web, tracker).items()]
    bad = [trainingjob(name, **spec) for name, (spec, _, _) in FAILURES.items()]
    told = json.dumps(bad).replace("WEB", web).replace("TRACKER", tracker)
    return [*good, *json.loads(told)]


def record(scene: Scene, name: str) -> dict[str, Any]:
    """What is kept of the run: its result in full."""
    selector = f"perennial.dev/trainingjob={name}"
    listed = scene.cluster.get("controllerrevisions", namespace=scene.namespace, selector=selector)
    found: dict[str, Any] = listed["items"][0]["data"]
    return found


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("s3-glob", 3 * COUNT),
        ("http", COUNT),
        ("configmap", COUNT),
        ("pvc", COUNT),
    ],
)
def test_every_row_of_every_file_is_read(scene: Scene, name: str, count: int) -> None:
    scene.wait_for_state(name, "Succeeded")
    result = record(scene, name)["result"]
    assert result["rows"]["train"] + result["rows"]["test"] == count


def test_the_same_rows_from_anywhere_make_the_same_model(scene: Scene) -> None:
    digests = {
        name: scene.wait_for_state(name, "Succeeded")["model"]["sha256"] for name in ("http", "configmap", "pvc")
    }
    assert len(set(digests.values())) == 1, digests


def test_a_window_over_several_files_learns_from_the_newest_rows_alone(scene: Scene) -> None:
    newest = FIRST + pd.Timedelta(hours=WEEKS * HOURS - 1)
    run = scene.wait_for_state("window", "Succeeded")
    result = record(scene, "window")["result"]
    # Both ends of the window are in it: a row an hour for 14 days, and one.
    assert result["rows"] == {"train": 253, "test": 84}
    assert pd.Timestamp(run["trainedThrough"]) == newest
    assert result["metrics"]["roc_auc"] > 0.85


def test_an_own_container_is_given_its_data(scene: Scene) -> None:
    failure = scene.wait_for_state("own-container", "Failed")["failure"]
    assert failure["message"].endswith(f": {len(rows(count=COUNT))}")


@pytest.mark.parametrize("name", ["s3-glob", "own-tracked"])
def test_a_version_is_told_to_mlflow(scene: Scene, tracker: MlflowServer, name: str) -> None:
    run = scene.wait_for_state(name, "Succeeded")
    job = f"{scene.namespace}/{name}"
    told = {logged["info"]["run_id"]: pairs(logged["data"]["tags"]) for logged in tracker.runs("sources")}
    (run_id,) = [run_id for run_id, tags in told.items() if tags["perennial.trainingJob"] == job]
    assert run["tracking"] == {"run": run_id}
    assert told[run_id]["perennial.model.sha256"] == run["model"]["sha256"]
    (version,) = tracker.versions(f"{scene.namespace}.{name}")
    assert (version["source"], version["run_id"]) == (run["model"]["uri"], run_id)


def test_a_run_that_fails_is_told_to_mlflow_with_its_reason(scene: Scene, tracker: MlflowServer) -> None:
    run = scene.wait_for_state("no-object", "Failed")
    (logged,) = [each for each in tracker.runs("sources") if each["info"]["run_id"] == run["tracking"]["run"]]
    tags = pairs(logged["data"]["tags"])
    assert (logged["info"]["status"], tags["perennial.failure"]) == ("FAILED", "DataNotFound")
    assert tags["perennial.trainingJob"] == f"{scene.namespace}/no-object"


def test_an_outage_of_mlflow_fails_no_run_and_is_told(scene: Scene) -> None:
    run = scene.wait_for_state("http", "Succeeded")
    assert "does not answer: Connection refused" in run["tracking"]["problem"]
    assert scene.condition("http", "Ready")["status"] == "True"
    events = scene.cluster.get("events", namespace=scene.namespace)["items"]
    assert ("NotTracked", "http") in {(event["reason"], event["involvedObject"]["name"]) for event in events}


@pytest.mark.parametrize("name", list(FAILURES))
def test_rows_that_cannot_be_had_are_told_with_what_to_do(scene: Scene, name: str) -> None:
    _, reason, words = FAILURES[name]
    run = scene.wait_for_state(name, "Failed")
    assert run["failure"]["reason"] == reason
    assert words in record(scene, name)["failure"]["message"]
    stalled = scene.condition(name, "Stalled")
    assert (stalled["status"], stalled["reason"]) == ("True", "FirstRunFailed")
    assert words in stalled["message"]


def test_no_credential_and_no_signature_is_told(scene: Scene) -> None:
    scene.wait_for(lambda: all(scene.run(name).get("state") == "Failed" for name in FAILURES), "all have ended")
    scene.wait_for_state("http", "Succeeded")
    everything = scene.kubectl("get", "trainingjobs,controllerrevisions,events", "-o", "jsonpath={.items[*].status}")
    told = everything + scene.kubectl("get", "controllerrevisions", "-o", "json")
    assert "only-for-tests" not in told, "the password of MLflow begins so, too"
    assert "guessed" not in told
    assert "hidden" not in told
