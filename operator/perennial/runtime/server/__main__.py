"""`python -m perennial.runtime.server`: serve the model that PERENNIAL_SERVE names until told to end."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from pathlib import Path

import msgspec
import uvloop

from perennial.wire.places import CONTROL_PORT, COUNTS, GRPC_PORT, INFERENCE_PORT, SERVE_ENV
from perennial.wire.serve import Serve

TERMINATION_LOG = Path("/dev/termination-log")


def main() -> int:
    """The process's exit code: 0 after a drain, 64 for a configuration that cannot be, 1 for a model that cannot be
    had.
    """
    # More than one wait for one another, spinning, while requests wait for them. Asked for when numpy is imported.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from perennial.runtime.server.lifecycle import CannotServe, Ports, run

    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    options = _options()
    try:
        serve = msgspec.json.decode(os.environ.get(SERVE_ENV, ""), type=Serve)
    except msgspec.DecodeError as error:
        return _fail(64, f"{SERVE_ENV} does not say what to serve: {error}")
    try:
        ports = Ports(options.host, options.port, options.control_port, options.grpc_port)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run(serve, options.counts, ports))
    except CannotServe as error:
        return _fail(1, str(error))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m perennial.runtime.server", description=__doc__)
    parser.add_argument("--host", default="0.0.0.0", help="address of the ports")
    parser.add_argument("--port", type=int, default=INFERENCE_PORT, help="inference port")
    parser.add_argument("--control-port", type=int, default=CONTROL_PORT, help="control port")
    parser.add_argument("--grpc-port", type=int, default=GRPC_PORT, help="port for gRPC")
    parser.add_argument(
        "--counts", type=Path, default=Path(COUNTS), help="folder of the counts, kept while the pod lives"
    )
    return parser.parse_args()


def _fail(code: int, message: str) -> int:
    """Say it in the log and, in a pod, in the container's status."""
    logging.getLogger(__name__).error(message)
    if TERMINATION_LOG.exists():
        TERMINATION_LOG.write_text(message[:4096])
    return code


if __name__ == "__main__":
    sys.exit(main())
