"""`python -m perennial.runtime.attributions`: explains a server's rows, in a process that yields to it in all things.

A thread of the server would hold the interpreter's lock while requests wait. This runs only while nothing else wants
the processor, is what the kernel ends first where memory is short, and ends by itself when its server does.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from pathlib import Path
from typing import BinaryIO

import msgspec

from perennial.runtime.attributions.explainer import Explainer, decode
from perennial.runtime.attributions.messages import LENGTH, MODEL_ENV, Asked, Explained, Loaded, framed
from perennial.runtime.store import StoreError, open_version
from perennial.wire.manifest import ATTRIBUTIONS_FILE, SealError
from perennial.wire.schema import SCHEMA_FILE, Schema
from perennial.wire.serve import ServedModel


def main() -> int:
    _stand_back()
    asked, told = sys.stdin.buffer, sys.stdout.buffer
    try:
        explainer = _load(msgspec.json.decode(os.environ[MODEL_ENV], type=ServedModel))
    except (StoreError, SealError) as error:
        _tell(told, Loaded([], str(error)))
        return 1
    _tell(told, Loaded(explainer.base.tolist()))
    decode_asked = msgspec.msgpack.Decoder(Asked).decode
    while length := asked.read(LENGTH.size):
        rows = decode_asked(asked.read(*LENGTH.unpack(length)))
        started = time.process_time()
        values = explainer(*rows.matrices())
        _tell(told, Explained.of(values, time.process_time() - started))
    return 0


def _stand_back() -> None:
    os.nice(19)
    # What a sandbox forbids is not needed: the server bounds this process's share of the time as well.
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def _load(served: ServedModel) -> Explainer:
    version = open_version(served.uri, sha256=served.sha256, seal=served.seal)
    schema = msgspec.json.decode(version.read(SCHEMA_FILE), type=Schema)
    return Explainer(decode(version.read(ATTRIBUTIONS_FILE)), schema)


def _tell(told: BinaryIO, message: Loaded | Explained) -> None:
    told.write(framed(message))
    told.flush()


if __name__ == "__main__":
    sys.exit(main())
