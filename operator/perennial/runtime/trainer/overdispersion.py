"""How much more losses vary from chunk to chunk than those of independent rows would: what the rows behind the bounds
of a loss are divided by.

Rows close in time resemble one another, so that n of them tell less than n independent ones. phi is the Pearson
dispersion over time-ordered chunks of the held-out rows (McCullagh and Nelder, Generalized Linear Models, 4.5),
at its upper confidence bound: dispersion * (M - 1) / chi2.ppf(0.1, M - 1).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CHUNKS = 40
LOW = 0.1
CUTS = 15
_LEAST_ROWS = 10


def phi(cells: NDArray[np.intp], length: int, *, ordered: bool) -> float:
    """The overdispersion, at least 1. `cells` [rows] in time order, each below `length`.

    Ordered cells are compared at up to 15 cuts of their cumulative counts, others one against the rest.
    """
    from scipy.stats import chi2

    chunks = min(CHUNKS, len(cells) // _LEAST_ROWS)
    if chunks < 2:
        return 1.0
    counts = _counts(cells, length, chunks)
    sizes = counts.sum(axis=1, keepdims=True)
    hits = _below_cuts(counts) if ordered else counts
    share = hits.sum(axis=0) / sizes.sum()
    # A cell that is in few chunks at all says nothing about how it varies between them.
    telling = np.minimum(share, 1.0 - share) * len(cells) >= chunks
    if not telling.any():
        return 1.0
    expected = sizes * share[telling]
    variance = expected * (1.0 - share[telling])
    dispersion = ((hits[:, telling] - expected) ** 2 / variance).sum(axis=0) / (chunks - 1)
    return max(1.0, float(np.median(dispersion)) * (chunks - 1) / float(chi2.ppf(LOW, chunks - 1)))


def _counts(cells: NDArray[np.intp], length: int, chunks: int) -> NDArray[np.float64]:
    """Counts [chunks, length] of chunks of as equal sizes as can be."""
    chunk = np.arange(len(cells)) * chunks // len(cells)
    return np.bincount(chunk * length + cells, minlength=chunks * length).reshape(chunks, length).astype(np.float64)


def _below_cuts(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Counts below up to 15 cuts, spread evenly, and in the last cell."""
    below = np.cumsum(counts[:, :-1], axis=1)[:, :-1]
    step = max(1, -(-below.shape[1] // CUTS))
    return np.concatenate([below[:, ::step], counts[:, -1:]], axis=1)
