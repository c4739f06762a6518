"""The champion: the version that a new one has to stand up to before it is accepted."""

from __future__ import annotations

from collections.abc import Sequence

from perennial.wire.run import Accepted

from .record import Record


def champion(records: Sequence[Record], quarantined: frozenset[str]) -> Accepted | None:
    """The newest accepted version whose model nobody has quarantined. `records` are oldest first.

    One that was quarantined is no measure: what is served is an older one, and a new version must beat that.
    """
    for record in reversed(records):
        model = record.result.model
        if record.state == "Succeeded" and model and model.sha256 not in quarantined:
            return Accepted(record.version, model.uri, model.sha256, model.seal)
    return None
