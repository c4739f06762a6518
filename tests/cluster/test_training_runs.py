"""Runs on a real cluster: what starts one and what does not, what becomes of its version, and what an operator's
death changes: nothing."""

from __future__ import annotations

import time

import pytest

from cluster.harness import Harness
from tests.cluster.operator_process import OperatorProcess
from tests.cluster.training_scene import FIT, Scene, configmap, own, rows, trainingjob

SLEEP = "import time; time.sleep(600)"
INTERRUPTED = """
import os, pathlib, time
kept = pathlib.Path(os.environ["PERENNIAL_CHECKPOINT"], "epoch")
if not kept.exists():
    kept.write_text("7")
    print("kept", flush=True)
    time.sleep(600)
"""
"""It never ends, unless an attempt before has left a checkpoint."""


@pytest.fixture
def scene(cluster: Harness, namespace: str, operator: OperatorProcess) -> Scene:
    scene = Scene(cluster, namespace)
    scene.apply(configmap("rows", rows_csv=rows()))
    return scene


def test_a_version_is_accepted_and_only_what_matters_starts_another(scene: Scene) -> None:
    gate = {"metrics": [{"name": "roc_auc", "min": 0.7}]}
    scene.apply(trainingjob("flights", acceptance=gate))
    scene.kubectl("wait", "--for=condition=Ready", "trainingjob/flights", "--timeout=120s")
    status = scene.status("flights")
    assert status["acceptedVersion"] == 1
    assert status["accepted"]["uri"].startswith("pvc://perennial-models/")
    assert status["runs"][0]["cost"]["cpuSeconds"] > 0

    scene.apply(trainingjob("flights", acceptance=gate))
    scene.apply(trainingjob("flights", acceptance=gate, backoffLimit=1, pod={"labels": {"team": "a"}}))
    time.sleep(5)
    assert len(scene.jobs("flights")) == 1, "neither an identical apply nor one that trains the same starts a run"
    before = scene.kubectl("get", "trainingjob", "flights", "-o", "jsonpath={.metadata.resourceVersion}")
    time.sleep(5)
    assert scene.kubectl("get", "trainingjob", "flights", "-o", "jsonpath={.metadata.resourceVersion}") == before

    changed = {"estimator": "sklearn.linear_model.LogisticRegression", "parameters": {"C": 0.01}}
    scene.apply(trainingjob("flights", acceptance=gate, sklearn=changed))
    run = scene.wait_for_state("flights", "Succeeded", version=2)
    assert run["trigger"] == "DefinitionChanged"
    assert scene.status("flights")["acceptedVersion"] == 2

    scene.kubectl("annotate", "trainingjob", "flights", "perennial.dev/run=again")
    scene.wait_for_state("flights", "Unchanged", version=3)
    assert scene.status("flights")["acceptedVersion"] == 2
    assert scene.condition("flights", "LastRunAccepted")["reason"] == "Unchanged"


def test_requests_during_a_run_become_one(scene: Scene, images: list[str]) -> None:
    scene.apply(trainingjob("slow", **own(images[1], f"import time; time.sleep(8)\n{FIT}")))
    scene.wait_for_state("slow", "Running")
    for token in ("one", "two", "three"):
        scene.kubectl("annotate", "--overwrite", "trainingjob", "slow", f"perennial.dev/run={token}")
    scene.wait_for(lambda: scene.status("slow").get("pending"), "a request waits", 20)
    assert scene.status("slow")["pending"]["trigger"] == "Requested"
    scene.wait_for_state("slow", "Succeeded", "Unchanged", version=2)
    assert scene.status("slow")["handled"]["run"] == "three"
    time.sleep(5)
    assert scene.status("slow")["latestVersion"] == 2


def test_an_own_container_is_published(scene: Scene, images: list[str]) -> None:
    scene.apply(trainingjob("own", **own(images[1], FIT)))
    run = scene.wait_for_state("own", "Succeeded")
    assert run["model"]["engine"] in ("onnx", "sklearn")
    assert scene.status("own")["acceptedVersion"] == 1


def test_a_result_is_read_from_the_store_when_job_and_pod_were_deleted_while_the_operator_was_down(
    scene: Scene, operator: OperatorProcess
) -> None:
    scene.apply(trainingjob("flights"))
    (job,) = scene.wait_for(lambda: scene.jobs("flights"), "its Job is made")
    scene.wait_for(lambda: scene.run("flights"), "the status knows of it")
    operator.kill()
    scene.kubectl("wait", "--for=condition=Complete", f"job/{job}", "--timeout=120s")
    scene.kubectl("delete", "job", job, "--cascade=foreground")
    operator.start()
    scene.wait_for_state("flights", "Succeeded")
    assert scene.status("flights")["latestVersion"] == 1
    scene.wait_for(lambda: not scene.jobs("flights", "report"), "the report Job is gone", 30)


