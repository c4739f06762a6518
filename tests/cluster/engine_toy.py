"""The operator's process with the toy kind of the oracles in place of the three rooms."""

from __future__ import annotations

import asyncio

import uvloop

from perennial import logs
from perennial.main import operate
from perennial.settings import Settings
from tests.oracles.toy import ShelfController

if __name__ == "__main__":
    settings = Settings.from_environment()
    logs.configure(settings.log_format, settings.log_level)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(operate(settings, lambda caches, settings, pods: {"shelf": ShelfController(caches)}))
