"""What people are told things are called, alike in conditions, Events and reports."""

from __future__ import annotations


def model_title(version: int | None, sha256: str) -> str:
    """A model by the version of its TrainingJob; one that has none, by the beginning of its digest."""
    return f"version {version}" if version is not None else f"model {sha256[:12]}"
