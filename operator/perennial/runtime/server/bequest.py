"""What a pod remembers goes to another pod of the deployment when it ends: by the Service, whoever is there.

Each part is sent at most once unless it was refused: a prediction that two pods have would count its label twice, one
that none has loses it.
"""

from __future__ import annotations

import logging
import socket
import time
import urllib.error
import urllib.request

import msgspec

from perennial.runtime.server.counts.journal import Journal
from perennial.wire.journal import RECORDS_PATH, Records

logger = logging.getLogger(__name__)

RECORDS = 2**17
"""Of one part: 6 MiB."""
PAUSE_SECONDS = 0.25


def give_away(journal: Journal, name: str, address: str, seconds: float) -> int:
    """Send everything to `address` (http://host:port) within so many seconds. How many records were taken."""
    journal.closed = True
    end = time.monotonic() + seconds
    after, taken = journal.first, 0
    while after < journal.written:
        models, records, following = journal.given(after, RECORDS)
        packed = [msgspec.Raw(msgspec.msgpack.encode(model)) for model in models]
        body = msgspec.msgpack.encode(Records(name, journal.key, packed, records))
        if _sent(address, body, end):
            taken += following - after
        if time.monotonic() > end:
            break
        after = following
    logger.info("gave %d of %d remembered predictions to other pods", taken, journal.written - journal.first)
    return taken


def _sent(address: str, body: bytes, end: float) -> bool:
    """Whether somebody has it for sure."""
    while (left := end - time.monotonic()) > 0:
        request = urllib.request.Request(f"{address}{RECORDS_PATH}", body, {"Content-Type": "application/octet-stream"})
        try:
            with urllib.request.urlopen(request, timeout=left):
                return True
        except urllib.error.HTTPError as refused:
            logger.info("a pod does not take predictions: HTTP %d", refused.code)
        except urllib.error.URLError as error:
            if not isinstance(error.reason, (ConnectionRefusedError, socket.gaierror)):
                logger.warning("remembered predictions may be lost: %s", error.reason)
                return False
        except OSError as error:
            logger.warning("remembered predictions may be lost: %s", error)
            return False
        time.sleep(PAUSE_SECONDS)
    return False
