"""What a version is judged by: the held-out rows, what the model said of them, and what tells them from other rows."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from numpy.typing import NDArray

from perennial.wire.run import Data
from perennial.wire.schema import Feature

from .metrics import Judged
from .resampling import Resampling
from .target import AnyArray, Task

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Evidence:
    """Held-out rows, all in the same order. `digest` is of which rows they are: two runs that have the same one held
    out the same rows. `seconds` orders them in time where there is one.
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


def digest_of_split(data: Data, files: str, rows: int, held: NDArray[np.intp]) -> str:
    """Of rows by their places: `held` of `rows` usable ones in the files with the digest `files`."""
    said = msgspec.json.encode([files, data.target, data.time, data.window_seconds, rows])
    return hashlib.sha256(said + held.astype("<i8").tobytes()).hexdigest()


def digest_of_rows(frame: pd.DataFrame, truth: AnyArray) -> str:
    """Of rows by what is in them, where nobody can say where they come from."""
    import pandas as pd

    digest = hashlib.sha256(msgspec.json.encode([list(frame.columns), [str(value) for value in truth.tolist()]]))
    if len(frame.columns):
        digest.update(pd.util.hash_pandas_object(frame, index=False).to_numpy("<u8").tobytes())
    return digest.hexdigest()
