"""The control ports of server pods, as `wire/stats.py` and `wire/counts.py` have them: scripted, and honest about
epochs, which are kept until they are acknowledged."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import TypeVar

import msgspec

from perennial.kube.podclient import PodUnreachable
from perennial.wire.counts import EPOCHS_PATH, REFERENCE_PATH, Epoch, Epochs, Labels, ModelCounts, Take
from perennial.wire.reference import Loss, Numeric, Reference
from perennial.wire.serve import Serve
from perennial.wire.stats import Comparison, Pairs, Stats

AnswerT = TypeVar("AnswerT")
_EDGES, _COUNTS = [0.0, 1.0, 2.0], [0, 2500, 2500, 0, 0]
CELLS = [0, 1, 1, 0, 0] * 2
"""Two rows, one in each bin of the feature and of the score."""


class Port:
    """One pod's. It counts what `answer` says that it answered."""

    def __init__(self, uid: str, serve: Serve, now: float) -> None:
        self.serve = serve
        self.draining = False
        self.serves_until = math.inf
        self.said_last = False
        self.silent = False
        self.has_reference = True
        self.kept: list[Epoch] = []
        self.open = ModelCounts()
        self.opened = now
        self._counted = 0
        self._number = 0
        companion = serve.companion
        compared = Comparison(companion=companion.sha256) if companion else None
        self.stats = Stats(uid, serve.model.sha256, 0.0, comparison=compared)

    def answer(
        self,
        pairs: int,
        *,
        errors: int = 0,
        disagreed: int = 0,
        labels: tuple[int, int] = (0, 0),
        companion_wrong: int = 0,
    ) -> None:
        """Answer twice as many rows, all alike, a request each; `labels` are so many right and wrong ones, all of rows
        that the companion scored too: of those that were wrong it was wrong about so many."""
        rows = 2 * pairs
        stats = self.stats
        if compared := stats.comparison:
            stats.comparison = msgspec.structs.replace(
                compared, compared=compared.compared + rows, disagreed=compared.disagreed + disagreed
            )
        stats.requests += rows
        stats.errors += errors
        stats.rows += rows
        known, moment = self.open.labels or Labels(), int(self.opened)
        paired = {name: dict(made) for name, made in known.pairs.items()}
        if self.serve.companion and sum(labels):
            companion, wrong = self.serve.companion.sha256, labels[1]
            more = Pairs(sum(labels), wrong, companion_wrong, wrong - companion_wrong)
            made = paired.setdefault(companion, {})
            made[moment] = made.get(moment, Pairs()) + more
        self.open = ModelCounts(
            self.open.rows + rows,
            _sum(self.open.cells, [pairs * cell for cell in CELLS]),
            Labels(loss={moment: _sum(known.loss.get(moment, []), list(labels))}, pairs=paired),
        )

    def fork(self) -> Port:
        other = copy.copy(self)
        other.kept, other.stats = list(self.kept), copy.copy(self.stats)
        other.stats.comparison = copy.copy(self.stats.comparison)
        return other

    def take(self, take: Take, now: float) -> Epochs:
        uid = self.stats.incarnation
        if take.close:
            if take.incarnation == uid:
                self.kept = [epoch for epoch in self.kept if epoch.number > take.acknowledge]
            if self.open.rows or (self.open.labels and self.open.labels.loss):
                self._number += 1
                self._counted += self.open.rows
                self.kept.append(Epoch(self._number, self.opened, now, {self.serve.model.sha256: self.open}))
                self.open, self.opened = ModelCounts(), now
        last = now >= self.serves_until
        self.said_last = self.said_last or (take.close and last)
        return Epochs(uid, self.serve.model.sha256, list(self.kept), last, self._counted)

    def reference(self) -> Reference:
        feature, score = (Numeric(name, _EDGES, _COUNTS) for name in ("x", "(score)"))
        loss = Loss([0.0, 1.0], [4500, 500], 0.1, 0.11, 0.99)
        return Reference(self.serve.model.sha256, "classification", 5000, [feature], score, loss)


class Ports(dict[str, Port]):
    """All of them, by address: what takes the place of the operator's HTTP. `now` is in Unix seconds."""

    now: Callable[[], float]

    def fork(self, now: Callable[[], float]) -> Ports:
        other = Ports({ip: port.fork() for ip, port in self.items()})
        other.now = now
        return other

    async def get_json(self, ip: str, port: int, path: str, type: type[AnswerT]) -> AnswerT:
        pod = self._reached(ip, path)
        if path == REFERENCE_PATH and not pod.has_reference:
            raise PodUnreachable(f"http://{ip}:{port}{path}: answered 404: no reference", 404)
        pod.stats.clock = self.now()
        said = pod.reference() if path == REFERENCE_PATH else pod.stats
        return msgspec.json.decode(msgspec.json.encode(said), type=type)

    async def post_json(self, ip: str, port: int, path: str, body: object, type: type[AnswerT]) -> AnswerT:
        assert path == EPOCHS_PATH
        take = msgspec.json.decode(msgspec.json.encode(body), type=Take)
        return msgspec.json.decode(msgspec.json.encode(self._reached(ip, path).take(take, self.now())), type=type)

    def _reached(self, ip: str, path: str) -> Port:
        pod = self.get(ip)
        if pod is None or pod.silent:
            raise PodUnreachable(f"http://{ip}{path}: no answer")
        return pod


def _sum(first: list[int], second: list[int]) -> list[int]:
    length = max(len(first), len(second))
    padded = (values + [0] * (length - len(values)) for values in (first, second))
    return [a + b for a, b in zip(*padded, strict=True)]
