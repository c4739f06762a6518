"""How many requests are in flight, and for how long some were: what autoscaling on concurrency measures.

A request is in flight from the moment it was read whole, not from when its turn comes: one process works on one
request at a time, so counting from there would never see more than one however long the queue.
"""

from __future__ import annotations

import time

from perennial.runtime.server.counts.mapped import TOTALS
from perennial.runtime.server.counts.totals import Totals


class Meter:
    """Requests in flight of one worker. `clock` gives monotonic seconds.

    Until `counted_in` is called (the model, and with it the counts file, is not there yet) totals go nowhere.
    """

    def __init__(self) -> None:
        self.in_flight = 0
        self.clock = time.monotonic
        self._since = self.clock()
        self._totals = Totals(memoryview(bytearray(8 * TOTALS)))

    def counted_in(self, totals: Totals) -> None:
        self._totals = totals

    def arrive(self) -> float:
        """A request is whole: the answer is to be given to `leave`."""
        now = self._accrue()
        self.in_flight += 1
        return now

    def leave(self, arrived: float, code: int, *, explained: bool = False) -> None:
        """Its answer is written. `explained`: it waited for attributions."""
        now = self._accrue()
        self.in_flight -= 1
        self._totals.answered(code, now - arrived, explained=explained)

    def accrue(self) -> None:
        """Bring the busy time up to now."""
        self._accrue()

    def _accrue(self) -> float:
        now = self.clock()
        if self.in_flight:
            self._totals.busy(self.in_flight * (now - self._since))
        self._since = now
        return now
