"""Whether the version before would do better: both on the same labelled rows, from the moment on at which harm was
found.

Of the rows before that moment nothing can be learned: harm was found by them, so that the judged model's loss on them
is high by selection, and any other model would seem better.
"""

from __future__ import annotations

import math

from perennial.evidence import log_evidence_loss_above
from perennial.wire.stats import Pairs

FALSE_WIN = 0.01
"""Probability that a version before which is no better is ever taken for better, however long one looks: as a rollout's
own analysis of the loss."""


def wins(pairs: Pairs) -> bool:
    """Whether the version before certainly has the smaller loss."""
    return log_evidence_loss_above(pairs, margin=0.0) >= -math.log(FALSE_WIN)
