"""The gentle end of a connection that its client may still be sending on."""

from __future__ import annotations

import asyncio

LINGER_SECONDS = 2.0
"""How long a client may take to end its side."""


def linger(transport: asyncio.Transport) -> None:
    """Say that no more comes, and read on until the client ends too, for a while.

    To close a socket that bytes still come in at resets it, and the client's kernel then throws away what the client
    has not read yet: one that sends before it reads never sees its answer. What is read from now on is the caller's to
    forget.
    """
    transport.write_eof()
    transport.resume_reading()
    asyncio.get_running_loop().call_later(LINGER_SECONDS, transport.close)
