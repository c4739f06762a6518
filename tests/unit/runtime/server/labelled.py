"""What an epoch says of labels, in a form that is easily compared."""

from __future__ import annotations

from functools import reduce
from typing import Any

from perennial.wire.counts import summed


def by_loss(labels: dict[str, Any]) -> list[int]:
    """By cell, of predictions of any time."""
    return reduce(summed, labels["loss"].values(), [])
