"""References and counts to test with: drawn by seed, or set by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from perennial.monitoring.dispersion import Dispersion
from perennial.wire.counts import Epoch, Epochs, Labels, ModelCounts
from perennial.wire.layout import Layout
from perennial.wire.reference import Categorical, Column, Loss, Numeric, Reference
from perennial.wire.stats import Pairs

MODEL = "a" * 64
OTHER_MODEL = "b" * 64

Floats = NDArray[np.float64]


class Alike(Dispersion):
    """The same overdispersion at every cut and length."""

    def __init__(self, layout: Layout, phi: float) -> None:
        super().__init__(layout)
        self._shape, self._phi = len(layout.cuts), phi

    def at(self, rows: Floats) -> Floats:
        return np.full((len(rows), self._shape), self._phi)


def numeric(
    name: str, rng: np.random.Generator, rows: int = 5000, missing: float = 0.0, bins: int = 32, shift: float = 0.0
) -> Numeric:
    """A standard normal column moved by `shift`, binned as a training run does."""
    values = np.sort(rng.normal(size=rows)) + shift
    inner = np.quantile(values, np.linspace(0, 1, bins + 1)[1:-1])
    edges = np.concatenate([values[:1], inner, [np.nextafter(values[-1], np.inf)]])
    counts = np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 2)
    counts[-1] = round(rows * missing)
    return Numeric(name, edges.tolist(), counts.tolist())


def categorical(name: str, shares: Mapping[str, float], rows: int = 5000) -> Categorical:
    return Categorical(name, list(shares), [round(rows * share) for share in shares.values()] + [0, 0, 0])


def loss(mean: float = 0.1, rows: int = 5000) -> Loss:
    wrong = round(rows * mean)
    upper = float(beta.ppf(0.99, wrong + 1, rows - wrong))
    return Loss(values=[0.0, 1.0], counts=[rows - wrong, wrong], mean=mean, upper=upper, confidence=0.99)


def reference(
    columns: Sequence[Column], *, model: str = MODEL, rows: int = 5000, loss: Loss | None = None
) -> Reference:
    """The last column is the score."""
    return Reference(
        model=model, task="classification", rows=rows, features=list(columns[:-1]), score=columns[-1], loss=loss
    )


def draw(column: Column, rng: np.random.Generator, n: int, *, shift: float = 0.0, missing: float = 0.0) -> list[int]:
    """A window of one column: of a standard normal moved by `shift`, or of the reference's own categories."""
    gone = int(rng.binomial(n, missing))
    if isinstance(column, Numeric):
        values = rng.normal(size=n - gone) + shift
        cells = np.bincount(np.searchsorted(column.edges, values, side="right"), minlength=column.cells)
    else:
        shares = np.asarray(column.counts[:-1], dtype=np.float64)
        cells = np.append(rng.multinomial(n - gone, shares / shares.sum()), 0)
    cells[-1] += gone
    return [int(cell) for cell in cells]


def epoch(
    number: int,
    cells: Sequence[int],
    rows: int,
    *,
    seconds: float = 60.0,
    model: str = MODEL,
    losses: Sequence[int] = (),
    pairs: Mapping[str, Pairs] | None = None,
    start: float = 1_000_000.0,
    made: float | None = None,
) -> Epoch:
    """Epoch `number` of a pod that closes one every so many seconds. The predictions that have labels were `made` in
    it, unless at another time."""
    moment = int(start + (number - 1) * seconds if made is None else made)
    labels = (
        Labels(loss={moment: list(losses)}, pairs={name: {moment: each} for name, each in (pairs or {}).items()})
        if losses
        else None
    )
    counts = ModelCounts(rows=rows, cells=list(cells), labels=labels)
    return Epoch(
        number=number, opened=start + (number - 1) * seconds, closed=start + number * seconds, models={model: counts}
    )


def answer(*epochs: Epoch, incarnation: str = "one", last: bool = False) -> Epochs:
    return Epochs(incarnation=incarnation, model=MODEL, epochs=list(epochs), last=last)
