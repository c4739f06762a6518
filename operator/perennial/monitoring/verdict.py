"""What was found, as it is kept: a verdict per state, latched until it has been clean for long or there is a new
baseline."""

from __future__ import annotations

import hashlib
from typing import Literal

import msgspec

from .faults import Finding

State = Literal["DataFault", "TrainServeSkew", "MinorDrift", "AnchorDrift", "Drift", "HarmSuspected", "Harm"]


class Loss(msgspec.Struct, frozen=True):
    """The mean loss of the reference, what is tolerated, and the mean since the change began: of labelled rows, or
    expected from scores."""

    reference: float
    tolerated: float
    now: float


class Verdict(msgspec.Struct, frozen=True, omit_defaults=True):
    """Times are Unix seconds. `clean` windows have passed without a sign of it, the first of which opened at
    `clean_since`."""

    id: str
    state: State
    since: float
    found: float
    n: int
    features: tuple[Finding, ...] = ()
    loss: Loss | None = None
    clean: int = 0
    clean_since: float = 0.0


def identify(model: str, state: State, found: float) -> str:
    """A verdict's name: the same wherever it is computed again from the same counts."""
    return hashlib.sha256(f"{model} {state} {found:.3f}".encode()).hexdigest()[:8]
