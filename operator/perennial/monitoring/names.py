"""Names, labels and annotations of a DriftMonitor and what it owns."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from perennial.api.labels import DRIFTMONITOR, MANAGED_BY, ROLE

CHECKPOINT = "checkpoint"

RELEASE = "perennial.dev/release"
"""The annotation by which a person says that what is served now is normal; its value is a token that is taken once."""


APPROVE = "perennial.dev/approve"
"""The annotation by which a person agrees to a proposal; its value is the proposal's id, so that it approves no
other."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Which DriftMonitor: namespace, name and uid."""

    namespace: str
    name: str
    uid: str

    @property
    def checkpoint(self) -> str:
        """The ConfigMap that the monitor remembers in."""
        return f"{self.name}-drift"

    def join_job(self, number: int) -> str:
        """The Job that joins labels for the `number`-th time."""
        return f"{self.name}-{hashlib.sha256(self.uid.encode()).hexdigest()[:6]}-labels-{number}"

    def labels(self, role: str) -> dict[str, str]:
        return MANAGED_BY | {ROLE: role, DRIFTMONITOR: self.name}
