"""A receipt: an opaque copy of what was predicted for one row, that comes back with the row's label.

It carries all that counting the label takes, so that any replica can take it, also one that serves another model by
then. A checksum tells a copy that was cut or mistyped; who may send labels at all is the NetworkPolicy's business.
"""

from __future__ import annotations

import base64
import binascii
import itertools
import os
import zlib
from typing import Annotated

import msgspec
from msgspec import Meta

from perennial.wire.schema import Class, Score

Digest = Annotated[bytes, Meta(min_length=32, max_length=32)]
Cells = Annotated[int, Meta(ge=0, le=65_535)]
Seconds = Annotated[int, Meta(ge=0, le=2**32 - 1)]
Positive = Annotated[float, Meta(gt=0)]
Bins = Annotated[int, Meta(ge=1, le=65_535)]
Ends = Annotated[list[float], Meta(min_length=1, max_length=65_535)]


_COUNT_BITS = 23


class Companion(msgspec.Struct, array_like=True):
    """What the companion predicted for the same row."""

    model: Digest
    prediction: float | Class


class Receipt(msgspec.Struct, array_like=True):
    """`model` is the digest's 32 bytes. `loss_ends` None stands for 0/1 loss, an int for so many bins of equal
    width.

    `scale` and `loss_mean` are the reference's, for a regression's loss. `score_cells` 0: there is no reference.
    `positive` is the class whose share CBPE expects, None where the score is not its probability. `kept`: the
    prediction is remembered by key, under the same id.
    """

    id: Annotated[int, Meta(ge=0, le=2**63 - 1)]
    issued: Seconds
    model: Digest
    score: Score
    prediction: float | Class
    score_cell: Cells = 0
    score_cells: Cells = 0
    positive: Class | None = None
    loss_ends: Bins | Ends | None = None
    scale: Positive = 1.0
    loss_mean: float = 0.0
    companion: Companion | None = None
    kept: bool = False


class BadReceipt(ValueError):
    """A text that is no receipt, or not a whole one."""


class Ids:
    """Numbers of 63 bits that no other process gives: random above, counting below."""

    def __init__(self) -> None:
        self._renew()

    def _renew(self) -> None:
        self._first = int.from_bytes(os.urandom(5), "little") << _COUNT_BITS
        self._next = itertools.count()

    def __call__(self) -> int:
        below = next(self._next)
        if below >> _COUNT_BITS:
            self._renew()
            below = next(self._next)
        return self._first | below


def issuer(id_: int) -> int:
    """What stands for the process that gave the number. It has several such in the course of time."""
    return id_ >> _COUNT_BITS


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Receipt).decode
_CHECK = 4


def write(receipt: Receipt) -> str:
    """The receipt as URL-safe text."""
    packed = _encode(receipt)
    return base64.urlsafe_b64encode(packed + zlib.crc32(packed).to_bytes(_CHECK, "little")).decode().rstrip("=")


def read(text: str) -> Receipt:
    """The receipt in `text`. Raises BadReceipt."""
    try:
        packed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadReceipt("this is not a receipt of this server") from error
    body, check = packed[:-_CHECK], packed[-_CHECK:]
    if zlib.crc32(body).to_bytes(_CHECK, "little") != check:
        raise BadReceipt("this receipt is damaged: it must come back exactly as it was given")
    try:
        receipt = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadReceipt("this receipt is of a release that this server does not know") from error
    if receipt.score_cell >= max(receipt.score_cells, 1):
        raise BadReceipt("this receipt contradicts itself")
    return receipt
