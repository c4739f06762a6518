"""What a version keeps of a fitted model beside its ONNX form: skops, or a booster's own text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from perennial.runtime import skops
from perennial.runtime.failures import InputError
from perennial.wire.estimators import BUILT_IN, TRANSFORMERS
from perennial.wire.run import Sklearn

from .boosters import booster_in, own_form


@dataclass(frozen=True, slots=True)
class Kept:
    """The skops file, or where there must be none the files of the booster by name."""

    skops: bytes | None = None
    booster: Mapping[str, bytes] = field(default_factory=dict)


def kept_form(sklearn: Sklearn, pipeline: Any) -> Kept:
    """Raises InputError where a server would not load the file, which only what the installation allows can make."""
    if (booster := booster_in(pipeline.named_steps["model"])) is not None:
        return Kept(booster=own_form(booster))
    data = skops.dump(pipeline)
    if not {sklearn.estimator, *(step.transformer for step in sklearn.steps)} <= {*BUILT_IN, *TRANSFORMERS}:
        try:
            skops.load(data)
        except skops.UntrustedModelError as error:
            raise InputError(
                "ModelNotTrusted",
                f"spec.sklearn: {error}. The platform team can add types that it knows to the "
                "chart's value `estimators`",
            ) from error
    return Kept(skops=data)
