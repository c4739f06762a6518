"""What became of runs that brought no new version, and whether another one could.

Nobody but a run can tell whether training data have changed. One that comes to the accepted model, digest for digest,
tells that they have not since that model was trained: the longer that was, the longer it is likely to stay so.
"""

from __future__ import annotations

import math

from perennial.api.trainingjob_status import Run

from .checkpoint import Checkpoint
from .objections import Stale
from .observed import Observed

_WORDS = {
    "Unchanged": "came to the very model that is accepted already: its data have nothing new to learn from",
    "Rejected": "missed a gate",
    "Failed": "failed",
}


def fruitless(observed: Observed, checkpoint: Checkpoint) -> str | None:
    """What became of the run that was asked for last, where no new version did."""
    request, run = checkpoint.governor.latest("Retrain"), _newest(observed)
    if request is None or run is None or run.triggered_by != observed.identity.name:
        return None
    if not _is_since(run, request.created):
        return None
    return f"run v{run.version} {_WORDS[run.state]}" if run.state in _WORDS else None


def stale_data(observed: Observed, found: float) -> Stale | None:
    """What the newest run tells of the data if it began after the last cause of a retrain was `found` (Unix seconds),
    whoever started it, and came to the model that was there."""
    run = _newest(observed)
    if observed.training is None or run is None or run.state != "Unchanged" or not _is_since(run, found):
        return None
    alike = [
        other.started_at.timestamp()
        for other in observed.training.runs
        if other.started_at and other.model and run.model and other.model.sha256 == run.model.sha256
    ]
    began = run.started_at.timestamp() if run.started_at else found
    return Stale(run.version, since=min(alike, default=began), seen=began)


def _newest(observed: Observed) -> Run | None:
    return observed.training.runs[0] if observed.training and observed.training.runs else None


def _is_since(run: Run, moment: float) -> bool:
    """A Job's creation is told in whole seconds."""
    return run.started_at is not None and run.started_at.timestamp() >= math.floor(moment)
