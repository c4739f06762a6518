"""What a version is judged by: the held-out rows, what the model said of them, and what tells them from other rows."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from numpy.typing import NDArray

from perennial.wire.schema import Feature

from .metrics import Judged
from .resampling import Resampling
from .target import AnyArray, Task

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Evidence:
    """Held-out rows, all in the same order. `digest` is of which rows they are: two runs that have the same one held
    out the same rows. `seconds` orders them in time where there is one. `slices` are columns that they are told apart
    by, which the model need not have.
    """

    judged: Judged
    task: Task
    target: str
    drawn: Resampling
    frame: pd.DataFrame
    features: Sequence[Feature]
    digest: str
    seconds: NDArray[np.float64] | None = None
    are_dates: bool = False
    slices: Mapping[str, NDArray[np.float64] | NDArray[np.object_]] = field(default_factory=dict)


def digest_of_places(files: str, places: NDArray[np.intp]) -> str:
    """Of rows by their places in the files with the digest `files`."""
    return hashlib.sha256(files.encode() + places.astype("<i8").tobytes()).hexdigest()


def digest_of_rows(frame: pd.DataFrame, truth: AnyArray) -> str:
    """Of rows by what is in them, where nobody can say where they come from."""
    import pandas as pd

    digest = hashlib.sha256(msgspec.json.encode([list(frame.columns), [str(value) for value in truth.tolist()]]))
    if len(frame.columns):
        digest.update(pd.util.hash_pandas_object(frame, index=False).to_numpy("<u8").tobytes())
    return digest.hexdigest()
