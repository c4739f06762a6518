"""The rows that a run can use: those with a target, and within the window where one is set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from perennial.runtime.failures import InputError
from perennial.wire.run import Data

from . import times
from .split import Keys, newest
from .table import Table
from .target import AnyArray, Task, target_of

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Rows:
    """Features, targets, times and groups [rows], in the order of the data, and each row's place in it."""

    frame: pd.DataFrame
    target: AnyArray
    task: Task
    places: NDArray[np.intp]
    seconds: NDArray[np.float64] | None = None
    are_dates: bool = False
    groups: NDArray[np.intp] | None = None

    def __len__(self) -> int:
        return len(self.frame)

    def take(self, index: NDArray[np.intp]) -> Rows:
        return Rows(
            self.frame.iloc[index].reset_index(drop=True),
            self.target[index],
            self.task,
            self.places[index],
            None if self.seconds is None else self.seconds[index],
            self.are_dates,
            None if self.groups is None else _renumbered(self.groups[index]),
        )

    @property
    def keys(self) -> Keys:
        """What the rows are split by."""
        labels = self.target if self.task == "classification" else None
        return Keys(len(self), labels, self.seconds, self.groups)

    @property
    def through(self) -> str | None:
        """The newest time, for a person; None without times."""
        return None if self.seconds is None else times.shown(float(self.seconds.max()), self.are_dates)


def usable(table: Table, data: Data, task: Task, say: Callable[[str], None]) -> Rows:
    """Raises InputError where the target does not suit the task or no row is left."""
    target, present = target_of(table.target, task)
    if not present.all():
        say(f"data: {int((~present).sum())} rows of {table.rows} have no {data.target!r} and are left out")
    chosen = np.flatnonzero(present)
    seconds = None if table.seconds is None else table.seconds[chosen]
    if seconds is not None and data.window_seconds is not None:
        recent = newest(seconds, data.window_seconds)
        say(f"data: {int(recent.sum())} rows of {len(recent)} are within the window")
        chosen, target, seconds = chosen[recent], target[recent], seconds[recent]
    groups = None if table.groups is None else _renumbered(table.groups[chosen])
    rows = Rows(table.frame.iloc[chosen].reset_index(drop=True), target, task, chosen, seconds, table.are_dates, groups)
    _refuse_one_class(rows, data)
    return rows


def _renumbered(groups: NDArray[np.intp]) -> NDArray[np.intp]:
    """The same groups, numbered from 0 without gaps."""
    return np.asarray(np.unique(groups, return_inverse=True)[1])


def _refuse_one_class(rows: Rows, data: Data) -> None:
    if rows.task == "classification" and len(set(rows.target.tolist())) < 2:
        raise InputError(
            "OneClass",
            f"data.target: every one of the {len(rows)} rows has {data.target!r} {rows.target[:1].tolist()}: "
            "there is nothing to tell apart",
        )
