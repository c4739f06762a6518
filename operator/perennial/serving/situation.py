"""The situation that a rollout is decided in: the spec, the revisions with their pods, and what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from perennial.api.modeldeployment import Rollout, Step

from .analysis import Finding, Totals
from .fleet import Group
from .names import Verb
from .revision import ModelRef, Progress, Revision
from .rollback import NOTHING_ASKED, Asked, went_back_to
from .split import Split, exact_split, inexact_split


@dataclass(frozen=True, slots=True)
class Target:
    """The revision that the spec asks for now. `source` is the part of the spec that names the model; `instead_of` the
    revision that was gone back from, where that is the one that the spec would ask for."""

    name: str
    digest: str
    source: str
    model: ModelRef
    instead_of: Revision | None = None


@dataclass(frozen=True, slots=True)
class Situation:
    """All that a decision depends on. `groups` has the pods of each revision that has a Deployment; `bound` is how many
    pods a step may come to; `measured`: every ready pod of the candidate has answered; `verb` is a person's annotation
    that was not taken yet, `asked` what DriftMonitors ask for."""

    now: datetime
    spec: Rollout
    wanted: int
    bound: int
    target: Target | None
    stable: Revision | None = None
    candidate: Revision | None = None
    revisions: Mapping[str, Revision] = field(default_factory=dict)
    groups: Mapping[str, Group] = field(default_factory=dict)
    totals: Totals = field(default_factory=Totals)
    findings: tuple[Finding, ...] = ()
    measured: bool = True
    verb: Verb | None = None
    asked: Asked = NOTHING_ASKED
    suspended: bool = False

    @property
    def progress(self) -> Progress:
        """Raises ValueError without a candidate."""
        if self.candidate is None or self.candidate.record.progress is None:
            raise ValueError("there is no candidate")
        return self.candidate.record.progress

    @property
    def steps(self) -> tuple[Step, ...]:
        """None of them where there is nothing to share the requests: no stable revision, or no pods wanted."""
        return (self.spec.steps or ()) if self.stable and self.wanted else ()

    @property
    def step(self) -> Step | None:
        """The step that the candidate is at; None while it takes over whole."""
        return self.steps[self.progress.step] if self.progress.step < len(self.steps) else None

    @property
    def leaving(self) -> dict[str, Group]:
        staying = {revision.name for revision in (self.stable, self.candidate) if revision}
        return {name: group for name, group in self.groups.items() if name not in staying}

    def goes_back_to(self, model: ModelRef) -> bool:
        """Whether the stable revision gives way to this model."""
        to = went_back_to(self.stable) if self.stable else None
        return to is not None and to.sha256 == model.sha256

    def group(self, revision: Revision | None) -> Group:
        return self.groups.get(revision.name, Group()) if revision else Group()

    def requests_in_step(self) -> int:
        return max(0, self.totals.requests - self.progress.requests)


def asked_split(situation: Situation) -> Split | None:
    """The pods that the candidate's step asks for; None where no number of pods gives its weight."""
    wanted = situation.wanted
    if situation.step is None:
        taken = situation.group(situation.candidate).asked if situation.suspended else wanted
        return Split(max(wanted - taken, 0), taken)
    split = inexact_split if situation.spec.allow_inexact else exact_split
    return split(situation.step.weight, wanted, situation.bound)


def goal(situation: Situation) -> Split:
    """The pods to come to. A candidate whose weight cannot be given gets none."""
    split = asked_split(situation) if situation.candidate else None
    return split or Split(situation.wanted if situation.stable else 0, 0)


def is_reached(situation: Situation) -> bool:
    """Whether every pod of the step is there, and no other pod takes a share of the requests."""
    split = goal(situation)
    stable, candidate = situation.group(situation.stable), situation.group(situation.candidate)
    if situation.step is None:
        # A first revision has nothing to go back to: it is stable as soon as it serves.
        return candidate.counted_on >= (split.candidate if situation.stable else min(split.candidate, 1))
    leaving = any(group.ready for group in situation.leaving.values())
    settled = stable.asked == split.stable and candidate.asked == split.candidate
    there = stable.counted_on >= split.stable and candidate.counted_on >= split.candidate
    return settled and there and not leaving
