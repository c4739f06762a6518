"""`python -m demo [down]`: from a bare machine to the whole loop on real data, told as it happens.

Cold it compiles a Kubernetes first; it says so, and how long that takes. What it prints at the end is read from the
cluster.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from . import flights, narrator, scene, stage
from .kubectl import CommandFailed, Kubectl
from .report import Report

LOOKS_EVERY_SECONDS = 0.5
TELLERS = {
    "TrainingJob": narrator.training,
    "ModelDeployment": narrator.serving,
    "DriftMonitor": narrator.monitoring,
}


class Story:
    """Prints lines with the time since the start, and who is speaking."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._lock = threading.Lock()

    def tell(self, who: str, line: str) -> None:
        elapsed = int(time.monotonic() - self._began)
        with self._lock:
            print(f"{elapsed // 60:2d}:{elapsed % 60:02d}  {who:<16} {line}", flush=True)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began


class Watcher(threading.Thread):
    """Looks at the three resources twice a second and tells what is new."""

    def __init__(self, kubectl: Kubectl, story: Story) -> None:
        super().__init__(daemon=True)
        self._kubectl, self._story = kubectl, story
        self._seen: dict[str, dict[str, Any]] = {}
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.wait(LOOKS_EVERY_SECONDS):
            self.look()

    def look(self) -> None:
        found = self._kubectl.list(",".join(TELLERS))
        told = {one["kind"]: one.get("status", {}) for one in found if one["metadata"]["name"] == "flights"}
        for kind, tell in TELLERS.items():
            if kind in told:
                for line in tell(self._seen.get(kind, {}), told[kind]):
                    self._story.tell(kind, line)
        self._seen |= told

    def finish(self) -> None:
        self._ended.set()
        self.join(timeout=30)
        self.look()


def telling(is_at_work: Callable[[], bool], story: Story) -> Callable[[], bool]:
    """The same question, with a line whenever the answer is another one."""
    known = True

    def asked() -> bool:
        nonlocal known
        if (now := is_at_work()) != known:
            story.tell("operator", "is at work again" if now else "has ended, and is started anew by the kubelet")
        known = now
        return now

    return asked


def play(story: Story) -> Report:
    prepared = stage.prepare(lambda line: story.tell("stage", line))
    kubectl = Kubectl(prepared.cluster.kubectl, prepared.cluster.kubeconfig, scene.NAMESPACE)
    if scene.clear(kubectl):
        story.tell("stage", "cleared what an earlier demo left")
    table = flights.prepared()
    story.tell("stage", "327,346 real flights of 2013; the question: how long will a flight be in the air?")
    scene.open_airport(kubectl, table, prepared.runtime)
    story.tell("airport", "January has landed in the data folder")

    watcher = Watcher(kubectl, story)
    watcher.start()
    scene.apply_resources(kubectl)
    story.tell("you", "kubectl apply: a TrainingJob, a ModelDeployment, a DriftMonitor")
    scene.wait_until_served(kubectl)

    report = Report(kubectl)
    for week in scene.fly(kubectl, scene.calendar(kubectl, telling(prepared.is_at_work, story))):
        report.add(week)
        story.tell("airport", report.line(week))
    watcher.finish()
    return report


def clear_away() -> int:
    try:
        print(stage.clear_away())
    except CommandFailed as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


def main() -> int:
    story = Story()
    try:
        report = play(story)
    except CommandFailed as problem:
        print(f"\nThe demo could not go on.\n{problem}")
        print("\nThe cluster is left as it is, to look at; `make demo-down` takes it away.")
        return 1
    print(report.ending(story.seconds))
    return 0


if __name__ == "__main__":
    sys.exit(clear_away() if sys.argv[1:] == ["down"] else main())
