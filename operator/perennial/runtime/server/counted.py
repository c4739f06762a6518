"""What is known of rows once they are counted: kept until they are answered, for their receipts and their companion."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from perennial.runtime.server.counts.journal import Appended


class Counted(msgspec.Struct, eq=False):
    """`scores` [n] are the rows' scores, None without a reference. `appended` is where the journal has them, from row
    `start` on; None where none are remembered.
    """

    scores: NDArray[np.float64] | None
    appended: Appended | None = None
    start: int = 0

    def part(self, its: slice) -> Counted:
        """Of some of the rows."""
        scores = None if self.scores is None else self.scores[its]
        return Counted(scores, self.appended, self.start + its.start)
