"""What a server pod is told to serve: its model and, where there is one, the companion that it is compared with."""

from __future__ import annotations

import msgspec


class ServedModel(msgspec.Struct, omit_defaults=True):
    """A version by place and digest. `seal`, where known, is the sha256 that the version's manifest must have."""

    uri: str
    sha256: str
    version: int | None = None
    seal: str | None = None


class Serve(msgspec.Struct, omit_defaults=True):
    """The server's configuration. `name` is the model's name in the Open Inference Protocol. `own_port` is where a
    server of the user's own listens, in the same pod: it predicts, and ours stands in front of it."""

    name: str
    model: ServedModel
    companion: ServedModel | None = None
    own_port: int | None = None
