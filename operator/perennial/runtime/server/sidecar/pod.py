"""A pod's life with a server of the user's own in it: wait for it, try it on the version's examples, stand in front.

Its container is one of Kubernetes' sidecars, so that it begins before this process and is told to end when this one has
answered everything and is gone.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from pathlib import Path

import msgspec

from perennial.runtime.server.admission import Admission
from perennial.runtime.server.counting import Counting
from perennial.runtime.server.http import Server
from perennial.runtime.server.inference import Predictor
from perennial.runtime.server.lifecycle import ATTEMPTS, MAX_BODY, CannotServe, Pod, Ports
from perennial.runtime.server.model import Model, WrongAnswer, check_examples, opened, version_of
from perennial.runtime.server.refusal import Refusal
from perennial.runtime.server.sidecar.app import SidecarApp
from perennial.runtime.server.sidecar.neighbour import SECONDS, Neighbour
from perennial.runtime.server.sidecar.relay import Relay
from perennial.wire.serve import Serve, ServedModel

logger = logging.getLogger(__name__)

TOLERANCE = 1e-3
"""How far its numbers may be from those of the published model: servers in single precision are right."""


_NO_ATTRIBUTIONS = "another server predicts, and is not asked for them"


class Sidecar(Pod):
    """The process in front of the user's server on `own_port`."""

    in_flight_seconds = SECONDS

    def __init__(self, serve: Serve, counts: Path, ports: Ports, own_port: int) -> None:
        self._neighbour = Neighbour(serve.name, own_port)
        super().__init__(serve, counts, ports)

    def _front(self, admission: Admission) -> Server:
        app = SidecarApp(self._state, self._meter, admission, self._neighbour, max_body=MAX_BODY)
        return Server(app, keeps_head=True)

    def _predictor(self, model: Model, counting: Counting) -> Predictor:
        return Relay(self._serve.name, model, counting, self._neighbour)

    async def live(self, ending: asyncio.Event) -> None:
        try:
            await super().live(ending)
        finally:
            await self._neighbour.close()

    async def _loaded(self) -> Model:
        await self._neighbour.wait_ready()
        model = await self._fetch(self._serve.model, partial(_described, self._neighbour), ATTEMPTS)
        if model.reference is None:
            logger.warning("rows are not counted for drift: the version has no reference (NoReference)")
        try:
            await self._neighbour.introduce(model.schema)
            await asyncio.to_thread(check_examples, self._neighbour, model.schema, TOLERANCE)
        except WrongAnswer as error:
            raise CannotServe(f"{self._serve.model.uri}: your server serves another model: {error}") from error
        except Refusal as refusal:
            raise CannotServe(f"the examples of the version have no answer: {refusal.message}") from refusal
        return model


def _described(neighbour: Neighbour, served: ServedModel) -> Model:
    """The version as far as it is needed here, with the neighbour as what predicts. Raises StoreError, SealError."""
    version, schema, reference = opened(served)
    file = msgspec.structs.replace(version.manifest.model, attributed=None, not_attributed=_NO_ATTRIBUTIONS)
    return Model(
        served=served,
        digest=version.manifest.model.sha256,
        version=version_of(served, version.manifest),
        manifest=msgspec.structs.replace(version.manifest, model=file),
        schema=schema,
        reference=reference,
        engine=neighbour,
        # It is never asked on the event loop, and decides by itself what it predicts together.
        inline_rows=0,
        batch_rows=1,
        seconds_a_row=0.0,
    )
