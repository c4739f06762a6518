"""Names, labels and annotations of what a TrainingJob owns.

All names are made of the TrainingJob's name, its uid and the version's number: a crash after any write finds the
object again, and a TrainingJob that is deleted and made anew collides with nothing of its predecessor.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from perennial.api.labels import MANAGED_BY, ROLE, TRAININGJOB

RUN = "perennial.dev/run"
"""The annotation by which a person asks for a run; its value is a token that is taken once."""
ORIGIN = "perennial.dev/origin"
"""On a run's Job and its report Job: why the run was made and what it was made from, as JSON of `Origin`."""

TRAINER = "trainer"
PUBLISHER = "publisher"
REPORT = "report"
VERSION = "version"


@dataclass(frozen=True, slots=True)
class Identity:
    """Which TrainingJob: namespace, name and uid."""

    namespace: str
    name: str
    uid: str

    @property
    def stem(self) -> str:
        return f"{self.name}-{hashlib.sha256(self.uid.encode()).hexdigest()[:6]}"

    def run_job(self, version: int) -> str:
        return f"{self.stem}-v{version}"

    def report_job(self, version: int) -> str:
        return f"{self.run_job(version)}-report"

    def record(self, version: int) -> str:
        """The ControllerRevision that keeps the version's result. It shares its Job's name, being of another kind."""
        return self.run_job(version)

    def path(self, version: int) -> str:
        """The version's folder below the root of the store."""
        return f"{self.namespace}/{self.stem}/v{version}"

    def labels(self, role: str) -> dict[str, str]:
        return MANAGED_BY | {ROLE: role, TRAININGJOB: self.name}

    def version_of(self, name: str) -> int | None:
        """The number in the name of a run's Job or record, None where the name is of neither."""
        number = name.removeprefix(f"{self.stem}-v")
        return int(number) if number != name and number.isdecimal() else None

    def reported_version_of(self, name: str) -> int | None:
        """The number in the name of a report Job."""
        return self.version_of(name.removesuffix(f"-{REPORT}")) if name.endswith(f"-{REPORT}") else None
