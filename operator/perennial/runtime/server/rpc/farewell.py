"""Telling a client of HTTP/2 to take another connection, from outside of the server: a frame among the server's own.

grpcio can do it by itself (`grpc.max_connection_age_ms`), but then it is the server that ends the connection, when its
ping was answered and it knows of no request: in ten minutes on a busy machine one request of some 200,000 was lost by
that, "Stream removed". Only the client knows when it has asked its last question there, so here it is the client that
ends.
"""

from __future__ import annotations

_HEAD = 9
_HEADER_TYPES = (1, 5, 9)
"""HEADERS, PUSH_PROMISE and CONTINUATION: until the one with the flag END_HEADERS no other frame may come between."""
_END_HEADERS = 4
GOAWAY = bytes.fromhex("000008 07 00 00000000 7fffffff 00000000")
"""No error, and no request is refused: whatever still arrives is answered (RFC 9113, section 6.8)."""


class Farewell:
    """Follows the frames that a server sends, to put one between them."""

    def __init__(self) -> None:
        self._due = False
        self._head = bytearray()
        self._body = 0
        # A server's first frame is its settings, and nothing may come before.
        self._within_headers = True

    def say(self) -> bytes:
        """The frame, where it may be sent now; else it comes with what the server sends next."""
        self._due = not self._is_between
        return b"" if self._due else GOAWAY

    def passed(self, data: bytes) -> bytes:
        """What is to be sent on of the server's bytes."""
        place = self._followed(data)
        if not self._due or place is None:
            return data
        self._due = False
        return data[:place] + GOAWAY + data[place:]

    @property
    def _is_between(self) -> bool:
        return not (self._head or self._body or self._within_headers)

    def _followed(self, data: bytes) -> int | None:
        """The last place in `data` that is between two frames."""
        at, found, end = 0, None, len(data)
        while at < end:
            if self._is_between:
                found = at
            at += self._taken(data[at : at + _HEAD - len(self._head)]) if not self._body else 0
            passed = min(self._body, end - at)
            self._body -= passed
            at += passed
        return end if self._is_between else found

    def _taken(self, part: bytes) -> int:
        """Takes bytes of a frame's head."""
        head = self._head
        head += part
        if len(head) == _HEAD:
            self._body = int.from_bytes(head[:3])
            self._within_headers = head[3] in _HEADER_TYPES and not head[4] & _END_HEADERS
            head.clear()
        return len(part)
