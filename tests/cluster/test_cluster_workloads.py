"""What every cluster of the project offers to pods, whichever provider it comes from."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.request
from typing import Any

import pytest

from cluster.errors import ClusterError
from cluster.harness import Harness

SERVER = """
import http.server
print('serving', flush=True)
http.server.HTTPServer(('', 8000), http.server.SimpleHTTPRequestHandler).serve_forever()
"""


def pod(name: str, image: str, script: str, **spec: Any) -> dict[str, Any]:
    """A pod of the restricted profile that runs a line of Python."""
    container = {
        "name": "main",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "-c", script],
        "workingDir": "/tmp",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        **spec.pop("container", {}),
    }
    security = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}, **spec.pop("security", {})}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"restartPolicy": "Never", "securityContext": security, "containers": [container], **spec},
    }


def outcome(cluster: Harness, namespace: str, name: str) -> str:
    """What a pod printed, once it has ended well."""
    cluster.kubectl(
        "wait", f"--namespace={namespace}", "--for=jsonpath={.status.phase}=Succeeded", f"pod/{name}", "--timeout=60s"
    )
    return cluster.kubectl("logs", f"--namespace={namespace}", name)


def test_services_resolve_and_answer(cluster: Harness, images: list[str], namespace: str) -> None:
    cluster.apply(
        [
            pod(
                "web",
                images[0],
                SERVER,
                container={"readinessProbe": {"httpGet": {"port": 8000, "path": "/"}, "periodSeconds": 1}},
            ),
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": "web"},
                "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8000}]},
            },
        ],
        namespace,
    )
    cluster.kubectl("wait", f"--namespace={namespace}", "--for=condition=Ready", "pod/web", "--timeout=60s")
    name = f"web.{namespace}.svc.cluster.local"
    script = f"""
import socket, time, urllib.request
for attempt in range(50):
    try:
        print(urllib.request.urlopen('http://{name}', timeout=2).status); break
    except OSError: time.sleep(0.2)
try: socket.gethostbyname('nowhere.{namespace}.svc.cluster.local')
except socket.gaierror: print('unknown')
"""
    cluster.apply(pod("asker", images[0], script), namespace)
    assert outcome(cluster, namespace, "asker").split() == ["200", "unknown"]


def test_a_volume_is_writable_by_any_user_and_outlives_its_pod(
    cluster: Harness, images: list[str], namespace: str
) -> None:
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Mi"}}},
    }
    mounted = {
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
        "container": {"volumeMounts": [{"name": "data", "mountPath": "/data"}]},
    }
    write = "import os; open('/data/it', 'w').write(str(os.getuid()))"
    cluster.apply([claim, pod("writer", images[0], write, security={"runAsUser": 12345}, **mounted)], namespace)
    outcome(cluster, namespace, "writer")
    mounted = {**mounted, "container": {"volumeMounts": [{"name": "data", "mountPath": "/data"}]}}
    cluster.apply(pod("reader", images[0], "print(open('/data/it').read())", **mounted), namespace)
    assert outcome(cluster, namespace, "reader").strip() == "12345"
    group = "import os; open('/data/g', 'w'); print(os.stat('/data/g').st_gid)"
    mounted = {**mounted, "container": {"volumeMounts": [{"name": "data", "mountPath": "/data"}]}}
    cluster.apply(pod("grouped", images[0], group, security={"fsGroup": 777}, **mounted), namespace)
    if cluster.provider == "embedded":  # elsewhere the storage class decides
        assert outcome(cluster, namespace, "grouped").strip() == "777"


def test_logs_exec_and_port_forward(cluster: Harness, images: list[str], namespace: str) -> None:
    cluster.apply(pod("web", images[0], SERVER), namespace)
    cluster.kubectl("wait", f"--namespace={namespace}", "--for=condition=Ready", "pod/web", "--timeout=60s")
    assert "uid=65532" in cluster.kubectl("exec", f"--namespace={namespace}", "web", "--", "id")
    command = [str(cluster.cluster.kubectl), f"--kubeconfig={cluster.kubeconfig}", f"--namespace={namespace}"]
    with subprocess.Popen([*command, "port-forward", "pod/web", ":8000"], stdout=subprocess.PIPE, text=True) as forward:
        try:
            assert forward.stdout is not None
            port = int(forward.stdout.readline().split("127.0.0.1:")[1].split()[0])
            deadline = time.monotonic() + 20
            while True:
                try:
                    status = urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).status
                    break
                except OSError:
                    assert time.monotonic() < deadline
        finally:
            forward.terminate()
    assert status == 200
    assert "serving" in cluster.kubectl("logs", f"--namespace={namespace}", "web")


def test_a_pod_that_is_not_restricted_is_refused(cluster: Harness, images: list[str], namespace: str) -> None:
    root = pod("root", images[0], "pass", security={"runAsNonRoot": False, "runAsUser": 0})
    with pytest.raises(ClusterError, match="violates PodSecurity"):
        cluster.apply(root, namespace)


def test_the_images_run_without_root_and_on_a_read_only_filesystem(
    cluster: Harness, images: list[str], namespace: str
) -> None:
    script = """
import json, os, sys, {imports}
try: open(os.path.join(os.path.dirname(perennial.__file__), 'x'), 'w'); writable = True
except OSError: writable = False
cached = os.path.exists(perennial.__cached__)
print(json.dumps(dict(uid=os.getuid(), writable=writable, cached=cached)))
"""
    imports = {"operator": "kopf, perennial.api", "runtime": "sklearn, onnxruntime, pyarrow, perennial.runtime"}
    for (target, modules), image in zip(imports.items(), images, strict=True):
        cluster.apply(pod(target, image, script.format(imports=f"perennial, {modules}")), namespace)
        last = outcome(cluster, namespace, target).strip().splitlines()[-1]
        assert json.loads(last) == {"uid": 65532, "writable": False, "cached": True}


def test_the_host_reaches_pods_of_the_embedded_cluster(cluster: Harness, images: list[str], namespace: str) -> None:
    if cluster.provider != "embedded":
        # kind has its nodes in a network of Docker's; the demonstration and the operator forward ports there.
        pytest.skip("only the embedded cluster promises routes to its pods")
    cluster.apply(pod("web", images[0], SERVER), namespace)
    cluster.kubectl("wait", f"--namespace={namespace}", "--for=condition=Ready", "pod/web", "--timeout=60s")
    address = cluster.get("pod", "web", namespace=namespace)["status"]["podIP"]
    deadline = time.monotonic() + 20
    while True:
        try:
            assert urllib.request.urlopen(f"http://{address}:8000/", timeout=5).status == 200
            break
        except OSError:
            assert time.monotonic() < deadline
