"""A join of labels as its Job receives it, and what it tells by its termination message.

The operator reads neither table nor predictions: it says where both are, and remembers which files were joined.
"""

from __future__ import annotations

import msgspec

from .result import Failure

JOIN_ENV = "PERENNIAL_JOIN"
FILE_DIGEST = 8
"""Bytes that a file is remembered by: of its name and of what tells its content from another."""
MAX_FILES = 8192
"""Files that one table may have. They travel in an environment variable, which Linux holds to 128 KiB."""
FILES_A_JOIN = 200
"""New files of one join: they travel back in a termination message, which Kubernetes holds to 4096 bytes."""


class Server(msgspec.Struct):
    """A pod that may remember predictions."""

    uid: str
    name: str
    ip: str


class Join(msgspec.Struct, omit_defaults=True):
    """Labels of table `uri` are in `column`, found by `key` (see `wire/journal.py`); `time` is the column that says
    when each became known. `joined` are the digests of the files that were joined before. Another join comes after
    `again` seconds."""

    number: int
    deployment: str
    uri: str
    key: str
    column: str
    servers: list[Server]
    time: str | None = None
    joined: bytes = b""
    again: float = 3600.0


class Joined(msgspec.Struct, omit_defaults=True):
    """What a join came to. Rows of the table are `counted` for the model that is served, or `late` for one before;
    `duplicates` had a label already, `unmatched` have a key that nobody remembers, `rejected` a label that is none of
    the model's. Rows without key or label are not among them.

    `files` are digests of those that were read. `more`: there are others left. `missed` says which pod could not be
    asked, so that these files are to be joined again. `since` is the Unix second of the oldest prediction that is
    remembered.
    """

    number: int
    files: bytes = b""
    counted: int = 0
    late: int = 0
    duplicates: int = 0
    unmatched: int = 0
    rejected: int = 0
    more: bool = False
    missed: str | None = None
    since: int | None = None
    notes: list[str] = []
    failure: Failure | None = None
