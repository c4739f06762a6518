"""One join: the table's new files, the predictions that pods remember, and the labels sent to where they belong.

Whenever this is interrupted it can be done again: each row of a file has a mark, by which a pod knows a label that it
has counted already.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

import numpy as np

from perennial.runtime.failures import InputError
from perennial.runtime.tables.reading import examine
from perennial.runtime.tables.sources import Fetched, Source, find
from perennial.wire.join import FILE_DIGEST, FILES_A_JOIN, MAX_FILES, Join, Joined
from perennial.wire.journal import Match, Outcome
from perennial.wire.places import CONTROL_PORT

from .labels import Labels, labels_in
from .predictions import Index, Predictions
from .receipts import settle
from .servers import Pod, Unreachable

FIELD = "spec.labels.uri"
LABELS_A_REQUEST = 500
"""Labels of one request: some milliseconds, in which the pod answers nobody else."""

Say = Callable[[str], None]


def join(asked: Join, secret: Path, say: Say, port: int = CONTROL_PORT) -> Joined:
    """Join what is new. Raises InputError and TransientError for the table; a pod that cannot be asked is told in the
    result.
    """
    pods = [Pod(server, asked.deployment, port) for server in asked.servers]
    settle(pods, asked.again, say)
    try:
        sources = find(asked.uri, secret, FIELD)
    except InputError as error:
        if error.reason != "DataNotFound":
            raise
        return Joined(asked.number, notes=[error.message])
    if len(sources) > MAX_FILES:
        raise InputError(
            "TooManyFiles",
            f"{FIELD}: {len(sources)} files match and {MAX_FILES} can be remembered: narrow the pattern, or move away "
            "those that were joined long ago",
        )
    new = _Files(sources, asked)
    work: _Work | None = None
    with tempfile.TemporaryDirectory() as scratch:
        for name, digest, fetched in new.fetched(Path(scratch) / "labels"):
            # Asked when there is something to ask for, and after the table was listed: what it has labels for was
            # predicted before.
            work = work or _Work(asked, pods, say)
            if work.index.since is None:
                # Nothing of the table is done with: what it has labels for may be predicted yet.
                return Joined(asked.number, missed=work.missed, notes=["no pod remembers a prediction yet"])
            work.do(labels_in(examine(name, fetched), asked), name, digest)
    if work is None:
        return Joined(asked.number)
    return work.result(new.more)


class _Files:
    """The files that were not joined before, at most as many as a result has room for."""

    def __init__(self, sources: Sequence[Source], asked: Join) -> None:
        self._sources = sources
        self._asked = asked
        joined = asked.joined
        self._joined = {joined[at : at + FILE_DIGEST] for at in range(0, len(joined), FILE_DIGEST)}
        self.more = False

    def fetched(self, scratch: Path) -> Iterator[tuple[str, bytes, Fetched]]:
        """Name, digest and content of each."""
        count = 0
        for source in self._sources:
            digest = self._digest(source.name, source.stamp) if source.stamp is not None else None
            if digest in self._joined:
                continue
            if count == FILES_A_JOIN:
                self.more = True
                return
            fetched = source.fetch(scratch)
            digest = digest or self._digest(source.name, fetched.sha256)
            if digest in self._joined:
                continue
            count += 1
            yield source.name, digest, fetched

    def _digest(self, name: str, stamp: str) -> bytes:
        """Of a file as it is, and as it is read."""
        told = "\0".join([self._asked.key, self._asked.column, name, stamp])
        return blake2b(told.encode(), digest_size=FILE_DIGEST).digest()


@dataclass
class _Work:
    """Sends labels file by file and keeps account."""

    asked: Join
    pods: list[Pod]
    say: Say
    counts: Counter[Outcome] = field(default_factory=Counter)
    files: bytes = b""
    missed: str | None = None
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.index = self._remembered()

    def do(self, labels: Labels, name: str, digest: bytes) -> None:
        best = np.zeros(len(labels), np.uint8)
        matching = self.index.matching(labels)
        for number, pod in enumerate(self.pods):
            of, at = matching.of(number)
            for start in range(0, len(of), LABELS_A_REQUEST):
                part = slice(start, start + LABELS_A_REQUEST)
                outcomes = self._send(pod, labels, of[part].tolist(), at[part].tolist(), name, digest)
                np.maximum.at(best, of[part], outcomes)
        counts = Counter(Outcome(outcome) for outcome in best.tolist())
        self.counts += counts
        self.files += digest
        self.say(f"{name}: {len(labels)} labels, {_told(counts)}")

    def result(self, more: bool) -> Joined:
        counts = self.counts
        return Joined(
            number=self.asked.number,
            files=self.files,
            counted=counts[Outcome.COUNTED],
            late=counts[Outcome.LATE],
            duplicates=counts[Outcome.DUPLICATE],
            unmatched=counts[Outcome.GONE],
            rejected=counts[Outcome.REJECTED],
            more=more,
            missed=self.missed,
            since=self.index.since,
            notes=self.notes,
        )

    def _remembered(self) -> Index:
        predictions = Predictions()
        for number, pod in enumerate(self.pods):
            try:
                self._ask(predictions, number, pod)
            except Unreachable as error:
                self._miss(str(error))
        return predictions.sealed()

    def _ask(self, predictions: Predictions, number: int, pod: Pod) -> None:
        after, written = 0, 1
        while after < written:
            keys = pod.keys(after)
            if keys is None or keys.key != self.asked.key:
                self.say(f"pod {pod.name} remembers no predictions by {self.asked.key!r}")
                return
            predictions.add(number, keys.first, keys.rows)
            after, written = keys.end, keys.written

    def _send(
        self, pod: Pod, labels: Labels, of: list[int], at: list[int], name: str, digest: bytes
    ) -> np.typing.NDArray[np.uint8]:
        matches = [
            Match(number, labels.keys[label].tobytes(), _mark(digest, int(labels.rows[label])), labels.values[label])
            for label, number in zip(of, at, strict=True)
        ]
        try:
            answer = pod.label(matches)
        except Unreachable as error:
            self._miss(str(error))
            answer = None
        if answer is None:
            return np.zeros(len(matches), np.uint8)
        outcomes = np.frombuffer(answer.outcomes, np.uint8)
        if answer.rejected and not self.notes:
            row = int(labels.rows[of[int(np.argmax(outcomes == Outcome.REJECTED))]])
            self.notes.append(f"{name}, row {row + 1}: {answer.rejected}")
        return outcomes

    def _miss(self, why: str) -> None:
        self.missed = self.missed or why
        self.say(why)


def _mark(file: bytes, row: int) -> int:
    """Names a row of a table; never 0, which stands for none."""
    return int.from_bytes(blake2b(file + row.to_bytes(8, "little"), digest_size=8).digest(), "little") or 1


def _told(counts: Counter[Outcome]) -> str:
    words = {
        Outcome.COUNTED: "counted",
        Outcome.LATE: "counted for a version before",
        Outcome.DUPLICATE: "duplicates",
        Outcome.GONE: "of keys that nobody remembers",
        Outcome.REJECTED: "rejected",
    }
    return ", ".join(f"{counts[outcome]} {said}" for outcome, said in words.items() if counts[outcome]) or "none"
