"""Rules that other tools use, asked of the same windows: which of them would raise an alarm.

Evidently is installed from the package index into an environment of its own, and asked in a process of its own.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import chi2_contingency, ks_2samp

from tests.environments import commands

EVIDENTLY = "evidently==0.7.23"
PANDAS = "pandas==2.3.3"
"""Evidently cannot be imported beside pandas 3."""
BINS = 10

_ASK_EVIDENTLY = """
import glob, sys, warnings
warnings.filterwarnings("ignore")
import pandas as pd
from evidently import Report
from evidently.presets import DataDriftPreset
reference = pd.read_csv(sys.argv[1] + "/reference")
for path in sorted(glob.glob(sys.argv[1] + "/window-*")):
    told = Report([DataDriftPreset()]).run(pd.read_csv(path), reference).dict()
    drifted = [metric for metric in told["metrics"] if metric["metric_name"].startswith("DriftedColumnsCount")]
    print(int(drifted[0]["value"]["count"]), flush=True)
"""

_COST_OF_EVIDENTLY = """
import resource, sys, time, warnings
warnings.filterwarnings("ignore")
import numpy as np
import pandas as pd
from evidently import Report
from evidently.presets import DataDriftPreset
before, now = (pd.DataFrame(np.load(path)).add_prefix("x") for path in sys.argv[1:])
started = time.process_time()
told = Report([DataDriftPreset()]).run(now, before).dict()
spent = time.process_time() - started
drifted = [metric for metric in told["metrics"] if metric["metric_name"].startswith("DriftedColumnsCount")]
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
print(spent, peak, drifted[0]["value"]["count"])
"""


def evidently_cost(before: NDArray[np.float64], now: NDArray[np.float64]) -> tuple[float, int, float]:
    """What its preset of default tests takes for numbers [rows, columns] with one thread: processor seconds, the peak
    of its memory in MiB, and in how many columns it finds drift."""
    python = commands(EVIDENTLY, PANDAS) / "python"
    with tempfile.TemporaryDirectory() as folder:
        paths = [str(Path(folder) / name) for name in ("before.npy", "now.npy")]
        for path, numbers in zip(paths, (before, now), strict=True):
            np.save(path, numbers)
        alone = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        command = [str(python), "-c", _COST_OF_EVIDENTLY, *paths]
        told = subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder, env=alone)
    seconds, peak, drifted = told.stdout.split()
    return float(seconds), int(peak), float(drifted)


def evidently(reference: pd.DataFrame, windows: Sequence[pd.DataFrame]) -> list[bool]:
    """Whether its preset of default tests finds any column drifted, for each window."""
    python = commands(EVIDENTLY, PANDAS) / "python"
    with tempfile.TemporaryDirectory() as folder:
        reference.to_csv(Path(folder) / "reference", index=False)
        for number, rows in enumerate(windows):
            rows.to_csv(Path(folder) / f"window-{number:04}", index=False)
        command = [str(python), "-c", _ASK_EVIDENTLY, folder]
        told = subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder)
    return [int(line) > 0 for line in told.stdout.split()]


def ks_bonferroni(reference: pd.DataFrame, rows: pd.DataFrame, level: float = 0.05) -> bool:
    """Kolmogorov and Smirnov's test of numbers, chi-squared of categories, at the level divided by the columns."""
    return any(_p_value(reference[name], rows[name]) <= level / len(reference.columns) for name in reference.columns)


def psi(reference: pd.DataFrame, rows: pd.DataFrame) -> float:
    """The largest population stability index of a column: ten equal-mass bins, or its categories; missing values are
    one more."""
    return max(_psi(reference[name], rows[name]) for name in reference.columns)


def _p_value(before: pd.Series, now: pd.Series) -> float:
    if pd.api.types.is_numeric_dtype(before):
        present = now.dropna()
        return float(ks_2samp(before.dropna(), present, method="asymp").pvalue) if len(present) else 0.0
    counts = pd.concat([before.value_counts(), now.value_counts()], axis=1).fillna(0).to_numpy()
    return float(chi2_contingency(counts).pvalue)


def _psi(before: pd.Series, now: pd.Series) -> float:
    if pd.api.types.is_numeric_dtype(before):
        edges = np.unique(np.nanquantile(before, np.linspace(0, 1, BINS + 1)[1:-1]))
        before, now = (pd.Series(np.where(each.isna(), -1, np.searchsorted(edges, each))) for each in (before, now))
    shares = [each.value_counts(normalize=True) for each in (before, now)]
    p, q = pd.concat(shares, axis=1).fillna(0).clip(lower=1e-4).to_numpy().T
    return float(((q - p) * np.log(q / p)).sum())
