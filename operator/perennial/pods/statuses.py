"""What objects say of themselves in their status: the conditions of any, a pod's containers, words cut to a length."""

from __future__ import annotations

from perennial.kube.plan import Manifest


def condition_of(manifest: Manifest, kind: str) -> Manifest | None:
    """The condition of this type, whatever it says."""
    conditions: list[Manifest] = manifest.get("status", {}).get("conditions") or []
    return next((condition for condition in conditions if condition["type"] == kind), None)


def holding(manifest: Manifest, kind: str, status: str = "True") -> Manifest | None:
    """The condition of this type, where it has this status."""
    condition = condition_of(manifest, kind)
    return condition if condition and condition["status"] == status else None


def container_statuses(pod: Manifest) -> list[Manifest]:
    """The statuses of all containers, in the order in which they run."""
    status = pod.get("status", {})
    return [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]


def tail(text: str, limit: int) -> str:
    """The end of the text, where an error stands, in at most `limit` characters."""
    text = text.strip()
    return text if len(text) <= limit else f"…{text[-(limit - 1) :]}"


def head(text: str, limit: int) -> str:
    """The beginning of the text, in at most `limit` characters."""
    text = text.strip()
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
