"""What happens on the stage, scene by scene: the airport opens, the three resources are applied, the year passes.

Used by the demonstration and by the test that kills the operator while it plays.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from .kubectl import CommandFailed, Kubectl

NAMESPACE = "flights"
MANIFESTS = Path(__file__).parent / "manifests"
RESOURCES = ("trainingjob", "modeldeployment", "driftmonitor")
FIRST_WEEKS = (0, 3)
STREAMED_WEEKS = range(4, 37)
"""The seasons' change is in them."""
AGAIN = 60
"""So many times in all a week is flown again: what goes on for ever is not waited for."""
AWAY = 120
"""The same while no operator is at work: one that ends again and again is started anew after five minutes at most."""
PACE_SECONDS = 4.5


def airport(kubectl: Kubectl, *arguments: str) -> list[str]:
    """The command line of the world outside, in its pod."""
    table = ["--table", "/lake/.demo/table.parquet", "--lake", "/lake/flights"]
    return kubectl.argv("exec", "--stdin", "airport", "--", "python3", "/lake/.demo/airport.py", *table, *arguments)


def clear(kubectl: Kubectl) -> bool:
    """Remove the namespace that an earlier demonstration left; says whether there was one.

    Raises CommandFailed where it is somebody else's.
    """
    if not is_left_over(kubectl):
        return False
    kubectl.run("delete", "namespace", kubectl.namespace, "--wait", "--timeout=180s")
    return True


def is_left_over(kubectl: Kubectl) -> bool:
    """Whether an earlier demonstration made the namespace. Raises CommandFailed where somebody else did."""
    found = kubectl.run("get", "namespace", kubectl.namespace, "--ignore-not-found", "--output=json")
    if not found:
        return False
    labels = json.loads(found)["metadata"].get("labels", {})
    if labels.get("app.kubernetes.io/part-of") != "perennial-demo":
        raise CommandFailed(f"the cluster has a namespace `{kubectl.namespace}` already; the demo will not touch it")
    return True


def open_airport(kubectl: Kubectl, table: Path, image: str) -> None:
    """The namespace, the data folder and the pod, of the runtime's `image`, with the first weeks landed."""
    kubectl.apply(MANIFESTS / "namespace.yaml")
    kubectl.apply(MANIFESTS / "airport.yaml", RUNTIME_IMAGE=image)
    kubectl.run("wait", "--for=condition=Ready", "pod/airport", "--timeout=120s")
    kubectl.run("exec", "airport", "--", "mkdir", "-p", "/lake/.demo")
    kubectl.run("cp", str(table), "airport:/lake/.demo/table.parquet")
    kubectl.run("cp", str(Path(__file__).parent / "airport.py"), "airport:/lake/.demo/airport.py")
    first, last = (str(week) for week in FIRST_WEEKS)
    subprocess.run(airport(kubectl, "--land", first, last), check=True, timeout=120)


def apply_resources(kubectl: Kubectl) -> None:
    """What a user does: three manifests."""
    for name in RESOURCES:
        kubectl.apply(MANIFESTS / f"{name}.yaml")


def wait_until_served(kubectl: Kubectl) -> None:
    """Until the first version is trained, accepted and answers. Raises CommandFailed after five minutes."""
    kubectl.run("wait", "--for=condition=Ready", "modeldeployment/flights", "--timeout=300s", timeout=310)


def has_settled(kubectl: Kubectl) -> bool:
    """No run and no rollout is under way, and the newest accepted version is served or was rolled back."""
    training, serving = (_status(kubectl, kind) for kind in ("trainingjob", "modeldeployment"))
    running = any(run["state"] in ("Pending", "Running") for run in training.get("runs", []))
    decided = [entry["version"] for entry in (serving.get("stable"), *serving.get("quarantined", [])) if entry]
    return not running and not serving.get("candidate") and training.get("acceptedVersion") in decided


def _status(kubectl: Kubectl, kind: str) -> dict[str, Any]:
    """Empty where the API server does not answer just now."""
    found = kubectl.get(kind, "flights") or {}
    return dict(found.get("status", {}))


def calendar(kubectl: Kubectl, is_at_work: Callable[[], bool]) -> Iterator[int]:
    """The year from February on. A week is flown again while a run or a rollout is under way, and while no operator is
    at work: weeks pass in seconds here, and these do not, so that a slow machine would else see another year.
    """
    under_way, away = AGAIN, AWAY
    for week in STREAMED_WEEKS:
        yield week
        while True:
            if away and not is_at_work():
                away -= 1
            elif under_way and not has_settled(kubectl):
                under_way -= 1
            else:
                break
            yield week


def fly(kubectl: Kubectl, weeks: Iterable[int], pace: float = PACE_SECONDS) -> Iterator[dict[str, Any]]:
    """The weeks pass, each in `pace` seconds: one record a week that was flown.

    Raises CommandFailed when the traffic could not go on.
    """
    command = airport(kubectl, "--pace", str(pace))
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, bufsize=1) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            for week in weeks:
                process.stdin.write(f"{week}\n")
                line = process.stdout.readline()
                if not line:
                    break
                yield json.loads(line)
            process.stdin.close()
        except BrokenPipeError:
            pass  # it has ended, and says why
        except GeneratorExit:
            process.kill()
            raise
        problem = process.stderr.read()
    if process.returncode:
        raise CommandFailed(f"the traffic stopped:\n{problem.strip()}")
