"""The origin of a run, from its Job, or, where that is gone, from what the status and the spec still tell."""

from __future__ import annotations

from .observe import Observed, RunSeen
from .origin import Handled, Origin, Trigger
from .store import store_of


def origin_of(observed: Observed, run: RunSeen) -> Origin | None:
    """None where the Job is gone and the spec is too wrong to say where the store is."""
    return run.origin or _as_told(observed, run)


def _as_told(observed: Observed, run: RunSeen) -> Origin | None:
    if observed.spec is None:
        return None
    told, status = run.told, observed.status
    return Origin(
        version=run.version,
        definition=status.definition if status.definition and run.version == status.latest_version else "",
        trigger=Trigger(told.trigger, told.triggered_by) if told else Trigger("Requested"),
        store=store_of(observed.spec, observed.settings, observed.identity.namespace),
        handled=Handled(status.handled.run, dict(status.handled.monitors), status.handled.schedule),
    )
