"""A runtime for MLServer: the ONNX model of a version, asked by its features, with an output that is nobody else's.

A version's folder has `model.onnx`, whose inputs are `numbers` (double [rows, n]) and `texts` (string [rows, m]), and
`schema.json`, which says which features these are, in their order.
"""

import json
from pathlib import Path

import numpy as np
import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.errors import InferenceError
from mlserver.types import InferenceRequest, InferenceResponse, RequestInput, ResponseOutput


class OnnxVersion(MLModel):
    async def load(self) -> bool:
        folder = Path(self.settings.parameters.uri)
        features = json.loads((folder / "schema.json").read_text())["features"]
        self._numbers = [feature["name"] for feature in features if feature["kind"] != "categorical"]
        self._texts = [feature["name"] for feature in features if feature["kind"] == "categorical"]
        self._session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        columns = {column.name: column for column in payload.inputs}
        missing = [name for name in (*self._numbers, *self._texts) if name not in columns]
        if missing:
            raise InferenceError(f"there is no tensor for {', '.join(missing)}")
        feeds = {}
        if self._numbers:
            feeds["numbers"] = np.column_stack([_numbers(columns[name]) for name in self._numbers])
        if self._texts:
            feeds["texts"] = np.column_stack([_texts(columns[name]) for name in self._texts])
        names = [output.name for output in self._session.get_outputs()]
        answers = dict(zip(names, self._session.run(names, feeds), strict=True))
        if "probabilities" in answers:
            answers["certain"] = answers["probabilities"].max(axis=1) > 0.9
        wanted = [output.name for output in payload.outputs or ()] or list(answers)
        return InferenceResponse(
            id=payload.id,
            model_name=self.name,
            model_version=self.version,
            outputs=[_output(name, answers[name]) for name in wanted if name in answers],
        )


def _numbers(column: RequestInput) -> np.ndarray:
    """null is a missing number."""
    if isinstance(column.data.root, list):
        return np.array(column.data.root, np.float64).ravel()
    return NumpyCodec.decode_input(column).astype(np.float64).ravel()


def _texts(column: RequestInput) -> np.ndarray:
    """The empty text is a missing one."""
    return np.array([text or "" for text in StringCodec.decode_input(column)], object)


def _output(name: str, values: np.ndarray) -> ResponseOutput:
    if values.dtype.kind in "OU":
        return StringCodec.encode_output(name, values.tolist())
    return NumpyCodec.encode_output(name, values)
