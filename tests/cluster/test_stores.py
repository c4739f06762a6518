"""Versions in an object store, on a real cluster with a real S3 server beside it: published sealed, served from there,
promoted to another namespace by their digest, and refused by the server when anybody changed them.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from cluster.harness import Harness
from tests.cluster.operator_process import OperatorProcess
from tests.cluster.outside import ObjectStore, host_address, object_store
from tests.cluster.serving_scene import modeldeployment
from tests.cluster.training_scene import Scene, configmap, rows, trainingjob

pytestmark = pytest.mark.xdist_group("stores")

MODELS = "models"
"""The bucket of the installation's store."""
ROW = {
    "inputs": [
        {"name": "a", "datatype": "FP64", "shape": [1], "data": [3.0]},
        {"name": "b", "datatype": "FP64", "shape": [1], "data": [2.0]},
        {"name": "carrier", "datatype": "BYTES", "shape": [1], "data": ["UA"]},
    ]
}


@dataclass(frozen=True)
class Stage:
    """Two namespaces with an operator in charge of both, a store, and what was trained into it."""

    here: Scene
    there: Scene
    store: ObjectStore

    def accepted(self, name: str) -> dict[str, Any]:
        self.here.wait_for_state(name, "Succeeded")
        found: dict[str, Any] = self.here.status(name)["accepted"]
        return found

    def folder(self, uri: str) -> str:
        """The version's key prefix in its bucket, with a slash at its end."""
        return uri.split("/", 3)[3] + "/"

    def copy(self, name: str, changed: dict[str, bytes]) -> str:
        """The version elsewhere in the bucket, with some files changed; its URI."""
        uri = self.accepted(name)["uri"]
        target = f"copies/{secrets.token_hex(4)}"
        root = self.store.folder / MODELS
        shutil.copytree(root / self.folder(uri), root / target)
        for file, data in changed.items():
            (root / target / file).write_bytes(data)
        return f"s3://{MODELS}/{target}"

    def read(self, name: str, file: str) -> bytes:
        return (self.store.folder / MODELS / self.folder(self.accepted(name)["uri"]) / file).read_bytes()

    def serve(self, where: Scene, name: str, **model: Any) -> None:
        where.apply(modeldeployment(name, model=model))

    def ready(self, where: Scene, name: str) -> dict[str, Any]:
        status = where.cluster.get("modeldeployment", name, namespace=where.namespace).get("status", {})
        return next((one for one in status.get("conditions", []) if one["type"] == "Ready"), {})

    def wait_ready(self, where: Scene, name: str) -> None:
        where.wait_for(lambda: self.ready(where, name).get("status") == "True", f"{name} serves")

    def wait_refused(self, where: Scene, name: str, words: str) -> None:
        """Until the status says why it cannot serve; nothing of it may ever have been ready."""

        def refused() -> bool:
            found = self.ready(where, name)
            assert found.get("status") != "True", found
            return words in found.get("message", "")

        where.wait_for(refused, f"{name} is refused with {words!r}", 60)

    def answer(self, where: Scene, name: str) -> dict[str, Any]:
        """What a pod answers to one row, asked through the API server."""
        selector = f"perennial.dev/modeldeployment={name}"
        (pod,) = where.cluster.get("pods", namespace=where.namespace, selector=selector)["items"]
        path = f"/api/v1/namespaces/{where.namespace}/pods/{pod['metadata']['name']}:8080/proxy/v2/models/{name}/infer"
        answer = where.cluster.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(ROW))
        found: dict[str, Any] = json.loads(answer)
        return found


