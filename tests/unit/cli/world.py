"""Rows of flights with a change at a known row: `delay` moves, and what the score says comes true no more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

ROWS = 12_000
CHANGE = 8_000
SECONDS = 20
START = pd.Timestamp("2026-01-01T00:00:00Z")

MONITOR: dict[str, Any] = {
    "deployment": "flights",
    "window": {"minRows": 500, "period": "1h"},
    "actions": [{"state": "Harm", "action": "Retrain"}],
    "governor": {"cooldown": "2d"},
}


def at_row(row: int) -> float:
    """When a row was served, in Unix seconds."""
    return float(START.timestamp()) + row * SECONDS


def flights(*, shift: float = 0.8, flipped: bool = True, rows: int = ROWS, seed: int = 5) -> pd.DataFrame:
    """A row every 20 seconds; from row CHANGE on `delay` is `shift` higher and, where `flipped`, labels turn around."""
    random = np.random.default_rng(seed)
    changed = np.arange(rows) >= CHANGE
    delay = random.normal(size=rows) + shift * changed
    carrier = random.choice(np.array(["AA", "BB", "CC"], object), rows, p=[0.5, 0.3, 0.2])
    score = 1 / (1 + np.exp(-(3 * random.normal(size=rows) + (carrier == "BB") - 0.5)))
    likely = random.random(rows) < score
    return pd.DataFrame(
        {
            "served": START + pd.to_timedelta(np.arange(rows) * SECONDS, unit="s"),
            "delay": delay,
            "distance": random.gamma(2.0, 300.0, rows),
            "carrier": carrier,
            "wet": random.random(rows) < 0.3,
            "score": score,
            "late": (likely != (changed & flipped)).astype(int),
        }
    )


def write(folder: Path, table: pd.DataFrame | None = None, name: str = "rows.parquet") -> str:
    path = folder / name
    rows = flights() if table is None else table
    if name.endswith(".parquet"):
        rows.to_parquet(path, index=False)
    else:
        rows.to_csv(path, index=False)
    return str(path)


def monitor(folder: Path, **spec: Any) -> str:
    """A manifest with the usual policy and these changes."""
    manifest = {
        "apiVersion": "perennial.dev/v1alpha1",
        "kind": "DriftMonitor",
        "metadata": {"name": "flights"},
        "spec": {**MONITOR, **spec},
    }
    path = folder / "monitor.yaml"
    path.write_text(yaml.safe_dump(manifest))
    return str(path)
