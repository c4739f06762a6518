"""`python -m perennial.runtime.fetch`: a version's files into a folder, for a server of the user's own to load.

Every file is checked against the version's sealed manifest, so that what is there is what was published.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import msgspec

from perennial.runtime.store import StoreError, open_version
from perennial.wire.manifest import SealError
from perennial.wire.places import MODEL, SERVE_ENV
from perennial.wire.serve import Serve, ServedModel

logger = logging.getLogger(__name__)


def fetch(served: ServedModel, folder: Path) -> None:
    """Write the version's files. Raises StoreError, and SealError for a version that is not what it must be."""
    version = open_version(served.uri, sha256=served.sha256, seal=served.seal)
    for name, file in version.manifest.files.items():
        if Path(name).name != name:
            raise SealError(f"{name!r} is no name of a file: the manifest is not one of ours")
        # Renamed when it is whole: the folder outlives a container that is killed here.
        written = folder / f".{name}"
        written.write_bytes(version.read(name))
        written.chmod(0o444)
        written.replace(folder / name)
        logger.info("%s: %d bytes, sha256 %s", name, file.size, file.sha256)


def main() -> int:
    """The process's exit code: 0, or 1 with the reason as the last line of its log."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    try:
        serve = msgspec.json.decode(os.environ.get(SERVE_ENV, ""), type=Serve)
        fetch(serve.model, Path(MODEL))
    except msgspec.DecodeError as error:
        logger.error("%s does not say what to serve: %s", SERVE_ENV, error)
        return 1
    except (StoreError, SealError, OSError) as error:
        logger.error("the version cannot be fetched: %s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
