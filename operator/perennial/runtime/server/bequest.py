"""What a pod remembers goes to another pod of the deployment when it ends, and so do the labels that wait in it: by the
Service, whoever is there.

Each part is sent at most once unless it was refused: what two pods have would count a label twice, what none has loses
it.
"""

from __future__ import annotations

import logging
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from enum import Enum

import msgspec

from perennial.runtime.server.counts.journal import Journal
from perennial.runtime.server.counts.waiting import Waits
from perennial.wire.journal import RECORDS_PATH, Records

logger = logging.getLogger(__name__)

RECORDS = 2**17
"""Of one part: 6 MiB."""
LABELS = 500
"""Of one part."""
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
        if _send(address + RECORDS_PATH, body, end) is Sent.TAKEN:
            taken += following - after
        if time.monotonic() > end:
            break
        after = following
    logger.info("gave %d of %d remembered predictions to other pods", taken, journal.written - journal.first)
    return taken


def pass_on(items: Sequence[Waits], name: str, address: str, seconds: float) -> list[int]:
    """Send labels that wait here to another pod, as who sent them here might have. The ids of those that another pod
    has or may have."""
    end = time.monotonic() + seconds
    sent: list[int] = []
    for start in range(0, len(items), LABELS):
        part = items[start : start + LABELS]
        body = msgspec.json.encode({"labels": [{"receipt": item.receipt, "label": item.label} for item in part]})
        if _send(f"{address}/v2/models/{name}/feedback", body, end) is not Sent.REFUSED:
            sent += [item.id for item in part]
    return sent


class Sent(Enum):
    """What became of a part."""

    TAKEN = "taken"
    REFUSED = "refused"
    UNKNOWN = "unknown"


def _send(url: str, body: bytes, end: float) -> Sent:
    while (left := end - time.monotonic()) > 0:
        request = urllib.request.Request(url, body, {"Content-Type": "application/octet-stream"})
        try:
            with urllib.request.urlopen(request, timeout=left):
                return Sent.TAKEN
        except urllib.error.HTTPError as refused:
            logger.info("a pod does not take what is remembered here: HTTP %d", refused.code)
        except urllib.error.URLError as error:
            if not isinstance(error.reason, (ConnectionRefusedError, socket.gaierror)):
                logger.warning("what is remembered here may be lost: %s", error.reason)
                return Sent.UNKNOWN
        except OSError as error:
            logger.warning("what is remembered here may be lost: %s", error)
            return Sent.UNKNOWN
        time.sleep(PAUSE_SECONDS)
    return Sent.REFUSED