@pytest.fixture(scope="module")
def stage(cluster: Harness, images: list[str], crds: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    address, folder = host_address(cluster), tmp_path_factory.mktemp("outside")
    scenes = [Scene(cluster, f"test-{secrets.token_hex(4)}") for _ in range(2)]
    with ExitStack() as stack:
        store = stack.enter_context(object_store(address, folder / "s3"))
        for bucket in (MODELS, "own"):
            (store.folder / bucket).mkdir()
        for scene in scenes:
            labels = {"pod-security.kubernetes.io/enforce": "restricted"}
            metadata = {"name": scene.namespace, "labels": labels}
            cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
            stack.callback(cluster.kubectl, "delete", "namespace", scene.namespace, "--wait=false")
            scene.apply(store.secret("models"))
        settings = {
            "PERENNIAL_WATCH_NAMESPACES": ",".join(scene.namespace for scene in scenes),
            "PERENNIAL_STORE_URI": f"s3://{MODELS}/{{namespace}}",
            "PERENNIAL_STORE_SECRET": "models",
        }
        here, there = scenes
        here.apply(configmap("rows", rows_csv=rows()), store.secret("mine"), *trainingjobs())
        operator = OperatorProcess(cluster, here.namespace, images[1], folder / "operator.log", settings=settings)
        operator.start()
        stack.callback(operator.stop)
        yield Stage(here, there, store)


def trainingjobs() -> list[dict[str, Any]]:
    mine = {"secretRef": {"name": "mine"}}
    return [
        trainingjob("flights"),
        trainingjob("own", output={"uri": "s3://own/{namespace}", **mine}),
        trainingjob("no-bucket", output={"uri": "s3://nosuch", **mine}),
    ]


@pytest.fixture(scope="module")
def refused(stage: Stage) -> dict[str, str]:
    """ModelDeployments that must not serve. What is given back is what would make them."""
    accepted = stage.accepted("flights")
    right = {"uri": accepted["uri"], "sha256": accepted["sha256"]}
    manifest = json.loads(stage.read("flights", "manifest.json"))
    file = manifest["model"]["file"]
    model = stage.read("flights", file)[:-1] + b"\0"
    manifest["files"][file]["sha256"] = hashlib.sha256(model).hexdigest()
    changed = {file: model}
    forged = {file: model, "manifest.json": json.dumps(manifest).encode()}
    stage.there.apply(
        stage.store.secret("wrong", aws_secret_access_key="guessed"),
        stage.store.secret("silent", aws_endpoint="http://127.0.0.1:1"),
    )
    models: dict[str, dict[str, Any]] = {
        "changed": {**right, "uri": stage.copy("flights", changed)},
        "forged": {**right, "uri": stage.copy("flights", forged), "seal": accepted["seal"]},
        "another": {**right, "sha256": "0" * 64},
        "absent": {**right, "uri": f"s3://{MODELS}/nosuch/v1"},
        "wrong": {**right, "secretRef": {"name": "wrong"}},
        "silent": {**right, "secretRef": {"name": "silent"}},
    }
    for name, model_source in models.items():
        stage.serve(stage.there, name, **{"secretRef": {"name": "models"}, **model_source})
    return right


def test_a_version_goes_to_the_installations_store_and_is_sealed_last(stage: Stage) -> None:
    accepted = stage.accepted("flights")
    assert accepted["uri"].startswith(f"s3://{MODELS}/{stage.here.namespace}/")
    data = stage.read("flights", "manifest.json")
    assert hashlib.sha256(data).hexdigest() == accepted["seal"]
    listed = json.loads(data)["files"]
    for name, file in listed.items():
        assert hashlib.sha256(stage.read("flights", name)).hexdigest() == file["sha256"]
    assert listed["model.skops"]["sha256"] == accepted["sha256"]
    folder = stage.store.folder / MODELS / stage.folder(accepted["uri"])
    written = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert set(written) == {*listed, "manifest.json"}
    assert max(written, key=lambda name: written[name]) == "manifest.json"


def test_an_output_of_ones_own_goes_before_the_installations(stage: Stage) -> None:
    assert stage.accepted("own")["uri"].startswith(f"s3://own/{stage.here.namespace}/")
    assert any(key.endswith("/v1/manifest.json") for key in stage.store.keys("own"))
    claims = stage.here.cluster.get("persistentvolumeclaims", namespace=stage.here.namespace)["items"]
    assert not claims


def test_a_bucket_that_is_not_there_is_told(stage: Stage) -> None:
    failure = stage.here.wait_for_state("no-bucket", "Failed")["failure"]
    assert (failure["reason"], failure["exitCode"]) == ("StoreForbidden", 64)
    assert "there is no such bucket" in stage.here.condition("no-bucket", "Stalled")["message"]


@pytest.mark.usefixtures("refused")
def test_a_version_is_served_from_the_store(stage: Stage) -> None:
    stage.accepted("own")
    stage.serve(stage.here, "own", trainingJob="own")
    stage.wait_ready(stage.here, "own")
    assert stage.answer(stage.here, "own")["outputs"][0]["data"] == [1]


def test_a_version_is_promoted_elsewhere_by_place_and_digest(stage: Stage) -> None:
    accepted = stage.accepted("flights")
    digests = {"sha256": accepted["sha256"], "seal": accepted["seal"]}
    stage.serve(stage.there, "promoted", uri=accepted["uri"], secretRef={"name": "models"}, **digests)
    stage.wait_ready(stage.there, "promoted")
    assert stage.answer(stage.there, "promoted")["outputs"][0]["data"] == [1]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("changed", "it was changed after publication"),
        ("forged", "manifest.json has sha256"),
        ("another", "and must hold 0000"),
        ("absent", "there is no version here"),
        ("wrong", "check the keys of secretRef"),
        ("silent", "the connection is refused"),
    ],
)
@pytest.mark.usefixtures("refused")
def test_what_must_not_or_cannot_be_loaded_is_refused(stage: Stage, name: str, words: str) -> None:
    stage.wait_refused(stage.there, name, words)


@pytest.mark.parametrize("name", ["changed", "silent"])
def test_what_was_refused_is_served_once_its_place_is_right(stage: Stage, refused: dict[str, str], name: str) -> None:
    stage.serve(stage.there, name, **refused, secretRef={"name": "models"})
    stage.wait_ready(stage.there, name)
