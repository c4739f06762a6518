"""`python -m perennial.cli`, for where the entry point is not installed."""

from __future__ import annotations

from .main import run

if __name__ == "__main__":
    run()
