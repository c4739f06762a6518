"""What most people write: a model behind FastAPI. Run by uvicorn in the peers' environment, with MODEL in its own."""

import os
from typing import Any

import joblib
import numpy as np
from fastapi import FastAPI
from pydantic import BaseModel

model = joblib.load(os.environ["MODEL"])
app = FastAPI()


class Rows(BaseModel):
    rows: list[list[float]]


async def predict(asked: Rows) -> dict[str, list[Any]]:
    probabilities = model.predict_proba(np.asarray(asked.rows))
    labels = model.classes_[probabilities.argmax(axis=1)]
    return {"labels": labels.tolist(), "probabilities": probabilities.tolist()}


app.add_api_route("/predict", predict, methods=["POST"])
