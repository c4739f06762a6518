"""What the server pods remember, as one index: which prediction of which pod a key is of."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from perennial.wire.journal import ROW

from .labels import Labels

_ENTRY = np.dtype([("key", "<u8"), ("issued", "<u4"), ("server", "<u4"), ("at", "<i8")])


@dataclass(frozen=True, slots=True)
class Matching:
    """Which label (`label`, its place) is for which prediction: number `at` of pod number `server`, in the order of the
    labels."""

    label: NDArray[np.intp]
    server: NDArray[np.uint32]
    at: NDArray[np.int64]

    def of(self, server: int) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
        mine = self.server == server
        return self.label[mine], self.at[mine]


@dataclass
class Predictions:
    """Grows page by page; `sealed` before it is asked."""

    _pages: list[NDArray[np.void]] = field(default_factory=list)

    def add(self, server: int, first: int, rows: bytes) -> None:
        """Predictions number `first` and following of a pod."""
        records = np.frombuffer(rows, ROW)
        page = np.empty(len(records), _ENTRY)
        page["key"], page["issued"], page["server"] = records["key"].view("<u8"), records["issued"], server
        page["at"] = np.arange(first, first + len(records))
        self._pages.append(page)

    def sealed(self) -> Index:
        entries = np.concatenate([np.empty(0, _ENTRY), *self._pages])
        return Index(entries[np.argsort(entries["key"], kind="stable")])


@dataclass(frozen=True, slots=True)
class Index:
    """Predictions in the order of their keys."""

    entries: NDArray[np.void]

    @property
    def since(self) -> int | None:
        """When the oldest one was made; None where there is none."""
        return int(self.entries["issued"].min()) if len(self.entries) else None

    def matching(self, labels: Labels) -> Matching:
        """A label is for every prediction of its key that was made before it was known."""
        keys = self.entries["key"]
        first = np.searchsorted(keys, labels.keys, side="left")
        count = np.searchsorted(keys, labels.keys, side="right") - first
        label = np.repeat(np.arange(len(labels)), count)
        # The i-th prediction of each label's: where its key begins, and how far this match is behind its label's first.
        behind = np.arange(len(label)) - np.repeat(np.cumsum(count) - count, count)
        entries = self.entries[np.repeat(first, count) + behind]
        before = entries["issued"] <= labels.known[label]
        label, entries = label[before], entries[before]
        return Matching(label, entries["server"], entries["at"])
