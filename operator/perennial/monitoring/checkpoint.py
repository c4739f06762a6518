"""Everything that a monitor remembers, in one ConfigMap: which epochs were taken, the windows, the baseline, the
verdicts and the requests.

Window, epoch numbers and verdict change together in one write, and pods forget an epoch only after it: so each count
is taken exactly once, whenever the operator dies. The status is a view of this.
"""

from __future__ import annotations

import base64
import binascii
import zlib

import msgspec

from perennial.api.titles import model_title
from perennial.kube.plan import Manifest
from perennial.wire.reference import Loss, Reference
from perennial.wire.stats import Pairs

from .anchor import Anchor
from .baseline import Baseline
from .course import Course
from .harm import Harm
from .history import History, Hours
from .requests import Governor
from .triage import Triage

FORMAT = 1
KEY = "checkpoint"
MOST_BYTES = 1024 * 1024
"""Of a ConfigMap's data: the API server takes no larger one."""
LEVEL = 1
"""Of compression: the highest saves 8% more and takes eight times as long, at every look."""


class Mark(msgspec.Struct, frozen=True):
    """How far a pod's epochs were taken. `seen` is when the last one closed, `rows` how many rows the pod had counted
    by then, `rate` the rows a second of the last one with any; `model` is what it serves. None is unknown.

    `last` says that the pod counted nothing more when it last answered, `gone` when it was first missed.
    """

    incarnation: str
    number: int = 0
    seen: float = 0.0
    rows: int | None = None
    rate: float = 0.0
    last: bool = False
    gone: float | None = None
    model: str | None = None


class Tally(msgspec.Struct, frozen=True):
    """What was counted for a model, also after it was replaced: labels come late. `waiting` are losses since the last
    step of the bet at `stepped`, `losses` all of them by when the predictions were made. `pairs` are
    what labels say of it and of others, by their digests, since harm was last found, at so many labels as
    `labels_then`. Of labels with a known score, `scored`, so many are `positives`, which is a class where the score is
    its probability."""

    rows: int = 0
    labels: int = 0
    lost: float = 0.0
    loss: Loss | None = None
    waiting: list[int] = []
    stepped: float = 0.0
    harm: Harm | None = None
    losses: Course = Course()
    pairs: dict[str, Pairs] = {}
    labels_then: int = 0
    scored: int = 0
    positives: int = 0

    @property
    def labelled(self) -> float | None:
        """The share of the rows that has a label, at most 1: late ones may be of rows from before any was counted.
        None before the first row."""
        return min(self.labels / self.rows, 1.0) if self.rows else None

    @property
    def from_here(self) -> Tally:
        """With the comparison of models begun anew."""
        return msgspec.structs.replace(self, pairs={}, labels_then=self.labels)


class Open(msgspec.Struct, frozen=True):
    """The window that is filling. `hours` are its rows by hour of the week, `by_hour` its counts, packed, as long as
    the baseline is learned."""

    opened: float
    closed: float
    rows: int
    cells: list[int]
    hours: Hours = {}
    by_hour: dict[int, bytes] = {}


class Judged(msgspec.Struct, frozen=True):
    """The model whose rows are judged."""

    sha256: str
    version: int | None = None

    @property
    def title(self) -> str:
        return model_title(self.version, self.sha256)


class Joins(msgspec.Struct, frozen=True):
    """The joins of labels from a table. `number` is of the last one that is accounted for: its Job is done with,
    whatever becomes of it; `table` is the digest of the part of the spec that it was made by, and the next one is due
    at `due` unless that is another by now. `files` are the digests of those that were joined, 8 bytes each.

    `missed` is how often in a row a pod could not be asked, `failed` how often in a row a join failed, `failure` of
    what.
    """

    number: int = 0
    table: str = ""
    due: float = 0.0
    files: bytes = b""
    counted: int = 0
    late: int = 0
    unmatched: int = 0
    duplicates: int = 0
    rejected: int = 0
    since: int | None = None
    ended: float | None = None
    missed: int = 0
    failed: int = 0
    failure: str | None = None
    note: str | None = None


class Checkpoint(msgspec.Struct, frozen=True):
    """The whole memory. `opened` and `closed` are the newest judged window's (Unix seconds); `sight` is what could be
    seen in the windows that are kept, and what the baseline lets be seen at all (`sight.py`); `calm` counts windows in
    a row with nothing to act upon; `suspicion` is the bet on what scores let expect, and `scores` their course;
    `released` is the last token of `perennial.dev/release`, `settled` the model that it was about; what was served
    before `begun`, when the monitor was made or went on after a suspension, counts for nothing: `suspension` is the
    generation of the spec that said so. `anchor` goes on under other models. `cut_short` counts versions in a row, the
    first of which was judged from `cut_short_since` on, that gave way before their baseline was whole, and `succeeds`
    says that one not long before them had a whole one."""

    format: int = FORMAT
    model: Judged | None = None
    reference: Reference | None = None
    baseline: Baseline | None = None
    anchor: Anchor | None = None
    pods: dict[str, Mark] = {}
    tallies: dict[str, Tally] = {}
    open: Open | None = None
    history: History = ()
    windows: int = 0
    opened: float = 0.0
    closed: float = 0.0
    triage: Triage = Triage()
    calm: int = 0
    sight: tuple[float, float] = (1.0, 1.0)
    suspicion: Harm | None = None
    scores: Course = Course()
    governor: Governor = Governor()
    released: str | None = None
    settled: str | None = None
    begun: float = 0.0
    suspension: int | None = None
    succeeds: bool = False
    cut_short: int = 0
    cut_short_since: float = 0.0
    joins: Joins = Joins()

    @property
    def tally(self) -> Tally:
        """Of the judged model."""
        return self.tallies.get(self.model.sha256, Tally()) if self.model else Tally()

    @property
    def newest(self) -> float:
        """When a pod last handed over something, by its own clock (Unix seconds); 0 before the first. Of pods that are
        long gone the last window tells."""
        return max((mark.seen for mark in self.pods.values()), default=self.closed)


class UnreadableCheckpointError(ValueError):
    """The ConfigMap holds something else than a checkpoint of this release."""


def encode(checkpoint: Checkpoint) -> dict[str, str]:
    """The ConfigMap's `binaryData`."""
    packed = zlib.compress(msgspec.json.encode(checkpoint), LEVEL)
    return {KEY: base64.b64encode(packed).decode()}


def size_of(configmap: Manifest) -> int:
    """Bytes of what a ConfigMap holds."""
    return len(configmap["binaryData"][KEY]) * 3 // 4


def decode(configmap: Manifest) -> Checkpoint:
    """The checkpoint in a ConfigMap. Raises UnreadableCheckpointError."""
    try:
        packed = base64.b64decode(configmap["binaryData"][KEY])
        checkpoint = msgspec.json.decode(zlib.decompress(packed), type=Checkpoint)
    except (KeyError, binascii.Error, zlib.error, msgspec.MsgspecError) as error:
        raise UnreadableCheckpointError(
            f"ConfigMap {configmap['metadata']['name']} holds no checkpoint: {error}"
        ) from None
    if checkpoint.format != FORMAT:
        raise UnreadableCheckpointError(f"the checkpoint has format {checkpoint.format}, this release knows {FORMAT}")
    return checkpoint
