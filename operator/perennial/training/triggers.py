"""What asks for a run: a definition that changed, the clock, a person, a DriftMonitor. All that wait become one run.

Each is found by comparing what is with what was taken, never by noticing an event: one that came while the operator was
down is there when it is back, and one that was taken stays taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from perennial.api.driftmonitor_status import ActionRequest
from perennial.api.requests import newest, waiting

from .digest import definition_digest, is_comparable
from .history import History
from .names import RUN
from .observe import Observed
from .origin import Handled, Trigger
from .schedule import Clock, clock_of


@dataclass(frozen=True, slots=True)
class Asked:
    """Every trigger that asks for a run, the one that names it first; and requests that came too late.

    A DriftMonitor's comes before a changed definition: of a version that is the cure of drift, disagreement with its
    predecessor is expected, whatever else changed.
    """

    triggers: tuple[Trigger, ...]
    late: dict[str, str]
    handled: Handled
    definition: str
    clock: Clock | None


def asked(observed: Observed, history: History, now: datetime) -> Asked:
    """What asks for a run now. `handled` is what will have been taken once that run is started."""
    definition = definition_digest(observed.manifest.get("spec") or {})
    ours = newest(observed.monitors, lambda request: request.training_job == observed.identity.name)
    requests = waiting(ours, history.handled.monitors.items(), now)
    valid = {monitor: request for monitor, request in requests if not _is_late(request, history)}
    late = {monitor.uid: request.id for monitor, request in requests if _is_late(request, history)}
    token, clock = token_of(observed), clock_of(observed, now)
    triggers = [
        Trigger("FirstRun") if history.latest == 0 else None,
        *(Trigger("DriftMonitor", monitor.name) for monitor in valid),
        Trigger("DefinitionChanged") if _changed(definition, history) else None,
        Trigger("Scheduled") if clock and clock.due(history.handled.schedule) else None,
        Trigger("Requested", token) if token and token != history.handled.run else None,
    ]
    taken = {monitor.uid: request.id for monitor, request in valid.items()}
    return Asked(
        triggers=tuple(trigger for trigger in triggers if trigger),
        late=late,
        handled=Handled(
            token or history.handled.run,
            history.handled.monitors | late | taken,
            clock.last if clock else history.handled.schedule,
        ),
        definition=definition,
        clock=clock,
    )


def _changed(definition: str, history: History) -> bool:
    """A digest of another release's algorithm cannot be compared: it is adopted, and nothing starts."""
    return history.latest > 0 and is_comparable(history.started) and history.started != definition


def _is_late(request: ActionRequest, history: History) -> bool:
    """Whether a version was accepted that the request does not know of: that may be the cure. Numbers tell, no clocks.

    It need not be about the accepted model: when that was rolled back, it is the one before that does harm.
    """
    accepted = history.accepted.version if history.accepted else 0
    return accepted > (request.accepted_version or 0)


def token_of(observed: Observed) -> str | None:
    """What a person asked for a run with last."""
    token: str | None = observed.manifest["metadata"].get("annotations", {}).get(RUN)
    return token
