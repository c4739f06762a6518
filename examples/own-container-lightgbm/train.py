"""Trains LightGBM and leaves what Perennial publishes in $PERENNIAL_OUTPUT: model.onnx and predictions.parquet.

The ONNX model takes rows as they are served: numbers, with NaN where a value is missing, and texts. It is made of
LightGBM's trees as onnxmltools exports them, which compute in single precision, and of a few operators around them that
bring rows into their form.
"""

from __future__ import annotations

import argparse
import glob
import os
import sys

import lightgbm
import numpy as np
import onnx
import pandas as pd
import pyarrow.parquet as pq
from onnx import TensorProto, helper, numpy_helper
from onnxmltools import convert_lightgbm
from onnxmltools.convert.common.data_types import FloatTensorType

WRONG_INPUT = 64
"""Exit code for what another attempt would find as well: it is not tried again."""


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--target", required=True, help="the column to predict: two classes, 0 and 1")
    parser.add_argument("--trees", type=int, default=100)
    given = parser.parse_args()
    rows = read(os.environ["PERENNIAL_DATA"])
    if given.target not in rows:
        print(f"there is no column {given.target!r}; there is {', '.join(rows)}", file=sys.stderr)
        return WRONG_INPUT

    features = rows.drop(columns=given.target)
    numbers = list(features.select_dtypes(["number", "bool"]))
    categories = {name: sorted(features[name].dropna().unique()) for name in features.select_dtypes("object")}
    held_out = np.random.default_rng(0).random(len(rows)) < 0.25
    matrix, label = encoded(features, numbers, categories), rows[given.target].to_numpy().astype(int)

    # Without use_missing a missing value is a zero, here and in the exported model.
    model = lightgbm.LGBMClassifier(
        n_estimators=given.trees, num_leaves=15, use_missing=False, deterministic=True, n_jobs=1, verbosity=-1
    )
    model.fit(matrix[~held_out], label[~held_out])
    score = model.booster_.predict(matrix[held_out])

    output = os.environ["PERENNIAL_OUTPUT"]
    onnx.save(served(model, numbers, categories), os.path.join(output, "model.onnx"))
    # What was true, what the model says, and the columns that it says it of: numbers first, texts after them.
    judged = features.loc[held_out, [*numbers, *categories]].assign(
        label=label[held_out], prediction=(score > 0.5).astype(int), score=score
    )
    judged.to_parquet(os.path.join(output, "predictions.parquet"), index=False)
    print(f"{model.n_estimators} trees on {int((~held_out).sum())} rows; held out:")
    print(judged.head(20).to_json(orient="records", double_precision=15))
    return 0


def read(place: str) -> pd.DataFrame:
    """The rows of $PERENNIAL_DATA: a path of pvc:// and configmap://, with `*` where `data.uri` has it."""
    paths = sorted(glob.glob(place)) or [place]
    # By path: pandas would hand pyarrow a file of Python's, whose reading threads abort a process that ends early.
    return pd.concat([pd.read_csv(path) if ".csv" in path else pq.read_table(path).to_pandas() for path in paths])


def encoded(features: pd.DataFrame, numbers: list[str], categories: dict[str, list[str]]) -> np.ndarray:
    """Numbers, and a column for each category, in the precision of the exported trees."""
    columns = [features[numbers].to_numpy(np.float32)]
    columns += [
        (features[[name]].to_numpy() == np.array([known])).astype(np.float32) for name, known in categories.items()
    ]
    return np.hstack(columns)


def in_single_precision(booster: lightgbm.Booster) -> lightgbm.Booster:
    """The same trees with thresholds that the export can hold. It would round them, and a value close by, 0.632 between
    0.631 and 0.633 for instance, could fall on the other side. A value of single precision is at most a threshold where
    it is at most the nearest number of single precision that is not above it."""
    lines = [line for line in booster.model_to_string().splitlines() if not line.startswith("tree_sizes=")]
    for place, line in enumerate(lines):
        if line.startswith("threshold="):
            exact = np.array(line.partition("=")[2].split(), np.float64)
            near = exact.astype(np.float32)
            below = np.where(near > exact, np.nextafter(near, np.float32(-np.inf)), near)
            lines[place] = "threshold=" + " ".join(repr(float(value)) for value in below)
    return lightgbm.Booster(model_str="\n".join(lines))


def served(model: lightgbm.LGBMClassifier, numbers: list[str], categories: dict[str, list[str]]) -> onnx.ModelProto:
    """The trees between the inputs `numbers` and `texts`, and the outputs `label` and `probabilities`."""
    width = len(numbers) + sum(map(len, categories.values()))
    trees = convert_lightgbm(
        in_single_precision(model.booster_),
        initial_types=[("features", FloatTensorType([None, width]))],
        zipmap=False,
        target_opset=15,
    )
    graph = trees.graph
    inputs = [helper.make_tensor_value_info("numbers", TensorProto.DOUBLE, [None, len(numbers)])]
    nodes = [
        helper.make_node("IsNaN", ["numbers"], ["missing"]),
        helper.make_node("Where", ["missing", "zero", "numbers"], ["present"]),
        helper.make_node("Cast", ["present"], ["single"], to=TensorProto.FLOAT),
    ]
    constants = [numpy_helper.from_array(np.array(0.0), "zero")]
    parts = ["single"]
    for place, (name, known) in enumerate(categories.items()):
        constants.append(numpy_helper.from_array(np.array(place), f"place_{name}"))
        nodes += [
            helper.make_node("Gather", ["texts", f"place_{name}"], [f"text_{name}"], axis=1),
            # A category that was never seen is in none of the columns, as a missing one.
            helper.make_node(
                "OneHotEncoder", [f"text_{name}"], [f"one_{name}"], domain="ai.onnx.ml", cats_strings=known, zeros=1
            ),
        ]
        parts.append(f"one_{name}")
    if categories:
        inputs.append(helper.make_tensor_value_info("texts", TensorProto.STRING, [None, len(categories)]))
    nodes.append(helper.make_node("Concat", parts, ["features"], axis=1))

    for node in graph.node:
        node.output[:] = ["in_single" if name == "probabilities" else name for name in node.output]
    widen = helper.make_node("Cast", ["in_single"], ["probabilities"], to=TensorProto.DOUBLE)
    outputs = [
        helper.make_tensor_value_info("label", TensorProto.INT64, [None]),
        helper.make_tensor_value_info("probabilities", TensorProto.DOUBLE, [None, 2]),
    ]
    whole = helper.make_graph([*nodes, *graph.node, widen], "served", inputs, outputs, [*constants, *graph.initializer])
    made = helper.make_model(whole, opset_imports=trees.opset_import, ir_version=trees.ir_version)
    onnx.checker.check_model(made, full_check=True)
    return made


if __name__ == "__main__":
    sys.exit(main())
