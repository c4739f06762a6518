"""Predictions that a pod remembers by key, so that labels from a table find them: on the control port.

The operator says by which key (`JOURNAL_PATH`). The Job that joins labels fetches which predictions there are
(`KEYS_PATH`) and sends the labels of those that it has some for (`LABELS_PATH`). A pod that ends gives what it
remembers to another one (`RECORDS_PATH`). Bodies but the first's are MessagePack. A key is only ever its digest.
"""

from __future__ import annotations

from enum import IntEnum

import msgspec
import numpy as np

from .schema import Class

JOURNAL_PATH = "/perennial/v1/journal"
KEYS_PATH = "/perennial/v1/journal/keys"
LABELS_PATH = "/perennial/v1/journal/labels"
RECORDS_PATH = "/perennial/v1/journal/records"

ID = "id"
"""The key that the protocol has itself: the request's `id`, of a request of one row."""


ROW = np.dtype([("key", "V8"), ("issued", "<u4")])
"""A prediction as `Keys.rows` has it: the key's digest, and the Unix second it was made in."""


class Keep(msgspec.Struct):
    """Remember predictions by the column, tensor or `id` of this name; None forgets them all."""

    key: str | None


class Kept(msgspec.Struct):
    """The answer: what is remembered by now."""

    key: str | None


class Page(msgspec.Struct):
    """Which keys are asked for: those of predictions number `after` and later."""

    after: int = 0


class Keys(msgspec.Struct):
    """Predictions number `first` to `end` of `written`, oldest first, as `rows` of `ROW`."""

    name: str
    key: str | None
    first: int = 0
    end: int = 0
    written: int = 0
    rows: bytes = b""


class Match(msgspec.Struct, array_like=True):
    """A label for prediction number `at`, which has this key. `mark` names the label's row in its table: a pod that is
    sent a row again, since its answer was lost, knows it by that."""

    at: int
    key: bytes
    mark: int
    label: float | Class


class Matches(msgspec.Struct):
    """Labels, in the order in which they count."""

    name: str
    matches: list[Match]


class Outcome(IntEnum):
    """What became of a label. The greater one says more, where a label is for several predictions."""

    GONE = 0
    """The prediction is not remembered any more."""
    REJECTED = 1
    """The model has no such class, or the label is no number."""
    DUPLICATE = 2
    """The prediction had a label before."""
    LATE = 3
    """Counted, for a model that the pod does not serve."""
    COUNTED = 4


class Outcomes(msgspec.Struct):
    """The answer, in the order of the matches. `rejected` says why of the first that was rejected."""

    outcomes: bytes
    rejected: str | None = None


class Records(msgspec.Struct):
    """Predictions that a pod gives away when it ends: opaque to everyone but another pod of the deployment."""

    name: str
    key: str
    models: list[msgspec.Raw]
    records: bytes
