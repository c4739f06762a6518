"""Predictions that a pod remembers by key, so that labels from a table find them: on the control port.

The operator says by which key (`JOURNAL_PATH`). The Job that joins labels fetches which predictions there are
(`KEYS_PATH`) and sends the labels of those that it has some for (`LABELS_PATH`). Before that it takes labels that came
with receipts to the pods that remember their predictions (`WAITING_PATH`, `RECEIPTS_PATH`), so that none counts by both
ways. A pod that ends gives what it remembers to another one (`RECORDS_PATH`). Bodies but the first's are MessagePack. A
key is only ever its digest.
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
WAITING_PATH = "/perennial/v1/journal/waiting"
RECEIPTS_PATH = "/perennial/v1/journal/receipts"

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


class Visit(msgspec.Struct):
    """Asks which labels wait in a pod. Of those that it told before, `counted` were by pods that remember their
    predictions, and `forgotten` have a prediction that no pod remembers: the pod itself counts them. Another visit
    comes after `again` seconds."""

    name: str
    again: float
    counted: list[int] = []
    forgotten: list[int] = []


class Received(msgspec.Struct, array_like=True):
    """A label that came with a receipt: of the prediction with this id."""

    id: int
    label: float | Class


class Waiting(msgspec.Struct):
    """The answer: labels of predictions that other pods may remember."""

    labels: list[Received]


class Receipts(msgspec.Struct):
    """Labels that wait in some pod, for those of their predictions that this one remembers; it answers with Outcomes,
    GONE for the others. A label that it was sent before it knows by the id."""

    name: str
    labels: list[Received]


class Records(msgspec.Struct):
    """Predictions that a pod gives away when it ends: opaque to everyone but another pod of the deployment."""

    name: str
    key: str
    models: list[msgspec.Raw]
    records: bytes
