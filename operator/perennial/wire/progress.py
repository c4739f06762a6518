"""How far a run's search is: what the trainer answers on its control port while it runs.

A pod without rights in Kubernetes can tell of itself only when it ends, in its termination message; until then it can
be asked.
"""

from __future__ import annotations

import msgspec

PROGRESS_PATH = "/progress"


class Progress(msgspec.Struct, omit_defaults=True):
    """`done` of `of` fits have ended. `best` is the best mean of `metric` among the trials that
    have ended on all rows; of 0 fits nothing is known yet."""

    metric: str
    of: int = 0
    done: int = 0
    best: float | None = None
