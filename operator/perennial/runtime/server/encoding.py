"""Compressed request bodies. What a body inflates to is bounded while it is inflated, so that no bomb goes off."""

from __future__ import annotations

import zlib

from perennial.runtime.server.http import too_large
from perennial.runtime.server.refusal import Refusal

_WINDOWS = {b"gzip": 31, b"x-gzip": 31, b"deflate": 15}
_BARE_DEFLATE = -15


def inflated(body: bytes, encoding: bytes, limit: int) -> bytes:
    """The body before it was encoded. Raises Refusal: 415 unknown encoding, 413 beyond `limit` bytes, 400 damaged."""
    if encoding in (b"", b"identity"):
        return body
    if encoding not in _WINDOWS:
        raise Refusal(
            415,
            f"content-encoding {encoding.decode('latin-1')!r} is not known here; there are gzip and deflate",
            b"accept-encoding: gzip, deflate\r\n",
        )
    if encoding == b"deflate" and not _has_zlib_header(body):
        # What the standard calls deflate has a header; what some clients send has none.
        return _inflated(body, _BARE_DEFLATE, limit)
    return _inflated(body, _WINDOWS[encoding], limit)


def _inflated(body: bytes, window: int, limit: int) -> bytes:
    inflator = zlib.decompressobj(window)
    try:
        data = inflator.decompress(body, limit + 1)
    except zlib.error as error:
        raise Refusal(400, f"the body is not what content-encoding says: {error}") from error
    if len(data) > limit:
        raise too_large(limit)
    if not inflator.eof:
        raise Refusal(400, "the compressed body ends before its end")
    if inflator.unused_data:
        # Also of a further gzip member: a body of a million tiny ones would take minutes.
        raise Refusal(400, f"{len(inflator.unused_data)} bytes follow the compressed body")
    return data


def _has_zlib_header(body: bytes) -> bool:
    return len(body) >= 2 and body[0] & 0x0F == 8 and (body[0] << 8 | body[1]) % 31 == 0
