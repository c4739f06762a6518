"""What the judged model said of the held-out rows, kept with the version: `answers.npz`, numbers only.

A later version that held out the same rows is compared with these. The published model cannot be asked, since refitting
has shown it the very rows.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from perennial.wire.schema import Class

from .evidence import Evidence
from .metrics import Judged

MAX_NUMBERS = 2_000_000
"""More than these are not kept: two megabytes compressed, say, for a model of which one file is served to every pod."""
_ROWS, _PREDICTIONS, _PROBABILITIES = "rows", "predictions", "probabilities"


def packed(evidence: Evidence) -> bytes | None:
    """The answers as an npz file, byte-reproducible; None where they are too many, or no classes of the model's."""
    judged = evidence.judged
    if len(judged.truth) * max(1, len(judged.classes)) > MAX_NUMBERS:
        return None
    places = {label: place for place, label in enumerate(judged.classes)}
    said = judged.predictions.tolist()
    if places and not places.keys() >= set(said):
        return None
    arrays = {
        _ROWS: np.frombuffer(bytes.fromhex(evidence.digest), np.uint8),
        _PREDICTIONS: np.array([places[label] for label in said], np.int32) if places else judged.predictions,
    }
    if judged.probabilities is not None:
        arrays[_PROBABILITIES] = judged.probabilities
    out = io.BytesIO()
    np.savez_compressed(out, allow_pickle=False, **arrays)
    return out.getvalue()


def of_the_same_rows(data: bytes, evidence: Evidence, classes: Sequence[Class]) -> Judged | None:
    """The answers in the file beside the truth of `evidence`; None where they are of other rows, or no such file."""
    try:
        arrays = np.load(io.BytesIO(data), allow_pickle=False)
        if arrays[_ROWS].tobytes().hex() != evidence.digest:
            return None
        said = arrays[_PREDICTIONS]
        predictions = np.array(classes, evidence.judged.predictions.dtype)[said] if classes else said
        chances = arrays.get(_PROBABILITIES)
    except (ValueError, KeyError, IndexError, OSError, zipfile.BadZipFile):
        return None
    return replace(evidence.judged, predictions=predictions, classes=classes, probabilities=chances)
