"""Why a run was made and what it was made from: written on its Job, and kept in the version's record when it ends.

With it a Job says all of itself. A status that was cleared, or one that was never written since the operator died
right after it made the Job, is rebuilt from it, and no trigger is taken twice.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from perennial.kube.plan import Manifest

from .names import ORIGIN


class Trigger(msgspec.Struct, frozen=True, omit_defaults=True):
    """What started a run: FirstRun, DefinitionChanged, Scheduled, Requested or DriftMonitor, or what a newer release
    knows.

    `by` is the token of a person's request, or the DriftMonitor's name.
    """

    type: str
    by: str | None = None


class Handled(msgspec.Struct, frozen=True, omit_defaults=True):
    """Requests that were taken: the last token of `perennial.dev/run`, each DriftMonitor's last request by uid, and the
    last time of the schedule."""

    run: str | None = None
    monitors: dict[str, str] = {}
    schedule: datetime | None = None


class Store(msgspec.Struct, frozen=True, omit_defaults=True):
    """The root of a store, and the Secret of the namespace that opens it."""

    uri: str
    secret: str | None = None


class Origin(msgspec.Struct, frozen=True, omit_defaults=True):
    """One run's beginning. `handled` is everything taken up to and with this run."""

    version: int
    definition: str
    trigger: Trigger
    store: Store
    handled: Handled = Handled()


def to_annotation(origin: Origin) -> dict[str, str]:
    return {ORIGIN: msgspec.json.encode(origin).decode()}


def from_job(job: Manifest) -> Origin | None:
    """The origin that the Job carries; None where somebody removed or spoiled the annotation."""
    text = job["metadata"].get("annotations", {}).get(ORIGIN)
    if text is None:
        return None
    try:
        return msgspec.json.decode(text, type=Origin)
    except msgspec.DecodeError:
        return None
