"""A server of the user's own: what its pods are made of, and when they are made anew."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from perennial.serving.digest import means_the_same, server_digest
from perennial.serving.pods import read_pod
from perennial.settings import Settings
from tests.unit.serving.world import World, sha

CONTAINER: dict[str, Any] = {"image": "team/serve:1", "env": [{"name": "MODEL", "value": "$(PERENNIAL_MODEL)"}]}
TEMPLATE: dict[str, Any] = {"port": 8500, "spec": {"containers": [CONTAINER]}}
STORED: dict[str, Any] = {
    "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}},
    "template": {"port": 8000, "spec": {"containers": [{"name": "own", "image": "team/serve:1"}]}},
}
"""As the API server keeps it: with its defaults."""


def serving(**spec: Any) -> World:
    world = World({"template": TEMPLATE, **spec})
    world.accept(1)
    world.run()
    assert world.stable() == 1
    return world


def pod(world: World) -> dict[str, Any]:
    """The newest revision's pods."""
    newest = max(
        world.deployments().values(), key=lambda deployment: json.loads(_model(deployment))["model"]["version"]
    )
    found: dict[str, Any] = newest["spec"]["template"]["spec"]
    return found


def _model(deployment: dict[str, Any]) -> str:
    return str(deployment["metadata"]["annotations"]["perennial.dev/model"])


def environment(container: dict[str, Any]) -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in container["env"]}


def mounts(container: dict[str, Any]) -> dict[str, bool]:
    """Where it may write."""
    return {mount["mountPath"]: not mount.get("readOnly") for mount in container["volumeMounts"]}


def test_the_version_is_fetched_then_served_then_stood_in_front_of() -> None:
    made = pod(serving(resources={"requests": {"cpu": "2"}}))
    fetch, own = made["initContainers"]
    [server] = made["containers"]
    assert [one["name"] for one in (fetch, own, server)] == ["fetch", "own", "server"]
    assert fetch["command"] == ["python", "-m", "perennial.runtime.fetch"]
    assert "restartPolicy" not in fetch
    assert own["restartPolicy"] == "Always", "Kubernetes ends it after ours, which answers what is in flight first"
    assert (own["resources"], "limits" in server["resources"]) == ({"requests": {"cpu": "2"}}, False)
    for told in (fetch, server):
        serve = json.loads(environment(told)["PERENNIAL_SERVE"])
        assert (serve["own_port"], serve["model"]["seal"]) == (8500, sha("seal 1"))


def test_the_own_container_finds_the_model_and_where_to_listen() -> None:
    _, own = pod(serving())["initContainers"]
    given = environment(own)
    assert list(given)[-1] == "MODEL", "what refers to others comes after them"
    assert given == {
        "HOME": "/tmp",
        "PERENNIAL_MODEL": "/perennial/model",
        "PERENNIAL_MODEL_NAME": "flights",
        "PERENNIAL_MODEL_VERSION": "1",
        "PERENNIAL_PORT": "8500",
        "MODEL": "$(PERENNIAL_MODEL)",
    }
    assert own["readinessProbe"]["httpGet"] == {"path": "/v2/models/flights/ready", "port": 8500, "scheme": "HTTP"}
    assert "livenessProbe" not in own


def test_only_who_fetches_may_write_the_model_and_only_ours_sees_the_store() -> None:
    made = pod(serving())
    fetch, own = (mounts(container) for container in made["initContainers"])
    server = mounts(made["containers"][0])
    assert (fetch["/perennial/model"], own["/perennial/model"], "/perennial/model" in server) == (True, False, False)
    store = "/perennial/pvc/perennial-models"
    assert (fetch[store], store in own, server[store]) == (False, False, False)
    assert ("/perennial/counts" in own, server["/perennial/counts"]) == (False, True)


def test_clients_reach_ours_and_not_theirs() -> None:
    world = serving()
    of = {kind: manifest["spec"] for (kind, _), manifest in world.objects.items() if "spec" in manifest}
    server = pod(world)["containers"][0]
    assert {port["name"]: port["containerPort"] for port in server["ports"]} == {
        port["targetPort"]: port["port"] for port in of["Service"]["ports"]
    }
    own = pod(world)["initContainers"][1]
    assert own["ports"] == [{"containerPort": 8500, "protocol": "TCP"}], "no name that the Service could mean"
    open_to_all = of["NetworkPolicy"]["ingress"][0]
    assert [port["port"] for port in open_to_all["ports"]] == [8080, 9000]


