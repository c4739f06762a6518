"""Whether labels are of one class alone: then they are hardly a sample of what was answered.

Where only frauds that were found come back, or only alarms that were false, each label is of the one class, and how
often the model was wrong about those says nothing of all. Which rows got a label at all nobody can see from counts
unless it is as plain as that.
"""

from __future__ import annotations

from perennial.wire.reference import Numeric, Reference

from .checkpoint import Tally


def one_sided(tally: Tally, reference: Reference) -> str | None:
    """The class of two that all labels so far are of; None where there are both, or classes are not known."""
    if len(reference.classes) != 2 or not isinstance(reference.score, Numeric) or not tally.scored:
        return None
    if 0 < tally.positives < tally.scored:
        return None
    return reference.classes[int(tally.positives > 0)]
