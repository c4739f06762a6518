"""From rows to the values of their joint columns: the one place where trainer and server agree on them.

A change of how features go together leaves each of them as it was. It shows in the products of those that are
correlated, along the principal components, and in how far rows lie from these. numpy only: the server imports this.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from perennial.wire.reference import Joint

Floats = NDArray[np.float64]

_DECIMALS = 6
"""Sums differ in their last bits with the number of rows and the processor; tied values must not change cells by it."""


class Recipe:
    """What a reference's joint columns are computed by."""

    def __init__(self, joint: Joint) -> None:
        self._low, self._high, self._mean, self._scale = (
            np.asarray(each, np.float64)[:, None] for each in (joint.low, joint.high, joint.mean, joint.scale)
        )
        self._components = np.asarray(joint.components, np.float64).reshape(-1, len(joint.features))
        self._first = [first for first, _ in joint.pairs]
        self._second = [second for _, second in joint.pairs]

    def standardised(self, numbers: Floats) -> Floats:
        """Numbers [features, rows], NaN where missing, as standardised values of the same shape."""
        values: Floats = np.clip(numbers, self._low, self._high)
        values -= self._mean
        values /= self._scale
        return values

    def __call__(self, numbers: Floats) -> Floats:
        """The values [joint columns, rows] of numbers [features, rows]."""
        values = self.standardised(numbers)
        products = values[self._first] * values[self._second]
        values[np.isnan(values)] = 0.0
        components = self._components @ values
        values -= self._components.T @ components
        error = np.sqrt(np.einsum("ij,ij->j", values, values))
        computed: Floats = np.concatenate([components, error[None, :], products]).round(_DECIMALS)
        return computed
