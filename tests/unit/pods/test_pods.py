"""Pods meet the restricted Pod Security Standard, and the user's settings are laid over ours without losing either."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perennial.pods.mounts import Mount, empty_mount, scratch_mount, secret_mount, unique, uri_mount
from perennial.pods.security import container_security_context, pod_security_context, restricted
from perennial.pods.template import container, own_container, pod_template
from perennial.wire import places


def template(pod: dict[str, Any] | None = None) -> dict[str, Any]:
    pod = pod or {}
    mounts = [scratch_mount(), uri_mount("pvc://lake/a.csv")]
    made = container(name="c", image="i", command=["python"], env={"A": "1"}, mounts=mounts, pod=pod)
    return pod_template(labels={"ours": "1"}, containers=[made], mounts=mounts, pod=pod)


def test_a_template_is_restricted_and_has_no_token() -> None:
    spec = template()["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    assert "serviceAccountName" not in spec
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    context = spec["containers"][0]["securityContext"]
    assert context == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }


def test_what_the_user_says_is_kept_and_the_rest_stays() -> None:
    assert pod_security_context({"fsGroup": 1000})["fsGroup"] == 1000
    assert pod_security_context({"fsGroup": 1000})["runAsNonRoot"] is True
    assert container_security_context({"readOnlyRootFilesystem": False})["capabilities"] == {"drop": ["ALL"]}


def test_a_crash_leaves_its_last_log_lines_unless_the_user_says_otherwise() -> None:
    assert restricted({"name": "x"})["terminationMessagePolicy"] == "FallbackToLogsOnError"
    assert restricted({"terminationMessagePolicy": "File"})["terminationMessagePolicy"] == "File"


def test_pod_settings_pass_through() -> None:
    pod = {
        "serviceAccountName": "trainer",
        "nodeSelector": {"gpu": "yes"},
        "tolerations": [{"operator": "Exists"}],
        "imagePullSecrets": [{"name": "r"}],
        "labels": {"team": "a", "ours": "stolen"},
        "annotations": {"note": "x"},
        "env": [{"name": "A", "value": "stolen"}, {"name": "B", "value": "2"}],
        "volumes": [{"name": "extra", "emptyDir": {}}],
        "volumeMounts": [{"name": "extra", "mountPath": "/extra"}],
    }
    made = template(pod)
    spec = made["spec"]
    assert spec["automountServiceAccountToken"] is True
    assert (spec["nodeSelector"], spec["tolerations"]) == ({"gpu": "yes"}, [{"operator": "Exists"}])
    assert made["metadata"] == {"labels": {"team": "a", "ours": "1"}, "annotations": {"note": "x"}}
    assert spec["containers"][0]["env"] == [{"name": "B", "value": "2"}, {"name": "A", "value": "1"}]
    assert [v["name"] for v in spec["volumes"]] == ["perennial-scratch", "perennial-pvc-lake", "extra"]
    mounted = [m["name"] for m in spec["containers"][0]["volumeMounts"]]
    assert mounted == ["perennial-scratch", "perennial-pvc-lake", "extra"]


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("pvc://lake/flights/*.parquet", "/perennial/pvc/lake"),
        ("configmap://rows/rows.csv", "/perennial/configmap/rows"),
        ("s3://bucket/key", None),
        ("https://example.org/a.csv", None),
    ],
)
def test_uris_are_mounted_where_the_runtime_looks(uri: str, path: str | None) -> None:
    mount = uri_mount(uri)
    assert (mount.path if mount else None) == path
    if mount:
        found = places.mounted_path(uri)
        assert found is not None
        assert found.startswith(f"{mount.path}/")


def test_one_claim_used_twice_is_one_volume_and_writable_if_any_use_writes() -> None:
    reading, writing = uri_mount("pvc://a/x"), uri_mount("pvc://a/y", read_only=False)
    for order in ([reading, writing], [writing, reading], [writing, None, reading, reading]):
        (mount,) = unique(order)
        assert mount.read_only is False
        assert "readOnly" not in mount.volume_mount


@given(st.from_regex(r"[a-z0-9][a-z0-9.-]{0,250}[a-z0-9]", fullmatch=True))
def test_volume_names_are_dns_labels(claim: str) -> None:
    mount = uri_mount(f"pvc://{claim}/x")
    assert mount is not None
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", mount.name)


def test_secrets_of_two_roles_are_two_volumes_even_of_one_secret() -> None:
    names = {m.name for m in unique([secret_mount("s", places.DATA_SECRET), secret_mount("s", places.STORE_SECRET)])}
    assert names == {"perennial-secret-data", "perennial-secret-store"}


def test_an_empty_folder_is_writable() -> None:
    assert empty_mount("counts", places.COUNTS) == Mount("counts", places.COUNTS, {"emptyDir": {}}, read_only=False)


def test_who_mounts_their_own_tmp_gets_it() -> None:
    made = template({"volumeMounts": [{"name": "big", "mountPath": "/tmp"}]})
    mounted = [m["name"] for m in made["spec"]["containers"][0]["volumeMounts"] if m["mountPath"] == "/tmp"]
    assert mounted == ["big"]


def test_an_own_container_has_what_it_says_before_what_it_is_given() -> None:
    said = {
        "name": "own",
        "image": "i",
        "env": [{"name": "A", "value": "theirs"}, {"name": "B", "value": "$(A)"}],
        "volumeMounts": [{"name": "big", "mountPath": "/tmp"}],
    }
    pod = {"env": [{"name": "A", "value": "everyone's"}]}
    mounts = [scratch_mount(), uri_mount("pvc://lake/a.csv")]
    made = own_container(said, env={"PERENNIAL_X": "1"}, mounts=mounts, pod=pod, resources={})
    assert [(entry["name"], entry["value"]) for entry in made["env"]] == [
        ("HOME", "/tmp"),
        ("PERENNIAL_X", "1"),
        ("A", "theirs"),
        ("B", "$(A)"),
    ]
    assert [mount["mountPath"] for mount in made["volumeMounts"]] == ["/perennial/pvc/lake", "/tmp"]
    assert made["volumeMounts"][1]["name"] == "big"
