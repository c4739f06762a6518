"""What a server pod that is not ready says of itself, in words that tell a person what to do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from perennial.serving.pods import read_pod

CREATED = datetime(2026, 1, 1, tzinfo=UTC)
SOON, LATER = CREATED + timedelta(seconds=5), CREATED + timedelta(seconds=15)


def manifest(state: dict[str, Any], last: dict[str, Any] | None = None, **status: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "flights-1", "uid": "1", "creationTimestamp": CREATED.isoformat()},
        "spec": {"volumes": [{"secret": {"secretName": "models"}}, {"emptyDir": {}}]},
        "status": {"containerStatuses": [{"state": state, "lastState": last or {}}], **status},
    }


CREATING = manifest({"waiting": {"reason": "ContainerCreating"}})


def test_what_it_needs_is_named_once_its_start_takes_long() -> None:
    pod = read_pod(CREATING)
    assert pod.trouble_at(SOON) is None
    assert "it needs Secret models, its images (kubectl describe pod flights-1" in (pod.trouble_at(LATER) or "")


def test_the_status_is_looked_at_again_when_its_start_takes_long() -> None:
    pod = read_pod(CREATING)
    assert (pod.told_in(SOON), pod.told_in(LATER)) == (timedelta(seconds=10), None)


@pytest.mark.parametrize(
    ("pod", "words"),
    [
        (manifest({"running": {}}), None),
        (manifest({"waiting": {"reason": "ImagePullBackOff", "message": "no"}}), "ImagePullBackOff: no"),
        (
            manifest(
                {"waiting": {"reason": "CrashLoopBackOff"}}, {"terminated": {"reason": "OOMKilled", "exitCode": 137}}
            ),
            "OOMKilled (exit code 137): raise spec.resources.limits.memory",
        ),
        (
            manifest({"terminated": {"reason": "Error", "exitCode": 1, "message": "first\nthe store is gone\n\n"}}),
            "Error (exit code 1): the store is gone",
        ),
        (manifest({"terminated": {"reason": "Error", "exitCode": 2}}), "Error (exit code 2)"),
    ],
)
def test_its_own_words(pod: dict[str, Any], words: str | None) -> None:
    assert read_pod(pod).trouble_at(SOON) == words
