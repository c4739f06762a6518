"""Kubernetes quantities as numbers: `500m` is 0.5, `1Gi` is 2**30.

The client library has the same, behind an import of all of its models.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

_BINARY: dict[str, Decimal | int] = {f"{prefix}i": 1024**power for power, prefix in enumerate("KMGTPE", start=1)}
_DECIMAL: dict[str, Decimal | int] = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "k": 10**3,
    "M": 10**6,
    "G": 10**9,
}
_SUFFIXES = {**_BINARY, **_DECIMAL, "T": 10**12, "P": 10**15, "E": 10**18}


def to_number(quantity: str | int | float) -> float:
    """The quantity's value; 0 for what is none, since it only ever weighs a cost."""
    text = str(quantity)
    suffix = next((suffix for suffix in _SUFFIXES if text.endswith(suffix)), "")
    try:
        return float(Decimal(text.removesuffix(suffix)) * _SUFFIXES.get(suffix, 1))
    except InvalidOperation:
        return 0.0
