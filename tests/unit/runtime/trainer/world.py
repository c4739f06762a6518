"""Runs of the trainer on small data in a folder: a lake and a store side by side, reached by file:// URIs."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd

from perennial.runtime.store import Version, open_version
from perennial.runtime.trainer.training import train
from perennial.wire.result import Result
from perennial.wire.run import Accepted, Bound, Champion, Data, Expectation, Run, Search, Sklearn, Slices, Step, Test

FEATURES = ["carrier", "distance", "hour", "wet"]
TREE = "sklearn.tree.DecisionTreeClassifier"


def flights(rows: int = 400, seed: int = 0) -> pd.DataFrame:
    """Flights in order of time: `late` (bool), `status` (text), `delay` (number), two features with missing values."""
    random = np.random.default_rng(seed)
    table = pd.DataFrame(
        {
            "scheduled": pd.date_range("2026-01-01", periods=rows, freq="1h"),
            "carrier": random.choice(np.array(["AA", "BB", "CC", None], object), rows),
            "distance": random.gamma(2.0, 300.0, rows),
            "hour": random.integers(0, 24, rows),
            "wet": random.random(rows) < 0.3,
        }
    )
    signal = table.distance / 600 + (table.carrier == "BB") + 1.5 * table.wet - 2 + random.normal(size=rows) / 4
    table.loc[random.random(rows) < 0.05, "distance"] = np.nan
    return table.assign(late=signal > 0, status=np.where(signal > 0, "late", "on time"), delay=10 * signal)


@dataclass
class World:
    """A folder with a lake and a store, and what runs said."""

    root: Path
    said: list[str] = field(default_factory=list)

    def write(self, table: pd.DataFrame, name: str = "flights.parquet") -> None:
        path = self.root / "lake" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".parquet"):
            table.to_parquet(path, index=False)
        else:
            table.to_csv(path, index=False)

    def write_text(self, text: str, name: str = "flights.csv") -> None:
        path = self.root / "lake" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def run(
        self,
        target: str = "late",
        estimator: str = TREE,
        *,
        version: int = 1,
        parameters: dict[str, Any] | None = None,
        bounds: list[Bound] | None = None,
        preprocessing: Any = "Auto",
        calibration: Any = None,
        steps: list[Step] | None = None,
        search: Search | None = None,
        before: Accepted | None = None,
        refit: bool = True,
        seed: int = 0,
        uri: str | None = None,
        features: list[str] | None = None,
        time: str | None = None,
        window_seconds: int | None = None,
        test: Test | None = None,
        champion: Champion | None = None,
        slices: list[Slices] | None = None,
        expect: dict[str, Expectation] | None = None,
    ) -> Run:
        return Run(
            namespace="air",
            name="flights",
            uid="7f0c",
            version=version,
            store=f"file://{self.root}/store",
            path=f"air/flights-abc123/v{version}",
            image="perennial/runtime@sha256:0",
            definition="v1:0",
            trigger="FirstRun",
            data=Data(
                uri=uri or f"file://{self.root}/lake/*",
                target=target,
                features=FEATURES if features is None else features,
                time=time,
                window_seconds=window_seconds,
                test=test or Test(),
                expect=expect or {},
            ),
            sklearn=Sklearn(estimator, parameters or {}, preprocessing, calibration, search, steps or []),
            seed=seed,
            refit=refit,
            before=before,
            metrics=bounds or [],
            champion=champion,
            slices=slices or [],
        )

    def train(self, run: Run | None = None, **options: Any) -> Result:
        return train(run or self.run(**options), self.said.append)

    def given(self, **options: Any) -> Result:
        """A version that a test begins with and asks nothing about: trained once for all that begin alike."""
        run = self.run(**options)
        files = [(path.name, path.read_bytes()) for path in sorted((self.root / "lake").iterdir())]
        of = (msgspec.json.encode(run).replace(str(self.root).encode(), b"ROOT"), *files)
        kept = self.root.parent / f"given-{hashlib.sha256(repr(of).encode()).hexdigest()}"
        if not kept.exists():
            place = Path(tempfile.mkdtemp(dir=self.root.parent))
            shutil.copytree(self.root / "lake", place / "lake")
            result = msgspec.json.encode(World(place).train(**options))
            (place / "result.json").write_bytes(result.replace(str(place).encode(), b"ROOT"))
            place.rename(kept)
        shutil.copytree(kept / "store", self.root / "store", dirs_exist_ok=True)
        result = (kept / "result.json").read_bytes().replace(b"ROOT", str(self.root).encode())
        return msgspec.json.decode(result, type=Result)

    def version(self, result: Result) -> Version:
        """The published version, with every file checked."""
        assert result.model is not None
        opened = open_version(result.model.uri, sha256=result.model.sha256, seal=result.model.seal)
        for name in opened.manifest.files:
            opened.read(name)
        return opened
