"""The clients that users have, unchanged, each in a process and an environment of its own.

Both are installed whole from the package index, once a machine: beside our own libraries they would fix releases, and
both in one process fail, since each brings the protocol's messages.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from types import SimpleNamespace as Process
from typing import Any

import pytest

from perennial.runtime.server.rpc.messages import message
from tests.environments import commands

pytestmark = pytest.mark.process

SCRIPTS = Path(__file__).with_name("clients")
REFLECTING = ("grpcio-reflection==1.76.0", "grpcio-health-checking==1.76.0")
CLIENTS = {"triton": "tritonclient[http,grpc]==2.73.0", "kserve": "kserve==0.21.0"}


@pytest.fixture
def told(
    start: Callable[..., Process], models: ModuleType, tmp_path: Path, request: pytest.FixtureRequest
) -> dict[str, Any]:
    """What the client was told by a server of each of two models, itself or through a sidecar."""
    client, _, sidecars = request.param.partition(", ")
    python = commands(CLIENTS[client]) / "python"
    published = [models.mixed(tmp_path / "mixed"), models.binary(tmp_path / "binary")]
    servers = [start(model) for model in published]
    for server in servers:
        server.wait_ready()
    if sidecars:
        servers = [start(model, own_port=server.port) for model, server in zip(published, servers, strict=True)]
        for server in servers:
            server.wait_ready()
    command = [str(python), str(SCRIPTS / f"ask_with_{client}.py")]
    command += [f"127.0.0.1:{server.port}:{server.grpc}" for server in servers]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    found["rows"] = [server.rows() for server in servers]
    return found


TEXTS = [["yes", "no"], [0.25, 0.75, 0.75, 0.25]]


@pytest.mark.parametrize("told", ["triton", "triton, through sidecars"], indirect=True)
def test_nvidia_s_client(told: dict[str, Any]) -> None:
    http, grpc = told["http"], told["grpc"]
    for found in (http, grpc):
        assert found["health"] == [True, True, True]
        assert (found["server"], found["inputs"]) == ("perennial", ["x", "carrier", "flag"])
        assert found["binary"] == found["gzip"] == [[12.5, None]]
        assert (found["texts"], found["receipts"]) == (TEXTS, 2)
        assert "there is no tensor for features 'carrier', 'flag'" in found["refusal"][1]
    assert http["deflate"] == http["async"] == [[12.5, None]]
    assert (http["json"], http["as JSON"]) == ([[12.5, 2.0]], TEXTS)
    assert "NaN is no JSON: send null" in http["no JSON"][1]
    assert http["one output"] == [[1.0, 0.0, 1.0, 0.0]]
    assert (http["refusal"][0], grpc["refusal"][0]) == ("400", "StatusCode.INVALID_ARGUMENT")
    assert told["rows"] == [2 * 7, 2 * 4]
    _agree(told["descriptors"])


@pytest.mark.parametrize("told", ["kserve"], indirect=True)
def test_the_sdk_of_kserve(told: dict[str, Any]) -> None:
    http, grpc = told["http"], told["grpc"]
    for found in (http, grpc):
        assert found["health"] == [True, True, True]
        assert found["binary"] == found["json"] == [[12.5, 2.0]]
        assert (found["texts"], found["receipts"]) == (TEXTS, 2)
        assert "this model has numeric and categorical features" in found["refusal"][1]
    assert http["one output"] == TEXTS[1:]
    assert told["rows"] == [2 * 4, 2 * 3]
    _agree(told["descriptors"])


def _agree(theirs: dict[str, dict[str, list[int]]]) -> None:
    """Every field that both have is the same; what only one has is no trouble on the wire."""
    for name in ("ModelInferRequest", "ModelInferResponse", "ModelMetadataResponse", "ServerMetadataResponse"):
        waiting = [message(name).DESCRIPTOR]
        while waiting:
            ours = waiting.pop()
            if ours.full_name not in theirs:
                assert ours.GetOptions().map_entry, ours.full_name
                continue
            waiting += [*ours.nested_types, *(field.message_type for field in ours.fields if field.message_type)]
            shared = {field.name: [field.number, field.type] for field in ours.fields}
            known = {field: theirs[ours.full_name].get(field, shared[field]) for field in shared}
            assert shared == known


def test_a_client_that_knows_nothing_and_watches_the_health(
    start: Callable[..., Process], models: ModuleType, tmp_path: Path
) -> None:
    python = commands(*REFLECTING) / "python"
    server = start(models.mixed(tmp_path / "mixed"))
    server.wait_ready()
    command = [str(python), str(SCRIPTS / "ask_by_reflection.py"), f"127.0.0.1:{server.grpc}", "flights"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout is not None
        found = json.loads(client.stdout.readline())
        server.process.terminate()
        ending = json.loads(client.stdout.readline())
    assert found["services"] == [
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
        "inference.GRPCInferenceService",
    ]
    assert found["answer"]["outputs"] == [{"name": "prediction", "datatype": "FP64", "shape": ["1"]}]
    assert (found["watched"], found["checked"], found["unknown"]) == ("SERVING", "SERVING", "SERVICE_UNKNOWN")
    assert ending == ["NOT_SERVING"]
    # Nobody's watch keeps a pod that ends: connections are waited for longer than this.
    assert server.process.wait(6) == 0
