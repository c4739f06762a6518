"""What both ports know of one another: the model once it is loaded, and whether the pod takes more requests."""

from __future__ import annotations

from dataclasses import dataclass

from perennial.runtime.server.counting import Counting
from perennial.runtime.server.inference import Predictor


@dataclass
class State:
    """`version` is the one configured until the model's own is known. `draining` is set once, when the pod ends."""

    name: str
    version: str
    predictor: Predictor | None = None
    counting: Counting | None = None
    draining: bool = False

    @property
    def ready(self) -> bool:
        return self.predictor is not None and not self.draining
