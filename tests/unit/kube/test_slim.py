"""What the caches keep of an object."""

from __future__ import annotations

import copy
from collections.abc import Mapping

from perennial.kube.plan import Manifest
from perennial.kube.slim import slim, was_created_by_us

POSTED = {"manager": "perennial", "operation": "Update", "fieldsV1": {"f:data": {}}}
STATUS = {"manager": "perennial", "operation": "Update", "subresource": "status"}
APPLIED = {"manager": "perennial", "operation": "Apply"}
THEIRS = {"manager": "kubectl", "operation": "Update"}


def manifest(*managed: Mapping[str, object]) -> Manifest:
    annotations = {"kubectl.kubernetes.io/last-applied-configuration": "{...}", "kept": "yes"}
    return {
        "kind": "ConfigMap",
        "metadata": {"name": "a", "annotations": annotations, "managedFields": list(managed)},
        "data": {"a": "b"},
    }


def test_what_nobody_reads_is_left_out() -> None:
    assert slim(manifest(THEIRS, APPLIED)) == {
        "kind": "ConfigMap",
        "metadata": {"name": "a", "annotations": {"kept": "yes"}},
        "data": {"a": "b"},
    }


def test_the_original_is_left_as_it_was() -> None:
    original = manifest(POSTED)
    before = copy.deepcopy(original)
    slim(original)
    assert original == before


def test_it_remembers_which_fields_have_to_be_taken_over() -> None:
    once = slim(manifest(THEIRS, POSTED))
    assert was_created_by_us(once["metadata"]["managedFields"])
    assert slim(once) == once
    assert not was_created_by_us([THEIRS, STATUS, APPLIED])


def test_a_pod_is_kept_without_what_its_template_says() -> None:
    pod = {
        "kind": "Pod",
        "metadata": {"name": "p"},
        "spec": {
            "nodeName": "n",
            "volumes": [{"name": "v"}],
            "tolerations": [{"key": "k"}],
            "containers": [{"name": "c", "image": "i", "resources": {}, "env": [{"name": "A"}], "command": ["x"]}],
        },
    }
    assert slim(pod)["spec"] == {
        "nodeName": "n",
        "volumes": [{"name": "v"}],
        "containers": [{"name": "c", "image": "i", "resources": {}}],
    }


def test_a_node_is_kept_without_its_images() -> None:
    node = {"kind": "Node", "metadata": {"name": "n"}, "status": {"images": [{}] * 50, "conditions": []}}
    assert slim(node)["status"] == {"conditions": []}