def test_every_container_is_restricted() -> None:
    world = serving(template={"spec": {"containers": [CONTAINER | {"securityContext": {"runAsUser": 1000}}]}})
    made = pod(world)
    for container in [*made["initContainers"], *made["containers"]]:
        context = container["securityContext"]
        assert (context["allowPrivilegeEscalation"], context["capabilities"]) == (False, {"drop": ["ALL"]})
        assert context["readOnlyRootFilesystem"] is True
    assert made["initContainers"][1]["securityContext"]["runAsUser"] == 1000


def test_ours_is_told_of_the_companion() -> None:
    steps = [{"weight": 50, "minRequests": 10}]
    world = serving(replicas=2, rollout={"strategy": "Canary", "steps": steps})
    world.accept(2)
    world.run()
    made = pod(world)
    assert json.loads(environment(made["containers"][0])["PERENNIAL_SERVE"])["companion"]["version"] == 1
    assert "companion" not in environment(made["initContainers"][0])["PERENNIAL_SERVE"]


def test_a_change_of_the_template_rolls_out_and_an_upgrade_does_not() -> None:
    world = serving()
    before = copy.deepcopy(pod(world))
    world.settings = Settings(runtime_image="perennial/runtime:next")
    world.run()
    assert pod(world) == before
    world.respec(template={**TEMPLATE, "spec": {"containers": [CONTAINER | {"image": "team/serve:2"}]}})
    world.run()
    assert pod(world)["initContainers"][1]["image"] == "team/serve:2"
    world.manifest["spec"].pop("template")
    world.respec()
    world.run()
    assert "initContainers" not in pod(world)
    assert world.says("Ready") == ("True", "Ready")


def test_digests_are_frozen() -> None:
    """A digest that another release counts otherwise would replace every pod."""
    assert server_digest(STORED) == "v2:eda816afb90a553b7c00005ed0410c0c09cee253c986fa2c1e859dbb3d26058e"
    assert (
        server_digest({"resources": STORED["resources"]})
        == "v1:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    )


def test_defaults_do_not_change_a_digest() -> None:
    bare = {"template": {"spec": {"containers": [{"image": "team/serve:1", "env": []}]}}}
    assert server_digest(bare) == server_digest(STORED)


@pytest.mark.parametrize(
    "template",
    [
        {"port": 8001, "spec": {"containers": [{"image": "team/serve:1"}]}},
        {"spec": {"containers": [{"image": "team/serve:2"}]}},
        {"spec": {"containers": [{"image": "team/serve:1", "args": ["x"]}]}},
        {"spec": {"containers": [{"image": "team/serve:1", "name": "x"}]}},
        None,
    ],
)
def test_what_is_said_in_the_template_changes_the_digest(template: dict[str, Any] | None) -> None:
    changed = {**STORED, "template": template}
    assert not means_the_same(changed, server_digest(STORED), None)
    assert not means_the_same(STORED, server_digest(changed), None)


def status(init: list[dict[str, Any]]) -> dict[str, Any]:
    waiting = {"state": {"waiting": {"reason": "PodInitializing"}}, "name": "server"}
    return {
        "metadata": {"name": "flights-1", "uid": "1", "creationTimestamp": "2026-01-01T00:00:00+00:00"},
        "spec": {},
        "status": {"initContainerStatuses": init, "containerStatuses": [waiting]},
    }


FETCHED = {"name": "fetch", "state": {"terminated": {"reason": "Completed", "exitCode": 0}}}


@pytest.mark.parametrize(
    ("init", "words"),
    [
        ([FETCHED, {"name": "own", "state": {"running": {}}}], None),
        (
            [{"name": "fetch", "state": {"terminated": {"reason": "Error", "exitCode": 1, "message": "no store\n"}}}],
            "container fetch: Error (exit code 1): no store",
        ),
        (
            [FETCHED, {"name": "own", "state": {"waiting": {"reason": "ErrImagePull", "message": "not found"}}}],
            "container own: ErrImagePull: not found",
        ),
    ],
)
def test_which_container_keeps_a_pod_from_being_ready(init: list[dict[str, Any]], words: str | None) -> None:
    assert read_pod(status(init)).trouble == words
