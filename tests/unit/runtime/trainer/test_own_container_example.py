"""The example of an own container, as a process in an environment of its own: what it leaves is published, and answers
as LightGBM does."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import msgspec
import numpy as np
import onnxruntime
import pandas as pd
import pytest

from perennial.runtime.trainer.publishing import publish
from perennial.wire import places
from perennial.wire.manifest import ONNX_FILE, REFERENCE_FILE
from perennial.wire.result import Result
from perennial.wire.run import Bound
from perennial.wire.schema import SCHEMA_FILE, Feature, Kind, Schema
from tests.environments import commands
from tests.unit.runtime.trainer.world import World, flights

pytestmark = pytest.mark.process

EXAMPLE = Path(__file__).parents[4] / "examples" / "own-container-lightgbm"
LIBRARIES = re.findall(r"[\w-]+==[\w.]+", (EXAMPLE / "Dockerfile").read_text())


def trained(world: World, *arguments: str) -> subprocess.CompletedProcess[str]:
    rows = flights(4000)[["carrier", "distance", "hour", "wet", "late"]]
    # Between two decimals that were learned from there is often one that was held out, right on the threshold.
    rows = rows.assign(distance=rows.distance.round(1), late=rows.late.astype(int))
    rows.to_parquet(world.root / "rows.parquet", index=False)
    (world.root / "output").mkdir()
    given = {places.DATA_ENV: f"{world.root}/*.parquet", places.OUTPUT_ENV: f"{world.root}/output"}
    command = [str(commands(*LIBRARIES) / "python"), str(EXAMPLE / "train.py"), *arguments]
    return subprocess.run(command, env=os.environ | given, capture_output=True, text=True, timeout=120, check=False)


def published(world: World, monkeypatch: pytest.MonkeyPatch) -> Result:
    monkeypatch.setenv(places.OUTPUT_ENV, f"{world.root}/output")
    return publish(
        msgspec.structs.replace(world.run(), sklearn=None, metrics=[Bound("roc_auc", min=0.8)]), world.said.append
    )


def test_it_is_published_and_answers_as_lightgbm_does(empty_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    done = trained(empty_world, "--target", "late", "--trees", "300")
    assert done.returncode == 0, done.stderr
    result = published(empty_world, monkeypatch)
    assert result.outcome == "Accepted"
    version = empty_world.version(result)
    assert version.manifest.model.engine == "onnx"
    assert REFERENCE_FILE in version
    schema = msgspec.json.decode(version.read(SCHEMA_FILE), type=Schema)
    assert (schema.classes, schema.score) == ([0, 1], "positive")
    kinds: dict[str, Kind] = {"distance": "numeric", "hour": "numeric", "wet": "boolean", "carrier": "categorical"}
    assert schema.features == [Feature(name, kind) for name, kind in kinds.items()]

    rows = pd.read_parquet(empty_world.root / "output" / "predictions.parquet")
    assert rows.distance.isna().any()
    assert rows.carrier.isna().any()
    numbers, texts = rows[schema.numbers].to_numpy(np.float64), rows[schema.texts].fillna("").to_numpy(object)
    session = onnxruntime.InferenceSession(version.read(ONNX_FILE))
    labels, probabilities = session.run(None, {"numbers": numbers, "texts": texts})
    assert (labels == rows.prediction).all()
    # LightGBM sums its trees in double precision, the exported ones are summed in single.
    assert np.abs(probabilities[:, 1] - rows.score).max() < 1e-6
    unseen, missing = (session.run(None, {"numbers": numbers, "texts": np.full_like(texts, t)})[1] for t in ("ZZ", ""))
    assert (unseen == missing).all()


def test_what_another_attempt_would_find_as_well_is_not_tried_again(empty_world: World) -> None:
    done = trained(empty_world, "--target", "delayed")
    assert done.returncode == 64
    assert "there is no column 'delayed'; there is carrier, distance" in done.stderr