def test_a_job_that_was_deleted_before_it_came_to_anything_is_told_and_not_repeated(
    scene: Scene, operator: OperatorProcess, images: list[str]
) -> None:
    scene.apply(trainingjob("sleepy", **own(images[1], SLEEP)))
    scene.wait_for_state("sleepy", "Running")
    operator.kill()
    scene.kubectl("delete", "job", *scene.jobs("sleepy"), "--cascade=foreground")
    operator.start()
    run = scene.wait_for_state("sleepy", "Failed")
    assert run["failure"]["reason"] == "JobDeleted"
    assert scene.jobs("sleepy") == []
    assert scene.status("sleepy")["latestVersion"] == 1


def test_a_pod_that_was_deleted_in_mid_run_is_replaced_and_goes_on_from_its_checkpoint(
    scene: Scene, images: list[str]
) -> None:
    long = own(images[1], INTERRUPTED + FIT)
    scene.apply(trainingjob("long", **long, backoffLimit=2, pendingDeadlineSeconds=20))
    scene.wait_for_state("long", "Running")
    selector = "--selector=perennial.dev/trainingjob=long"
    scene.wait_for(lambda: "kept" in scene.kubectl("logs", selector, "--container=fit"), "there is a checkpoint")
    scene.kubectl("delete", "pod", selector, "--now")
    uri = scene.wait_for_state("long", "Succeeded")["model"]["uri"]
    assert scene.jobs("long", "report") == []
    assert uri.startswith("pvc://perennial-models/")


def test_an_operator_killed_at_any_moment_starts_nothing_twice(scene: Scene, operator: OperatorProcess) -> None:
    scene.apply(trainingjob("flights"))
    for pause in (0.3, 1.0, 2.5, 4.0, 6.0):
        time.sleep(pause)
        operator.kill()
        operator.start()
    scene.wait_for_state("flights", "Succeeded")
    assert len(scene.jobs("flights")) == 1
    assert scene.jobs("flights", "report") == []


def test_a_cleared_status_comes_back_and_starts_nothing(scene: Scene, operator: OperatorProcess) -> None:
    scene.apply(trainingjob("flights"))
    scene.wait_for_state("flights", "Succeeded")
    scene.kubectl("annotate", "trainingjob", "flights", "perennial.dev/run=t")
    scene.wait_for_state("flights", "Unchanged", version=2)
    before = scene.status("flights")
    operator.kill()
    scene.kubectl("delete", "jobs", "--all", "--cascade=foreground")
    empty = '[{"op": "replace", "path": "/status", "value": {"observedGeneration": -1}}]'
    scene.kubectl("patch", "trainingjob", "flights", "--subresource=status", "--type=json", "-p", empty)
    operator.start()
    scene.wait_for(lambda: scene.status("flights").get("acceptedVersion"), "it is rebuilt", 40)
    after = scene.status("flights")
    assert {key: after[key] for key in after if key != "conditions"} == {
        key: before[key] for key in before if key != "conditions"
    }
    time.sleep(5)
    assert scene.jobs("flights") == []


def test_deleting_it_leaves_nothing_but_the_store(scene: Scene, operator: OperatorProcess) -> None:
    scene.apply(trainingjob("flights"))
    scene.wait_for_state("flights", "Succeeded")
    operator.kill()
    scene.kubectl("delete", "trainingjob", "flights", "--wait=true", "--timeout=20s")
    ours = "app.kubernetes.io/managed-by=perennial"
    scene.wait_for(
        lambda: not scene.kubectl("get", "jobs,pods,controllerrevisions", "-l", ours, "-o", "name").strip(),
        "the garbage collector took all",
        60,
    )
    assert scene.kubectl("get", "pvc", "-o", "name").strip() == "persistentvolumeclaim/perennial-models"


def test_a_search_tells_how_far_it_is_and_its_calibrated_winner_is_served_exactly(scene: Scene) -> None:
    sklearn = {
        "estimator": "sklearn.ensemble.RandomForestClassifier",
        "parameters": {"n_estimators": 60, "class_weight": {"1": 2, "0": 1}},
        "calibration": "Sigmoid",
        "search": {
            "metric": "brier",
            "trials": 12,
            "space": {"max_depth": {"min": 1, "max": 9}, "max_features": [1, 2, None]},
        },
    }
    data = {
        "uri": "configmap://rows/rows.csv",
        "target": "late",
        "features": ["a", "b"],
        "test": {"split": "Group", "group": "b", "folds": 3},
    }
    limited = {"requests": {"cpu": "20m", "memory": "200Mi"}, "limits": {"memory": "700Mi"}}
    scene.apply(trainingjob("searched", sklearn=sklearn, data=data, resources=limited))
    progress = scene.wait_for(lambda: scene.run("searched").get("progress"), "it tells how far it is")
    assert progress["of"] in (0, 36), "0 while it reads"
    assert progress["metric"] == "brier"
    run = scene.wait_for_state("searched", "Succeeded")
    assert "progress" not in run
    assert (run["search"]["metric"], run["search"]["trials"]) == ("brier", 12)
    assert "max_depth=" in run["search"]["parameters"]
    assert 0 < run["search"]["score"] < 0.25
    assert run["model"]["engine"] == "onnx"
