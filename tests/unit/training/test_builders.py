"""The Jobs that are made: what the pod is told, what it may touch, and what of the user's own is kept."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec
import pytest

from perennial.api.trainingjob import TrainingJobSpec
from perennial.kube.plan import Manifest, Mode
from perennial.pods.jobs import trial_pod
from perennial.training.names import Identity
from perennial.training.origin import Handled, Origin, Store, Trigger, from_job
from perennial.training.report_job import report_job
from perennial.training.run_job import run_job
from perennial.training.store import default_claim, store_of
from perennial.wire import places
from perennial.wire.run import Accepted, Champion, Container, Expectation, Run, Search, Sklearn, Slices, Step
from perennial.wire.run import Test as HeldOut
from tests.unit.training.world import SETTINGS, SPEC

OWNER: Manifest = {
    "apiVersion": "perennial.dev/v1alpha1",
    "kind": "TrainingJob",
    "metadata": {"name": "flights", "namespace": "team-a", "uid": "uid-flights"},
}
IDENTITY = Identity("team-a", "flights", "uid-flights")
OWN: dict[str, Any] = {
    "template": {"spec": {"containers": [{"name": "fit", "image": "mine:1", "args": ["--epochs", "3"]}]}},
    "data": {"uri": "pvc://lake/rows.csv"},
}


def origin(**store: str) -> Origin:
    where = Store(**{"uri": "pvc://perennial-models", **store})
    return Origin(3, "v1:abc", Trigger("Requested", "t"), where, Handled("t", {"uid-m": "r1"}))


def built(spec: dict[str, Any], at: Origin | None = None) -> Manifest:
    child = run_job(TrainingJobSpec.model_validate(spec), at or origin(), IDENTITY, OWNER, SETTINGS)
    assert child.mode is Mode.CREATE
    return child.manifest


def pod_of(job: Manifest) -> Manifest:
    spec: Manifest = job["spec"]["template"]["spec"]
    return spec


def told(job: Manifest) -> Run:
    (text,) = [e["value"] for e in pod_of(job)["containers"][0]["env"] if e["name"] == places.RUN_ENV]
    return msgspec.json.decode(text, type=Run)


def mounts(container: Manifest) -> dict[str, bool]:
    return {mount["mountPath"]: mount.get("readOnly", False) for mount in container["volumeMounts"]}


def test_the_built_in_trainer_is_told_its_whole_definition() -> None:
    spec = {
        "sklearn": {
            "estimator": "sklearn.linear_model.Ridge",
            "parameters": {"alpha": 2},
            "calibration": "Sigmoid",
            "steps": [{"transformer": "sklearn.decomposition.PCA", "parameters": {"n_components": 2}}],
            "refit": False,
            "search": {"metric": "r2", "trials": 7, "space": {"tol": {"min": 0.1, "max": 1}}},
        },
        "data": {
            "uri": "s3://lake/*.parquet",
            "target": "late",
            "features": ["a", "b"],
            "time": "at",
            "window": "28d",
            "test": {"split": "Time", "folds": 5},
            "expect": {"columns": {"a": {"min": 0, "nulls": "5%"}, "c": {"values": ["x"], "unique": True}}},
        },
        "seed": 7,
        "acceptance": {
            "metrics": [{"name": "r2", "min": 0.5}],
            "slices": [{"column": "carrier", "metric": "mae", "maxGap": 3}],
        },
    }
    run = told(built(spec))
    assert (run.version, run.path, run.store) == (3, f"team-a/{IDENTITY.stem}/v3", "pvc://perennial-models")
    assert (run.namespace, run.name, run.uid, run.trigger) == ("team-a", "flights", "uid-flights", "Requested")
    assert (run.image, run.definition, run.seed, run.refit) == ("perennial-runtime:1", "v1:abc", 7, False)
    assert run.sklearn is not None
    assert run.sklearn == Sklearn(
        "sklearn.linear_model.Ridge",
        {"alpha": 2},
        calibration="Sigmoid",
        search=Search("r2", {"tol": {"min": 0.1, "max": 1}}, trials=7),
        steps=[Step("sklearn.decomposition.PCA", {"n_components": 2})],
    )
    assert run.data is not None
    assert (run.data.features, run.data.window_seconds) == (["a", "b"], 28 * 86400)
    assert run.data.test == HeldOut(0.25, "Time", folds=5)
    assert run.data.expect == {"a": Expectation(min=0, nulls=0.05), "c": Expectation(values=["x"], unique=True)}
    assert [(bound.name, bound.min, bound.max) for bound in run.metrics] == [("r2", 0.5, None)]
    assert run.slices == [Slices("carrier", "mae", 3.0)]


@pytest.mark.parametrize("spec", [SPEC, OWN])
def test_who_fits_or_loads_models_is_told_what_the_installation_allows(spec: dict[str, Any]) -> None:
    settings = dataclasses.replace(SETTINGS, estimators=("lightgbm.LGBMClassifier", "mine.Model"))
    job = run_job(TrainingJobSpec.model_validate(spec), origin(), IDENTITY, OWNER, settings).manifest
    allowed = {"name": "PERENNIAL_ESTIMATORS", "value": "lightgbm.LGBMClassifier,mine.Model"}
    assert allowed in pod_of(job)["containers"][0]["env"]
    assert all(entry["name"] != allowed["name"] for entry in pod_of(built(spec))["containers"][0]["env"])


def test_a_run_is_told_the_champion_only_where_the_gate_is_asked_for() -> None:
    accepted = Accepted(2, "pvc://perennial-models/team-a/x/v2", "a" * 64, "b" * 64)

    def run(spec: dict[str, Any]) -> Run:
        job = run_job(TrainingJobSpec.model_validate(spec), origin(), IDENTITY, OWNER, SETTINGS, accepted)
        return told(job.manifest)

    rule = {"acceptance": {"champion": {"metric": "roc_auc"}}}
    assert run(SPEC).champion is None
    assert run(SPEC | rule).champion == Champion("roc_auc", 0.0, accepted)
    assert run(OWN | rule).champion == Champion("roc_auc", 0.0, accepted)


def test_the_publisher_is_told_what_ran_before_it() -> None:
    assert told(built(OWN)).container == Container("mine:1", [], ["--epochs", "3"])
    assert told(built(SPEC)).container is None


def test_the_job_says_all_of_its_beginning() -> None:
    job = built(SPEC)
    assert from_job(job) == origin()
    assert job["metadata"]["ownerReferences"][0]["uid"] == "uid-flights"
    assert job["metadata"]["name"] == f"{IDENTITY.stem}-v3"
    assert len(Identity("n", "a" * 40, "u").report_job(1_000_000)) <= 63


def test_data_is_read_only_and_the_store_is_written() -> None:
    job = built(SPEC | {"data": {"uri": "configmap://rows/rows.csv", "target": "y"}})
    assert mounts(pod_of(job)["containers"][0]) == {
        "/tmp": False,
        "/perennial/configmap/rows": True,
        "/perennial/pvc/perennial-models": False,
    }


def test_data_and_store_on_one_claim_are_one_writable_volume() -> None:
    job = built(SPEC | {"data": {"uri": "pvc://disk/in.csv", "target": "y"}}, origin(uri="pvc://disk/models"))
    assert mounts(pod_of(job)["containers"][0])["/perennial/pvc/disk"] is False
    assert len([v for v in pod_of(job)["volumes"] if "persistentVolumeClaim" in v]) == 1


def test_secrets_are_files_at_the_contracts_places() -> None:
    data = {"uri": "s3://lake/x.csv", "target": "y", "secretRef": {"name": "lake"}}
    job = built(SPEC | {"data": data}, origin(uri="s3://models", secret="models"))
    sources = {v["name"]: v["secret"]["secretName"] for v in pod_of(job)["volumes"] if "secret" in v}
    named = {m["mountPath"]: sources.get(m["name"]) for m in pod_of(job)["containers"][0]["volumeMounts"]}
    assert (named[places.DATA_SECRET], named[places.STORE_SECRET]) == ("lake", "models")


TRACKING = {"mlflow": {"uri": "http://mlflow:5000", "experiment": "flights", "secretRef": {"name": "tracker"}}}


def test_the_tracker_is_told_by_who_publishes_with_a_secret_that_no_own_container_sees() -> None:
    run = told(built(SPEC | {"tracking": TRACKING}))
    assert run.mlflow is not None
    assert (run.mlflow.uri, run.mlflow.experiment) == ("http://mlflow:5000", "flights")
    pod = pod_of(built(OWN | {"tracking": TRACKING}))
    assert mounts(pod["containers"][0])[places.TRACKING_SECRET] is True
    assert places.TRACKING_SECRET not in mounts(pod["initContainers"][0])
    assert [v["secret"]["secretName"] for v in pod["volumes"] if "secret" in v] == ["tracker"]


def test_wrong_input_and_our_own_failures_are_not_retried_and_disruptions_not_counted() -> None:
    rules = built(SPEC)["spec"]["podFailurePolicy"]["rules"]
    assert rules[0] == {
        "action": "FailJob",
        "onExitCodes": {"containerName": "trainer", "operator": "In", "values": [64, 65]},
    }
    assert rules[1]["action"] == "Ignore"


def test_limits_of_the_spec_are_the_jobs() -> None:
    job = built(SPEC | {"backoffLimit": 0, "activeDeadlineSeconds": 60})
    assert (job["spec"]["backoffLimit"], job["spec"]["activeDeadlineSeconds"]) == (0, 60)
    assert "activeDeadlineSeconds" not in built(SPEC)["spec"]


class TestOwnContainer:
    def test_it_trains_before_the_publisher_publishes(self) -> None:
        pod = pod_of(built(OWN))
        assert [c["name"] for c in pod["initContainers"]] == ["fit"]
        assert [c["name"] for c in pod["containers"]] == ["publisher"]
        assert pod["containers"][0]["command"][-1] == "publish"
        assert told(built(OWN)).sklearn is None

    def test_it_gets_data_and_a_place_for_its_output_and_not_the_store(self) -> None:
        own = pod_of(built(OWN))["initContainers"][0]
        env = {entry["name"]: entry["value"] for entry in own["env"]}
        assert env[places.DATA_ENV] == "/perennial/pvc/lake/rows.csv"
        assert env[places.OUTPUT_ENV] == places.OUTPUT
        assert mounts(own) == {
            "/tmp": False,
            places.OUTPUT: False,
            "/perennial/pvc/lake": True,
            places.CHECKPOINT: False,
        }
        assert places.RUN_ENV not in env

    @pytest.mark.parametrize("uri", ["pvc://perennial-models", "pvc://lake/models"], ids=["default", "on-the-data's"])
    def test_its_checkpoint_is_a_folder_of_the_stores_claim_and_it_sees_no_more_of_it(self, uri: str) -> None:
        pod = pod_of(built(OWN, origin(uri=uri)))
        own = pod["initContainers"][0]
        env = {entry["name"]: entry["value"] for entry in own["env"]}
        (mount,) = [mount for mount in own["volumeMounts"] if mount["mountPath"] == env[places.CHECKPOINT_ENV]]
        root = uri.partition("://")[2].partition("/")[2]
        assert mount["subPath"] == f"{root}/team-a/{IDENTITY.stem}/.v3.checkpoint".lstrip("/")
        (volume,) = [volume for volume in pod["volumes"] if volume["name"] == mount["name"]]
        assert volume["persistentVolumeClaim"] == {"claimName": uri.split("/")[2]}

    def test_there_is_none_where_the_store_is_no_file_system(self) -> None:
        own = pod_of(built(OWN, origin(uri="s3://models")))["initContainers"][0]
        assert places.CHECKPOINT not in mounts(own)
        assert places.CHECKPOINT_ENV not in {entry["name"] for entry in own["env"]}

    def test_it_keeps_what_its_author_said(self) -> None:
        said = {
            "image": "mine:1",
            "env": [{"name": "HOME", "value": "/home/me"}, {"name": "LEVEL", "value": "2"}],
            "securityContext": {"readOnlyRootFilesystem": False},
            "volumeMounts": [{"name": "cache", "mountPath": "/cache"}],
            "imagePullPolicy": "Always",
        }
        pod = {"volumes": [{"name": "cache", "emptyDir": {}}], "env": [{"name": "LEVEL", "value": "1"}]}
        spec = {**OWN, "template": {"spec": {"containers": [said]}}, "pod": pod}
        own = pod_of(built(spec))["initContainers"][0]
        env = {entry["name"]: entry["value"] for entry in own["env"]}
        assert len(env) == len(own["env"]), "no name twice"
        assert (env["HOME"], env["LEVEL"]) == ("/home/me", "2")
        assert own["securityContext"]["readOnlyRootFilesystem"] is False
        assert own["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert own["imagePullPolicy"] == "Always"
        assert mounts(own)["/cache"] is False
        assert "command" not in own, "the image's entry point stays"

    def test_wrong_input_that_it_reports_is_not_retried(self) -> None:
        rules = built(OWN)["spec"]["podFailurePolicy"]["rules"]
        assert rules[1]["onExitCodes"] == {"containerName": "fit", "operator": "In", "values": [64]}

    def test_the_publisher_reserves_nothing_on_top(self) -> None:
        resources = {"requests": {"cpu": "2", "memory": "4Gi", "nvidia.com/gpu": 1}, "limits": {"nvidia.com/gpu": 1}}
        pod = pod_of(built(OWN | {"resources": resources}))
        assert pod["initContainers"][0]["resources"] == resources
        assert pod["containers"][0]["resources"]["requests"] == {"cpu": "2", "memory": "4Gi"}


def test_the_report_reads_the_store_from_any_node() -> None:
    spec = TrainingJobSpec.model_validate(
        SPEC
        | {"pod": {"nodeSelector": {"gpu": "1"}, "serviceAccountName": "s3", "tolerations": [{"operator": "Exists"}]}}
    )
    job = report_job(spec, origin(secret="models"), IDENTITY, OWNER, SETTINGS).manifest
    pod = pod_of(job)
    assert "nodeSelector" not in pod
    assert (pod["serviceAccountName"], pod["tolerations"]) == ("s3", [{"operator": "Exists"}])
    assert mounts(pod["containers"][0])["/perennial/pvc/perennial-models"] is True
    assert told(job).path == f"team-a/{IDENTITY.stem}/v3"
    assert from_job(job) == origin(secret="models")


@pytest.mark.parametrize("spec", [SPEC, OWN])
def test_every_pod_is_restricted(spec: dict[str, Any]) -> None:
    pod = pod_of(built(spec))
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    for container in [*pod.get("initContainers", []), *pod["containers"]]:
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["terminationMessagePolicy"] == "FallbackToLogsOnError"


def test_the_default_claim_is_nobodys_child() -> None:
    spec = TrainingJobSpec.model_validate(SPEC)
    child = default_claim(store_of(spec, SETTINGS, "team-a"), SETTINGS, "team-a")
    assert child is not None
    assert child.mode is Mode.ENSURE
    assert "ownerReferences" not in child.manifest["metadata"]
    assert child.manifest["spec"]["resources"] == {"requests": {"storage": "1Gi"}}


def test_no_claim_is_made_for_a_store_of_the_users() -> None:
    spec = TrainingJobSpec.model_validate(
        SPEC | {"output": {"uri": "s3://m/{namespace}/", "secretRef": {"name": "models"}}}
    )
    store = store_of(spec, SETTINGS, "team-a")
    assert store == Store("s3://m/team-a", "models")
    assert default_claim(store, SETTINGS, "team-a") is None


def test_the_installations_store_has_the_installations_secret_and_nobody_elses() -> None:
    settings = dataclasses.replace(SETTINGS, store_uri="s3://all/{namespace}", store_secret="models")
    plain = TrainingJobSpec.model_validate(SPEC)
    assert store_of(plain, settings, "team-a") == Store("s3://all/team-a", "models")
    own = TrainingJobSpec.model_validate(SPEC | {"output": {"uri": "gs://mine"}})
    assert store_of(own, settings, "team-a") == Store("gs://mine", None)
    assert store_of(plain, dataclasses.replace(settings, store_uri=None), "team-a").secret is None


def test_a_trial_is_the_jobs_own_pod() -> None:
    job = built(SPEC)
    child = trial_pod(job)
    assert child.mode is Mode.TRIAL
    assert child.manifest["spec"] == pod_of(job)
    assert child.manifest["metadata"]["labels"] == job["spec"]["template"]["metadata"]["labels"]
