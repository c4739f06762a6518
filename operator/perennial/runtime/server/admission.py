"""Whether a request for predictions is taken, by whichever port and protocol it came."""

from __future__ import annotations

from perennial.runtime.server.http import overloaded
from perennial.runtime.server.inference import Predictor
from perennial.runtime.server.meter import Meter
from perennial.runtime.server.refusal import Refusal
from perennial.runtime.server.state import State


class Admission:
    """Refuses what is for another model, and what is more than the server works on at a time."""

    def __init__(self, state: State, meter: Meter, *, max_in_flight: int) -> None:
        self._state = state
        self._meter = meter
        self._max_in_flight = max_in_flight

    def check(self, name: str, version: str | None) -> None:
        """Raises Refusal 404 unless this model, in this version or in none said, is served here."""
        served = self._state
        if name != served.name:
            raise Refusal(404, f"there is no model {name!r} here; this server has {served.name!r}")
        if version is not None and version != served.version:
            raise Refusal(404, f"model {name!r} has no version {version!r} here; this server has {served.version!r}")

    def predictor(self) -> Predictor:
        """What answers now. Raises Refusal 503 while there is nobody, or too many wait already."""
        if self._meter.in_flight > self._max_in_flight:
            raise overloaded(f"more than {self._max_in_flight} requests are in flight")
        if self._state.predictor is None:
            raise overloaded("the model is not loaded yet")
        return self._state.predictor
