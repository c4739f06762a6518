"""Labels with receipts of predictions that another pod may remember by key: they wait here until a Job that joins
labels from a table has asked all pods.

Only who remembers a prediction knows whether the table had a label for it. So that no label counts twice, one that
came to another pod is counted there; only where no pod remembers the prediction it is counted here. What waits is in
one small file, written before the label is answered for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from perennial.wire.schema import Class

LIMIT = 2**15
"""Labels: some 10 MiB. What comes beyond is to be sent again after the next join."""

FIRST_VISIT_SECONDS = 24 * 3600.0
"""How long a pod waits for the first Job."""
VISITS = 3
"""After so many times the pause between two Jobs nobody comes any more: the table is not joined now."""
SHORTEST_SECONDS = 3600.0


class Waits(msgspec.Struct, array_like=True):
    """A label as it came."""

    id: int
    receipt: str
    label: float | Class


class _Head(msgspec.Struct, array_like=True):
    """Until when a Job is waited for, in Unix seconds."""

    until: float


class Waiting:
    """What waits in one pod, in the order in which it came."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = folder / "waiting"
        self._clock = clock
        self._items: dict[int, bytes] = {}
        self._until = clock() + FIRST_VISIT_SECONDS
        self._read()

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, id_: int) -> bool:
        return id_ in self._items

    @property
    def all(self) -> list[Waits]:
        return [_decode_item(packed) for packed in self._items.values()]

    @property
    def is_full(self) -> bool:
        return len(self._items) >= LIMIT

    @property
    def ends(self) -> bool:
        """Whether nobody is waited for any more."""
        return self._clock() > self._until

    def visited(self, again: float) -> None:
        """A Job was here, and another one comes after so many seconds."""
        self._until = self._clock() + max(VISITS * again, SHORTEST_SECONDS)
        self._write()

    def add(self, item: Waits) -> None:
        """Have one wait. It survives the process from here on."""
        packed = _encode(item)
        if not self._path.exists():
            self._write()
        with self._path.open("ab", buffering=0) as file:
            file.write(_framed(packed))
        self._items[item.id] = packed

    def forget(self, ids: Iterable[int]) -> None:
        """These were counted."""
        known = [id_ for id_ in ids if id_ in self._items]
        for id_ in known:
            del self._items[id_]
        if known:
            self._write()

    def _write(self) -> None:
        fresh = self._path.with_suffix(".new")
        fresh.write_bytes(b"".join(map(_framed, [_encode(_Head(self._until)), *self._items.values()])))
        fresh.replace(self._path)

    def _read(self) -> None:
        try:
            head, *items = _unframed(self._path.read_bytes())
        except FileNotFoundError:
            return
        self._until = msgspec.msgpack.decode(head, type=_Head).until
        self._items = {_decode_item(packed).id: packed for packed in items}
        # The last one may have been cut by the process's end: what comes next must not follow half of it.
        self._write()


_encode = msgspec.msgpack.encode
_decode_item = msgspec.msgpack.Decoder(Waits).decode
_LENGTH = 4


def _framed(packed: bytes) -> bytes:
    return len(packed).to_bytes(_LENGTH, "little") + packed


def _unframed(data: bytes) -> Iterable[bytes]:
    at = 0
    while at + _LENGTH <= len(data):
        end = at + _LENGTH + int.from_bytes(data[at : at + _LENGTH], "little")
        if end > len(data):
            return
        yield data[at + _LENGTH : end]
        at = end
