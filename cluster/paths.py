"""Where the cluster keeps things: what can be rebuilt in the cache, what dies with a cluster in the state directory.

Inside a cluster's namespaces its state directory is mounted at `INSIDE`, so that no path there depends on the user's.
"""

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
INSIDE = Path("/run/perennial")


def cache_home() -> Path:
    return _xdg("XDG_CACHE_HOME", ".cache") / "perennial"


def state_home() -> Path:
    return _xdg("XDG_STATE_HOME", ".local/state") / "perennial" / "clusters"


def _xdg(variable: str, default: str) -> Path:
    value = os.environ.get(variable, "")
    return Path(value) if value.startswith("/") else Path.home() / default
