"""Going back: from a stable version that harms to the one before it, as a DriftMonitor asks once it has proof.

One write does it: the stable revision is quarantined, and its record says what is served instead. From then on that
other model is what the deployment wants, under the spec's present server, and comes as any revision comes; so nothing
is left half done by a death, and nothing is forgotten when the status is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from perennial.api.driftmonitor_status import ActionRequest
from perennial.api.modeldeployment import ModelSource
from perennial.api.requests import MonitorSeen

from .revision import ModelRef, Revision, revision_for


@dataclass(frozen=True, slots=True)
class Back:
    """A request that is to be carried out: by uid of its monitor, its id, why, and the model to go back to. `source`
    is the part of the spec that names the model."""

    monitor: str
    request: str
    reason: str
    to: ModelRef
    source: str


@dataclass(frozen=True, slots=True)
class Late:
    """A request that does not fit any more, and why."""

    monitor: str
    request: str
    message: str


@dataclass(frozen=True, slots=True)
class Asked:
    """What DriftMonitors ask for now."""

    back: Back | None = None
    late: tuple[Late, ...] = ()


NOTHING_ASKED = Asked()


def previous(stable: Revision | None, revisions: Mapping[str, Revision]) -> Revision | None:
    """The revision of another model that was stable before this one."""
    if stable is None:
        return None
    earlier = (
        revision
        for revision in revisions.values()
        if 0 < revision.record.promotion < stable.record.promotion and revision.model.sha256 != stable.model.sha256
    )
    return max(earlier, key=lambda revision: revision.record.promotion, default=None)


def is_compared(revision: Revision, other: Revision) -> bool:
    """Whether a revision's pods score the model of another one too."""
    companion = revision.record.companion
    return companion is not None and companion.sha256 == other.model.sha256


def asked(
    requests: Iterable[tuple[MonitorSeen, ActionRequest]],
    model: ModelSource,
    source: str,
    stable: Revision | None,
    before: Revision | None,
) -> Asked:
    """What to do about these requests. Of several the first is carried out; the others are late by then."""
    back: Back | None = None
    late = []
    for monitor, request in requests:
        objection = _objection(request, model, stable, before)
        if objection or before is None:
            late.append(Late(monitor.uid, request.id, f"DriftMonitor {monitor.name} asks to go back: {objection}"))
        elif back is None:
            back = Back(monitor.uid, request.id, request.reason, before.model, source)
    return Asked(back, tuple(late))


def _objection(
    request: ActionRequest, model: ModelSource, stable: Revision | None, before: Revision | None
) -> str | None:
    """Why a request cannot be carried out, now or later."""
    if not follows(model):
        return "spec.model says which version is served, and that holds"
    if stable is None or stable.model.sha256 != request.model:
        return "the version that it judged is not the stable one any more"
    if stable.record.quarantine:
        return f"{stable.model.title} is quarantined already"
    if before is None or request.previous is None or before.model.sha256 != request.previous.sha256:
        return "the version that it found to be better is not the one before the stable one"
    if before.record.quarantine:
        return f"{before.model.title} is quarantined itself"
    return None


def follows(model: ModelSource) -> bool:
    """Whether the spec leaves it to the loop which version is served."""
    return model.training_job is not None and model.version is None


def stand_in(
    wanted: ModelRef | None, source: str, digest: str, stable: Revision | None, revisions: Mapping[str, Revision]
) -> tuple[ModelRef, Revision] | None:
    """What is served instead of the newest accepted model, and the revision whose place that takes; None where nothing
    was gone back from.

    What is gone back to comes before what was accepted meanwhile, since the stable version harms until then; unless its
    pods do not come.
    """
    if stable and stable.record.source == source and (to := went_back_to(stable)):
        known = revisions.get(revision_for(to, digest, revisions))
        if known is None or not (known.record.setback or known.record.quarantine):
            return to, stable
    harmful = of_harmful(wanted, revisions) if wanted else None
    to = went_back_to(harmful) if harmful else None
    return (to, harmful) if harmful and to else None


def of_harmful(model: ModelRef, revisions: Mapping[str, Revision]) -> Revision | None:
    """The revision of this model, under whatever server, that was gone back from."""
    return next((one for one in revisions.values() if one.model.sha256 == model.sha256 and went_back_to(one)), None)


def went_back_to(revision: Revision) -> ModelRef | None:
    """What is served instead of a revision that was gone back from."""
    quarantine = revision.record.quarantine
    return quarantine.instead if quarantine else None
