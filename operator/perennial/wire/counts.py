"""Drift counts of one server pod, taken in numbered epochs: `POST /perennial/v1/epochs` on the control port.

The pod closes an epoch on each call and keeps it until a later call acknowledges it; the reader acknowledges only what
its checkpoint holds. An epoch is thus counted exactly once, however often either side dies.
"""

from __future__ import annotations

from itertools import zip_longest

import msgspec

from .stats import Pairs

EPOCHS_PATH = "/perennial/v1/epochs"
REFERENCE_PATH = "/perennial/v1/reference"


class Labels(msgspec.Struct, omit_defaults=True):
    """Labels that came back for one model's predictions: `loss` counts them by when the predictions were made, and by
    the cells of the reference's loss. When is the Unix second at which a `grain` of so many seconds begins."""

    loss: dict[int, list[int]] = {}
    grain: int = 1
    by_score: list[int] = []
    """Positive (or wrong, for many classes and regression) labels by score cell."""
    score: list[int] = []
    """All labels by score cell."""
    pairs: dict[str, dict[int, Pairs]] = {}
    """By the companion's digest and by when, of the rows that it had scored too."""


class ModelCounts(msgspec.Struct, omit_defaults=True):
    """Counts for one model digest. `cells` is the reference's flat layout, empty for a retired model that only gets
    labels. `unread` rows were answered and could not be counted."""

    rows: int = 0
    cells: list[int] = []
    labels: Labels | None = None
    unread: int = 0


class Epoch(msgspec.Struct, omit_defaults=True):
    """What happened in one pod between two calls. `opened` and `closed` are Unix seconds."""

    number: int
    opened: float
    closed: float
    models: dict[str, ModelCounts] = {}


class Take(msgspec.Struct, omit_defaults=True):
    """The call: forget all epochs up to `acknowledge` of this incarnation; close the open one and answer the rest."""

    incarnation: str | None = None
    acknowledge: int = 0
    close: bool = True
    """False only looks: nothing is closed or forgotten (a monitor that does not act)."""


class Epochs(msgspec.Struct):
    """The answer, oldest first. A new `incarnation` means a new pod file: its numbers start anew."""

    incarnation: str
    model: str
    epochs: list[Epoch] = []
    last: bool = False
    """Nothing is counted after these: the pod has answered its last request, waits (at most 5 s) for them to be
    acknowledged, and goes. One that is ending and still answers requests does not say so yet."""
    counted: int = 0
    """Rows that the pod had counted in all when the last of these closed: a reader sees by it what another one has
    taken."""
    key: str | None = None
    """What predictions are remembered by (see `wire/journal.py`)."""


def summed(first: list[int], second: list[int]) -> list[int]:
    """Two lists of counts, cell by cell, of which one may be longer."""
    return [sum(pair) for pair in zip_longest(first, second, fillvalue=0)]
