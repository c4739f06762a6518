"""Whether a live object is as it was asked for: everything asked for is in it, whatever defaults and others added."""

from __future__ import annotations

import hashlib
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from .plan import Manifest

_ASSOCIATIVE = frozenset(
    {"containers", "env", "hostAliases", "imagePullSecrets", "initContainers", "ownerReferences", "ports"}
    | {"resourceClaims", "topologySpreadConstraints", "volumeDevices", "volumeMounts", "volumes"}
)
"""Lists that others may add to (`x-kubernetes-list-type: map`), by field. All others are whole values."""

_ATOMIC_KINDS = frozenset({"NetworkPolicy"})
"""Kinds without such lists: a port that somebody added to a NetworkPolicy is a difference."""

_WHOLE = frozenset({"selector", "podSelector", "namespaceSelector"})
"""Mappings that are whole values (`x-kubernetes-map-type: atomic`): with one label more they select nothing."""

_QUANTITIES = frozenset({"requests", "limits", "capacity", "sizeLimit", "divisor", "storage"})
_SUFFIXES = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "": Decimal(1),
    **{suffix: Decimal(1000) ** power for power, suffix in enumerate(("k", "M", "G", "T", "P", "E"), 1)},
    **{suffix: Decimal(1024) ** power for power, suffix in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)},
}

_encoder = msgspec.json.Encoder(order="deterministic")


def digest(manifest: Manifest) -> str:
    """A digest of what was asked for: by it a field that is not asked for any more is noticed."""
    return hashlib.sha256(_encoder.encode(manifest)).hexdigest()[:16]


def difference(live: Manifest, asked: Manifest) -> str | None:
    """The path of the first field in which `live` is not as asked, None where it has everything."""
    return _in_mapping(live, asked, "", merges=asked.get("kind") not in _ATOMIC_KINDS, quantity=False)


def _in_mapping(live: Manifest, asked: Manifest, path: str, *, merges: bool, quantity: bool) -> str | None:
    for key, value in asked.items():
        found = live.get(key)
        # By far the most is the same to the letter, which is told without a look at its parts.
        if found == value or (_is_nothing(value) and _is_nothing(found)):
            continue
        where = f"{path}.{key}" if path else key
        if key not in live:
            return where
        differs_at = _in_value(found, value, where, key, merges=merges, quantity=quantity or key in _QUANTITIES)
        if differs_at:
            return differs_at
    return None


def _in_value(live: Any, asked: Any, path: str, key: str, *, merges: bool, quantity: bool) -> str | None:
    if key in _WHOLE:
        return None if live == asked else path
    if isinstance(asked, dict):
        if not isinstance(live, dict):
            return path
        return _in_mapping(live, asked, path, merges=merges, quantity=quantity)
    if isinstance(asked, list):
        if not isinstance(live, list):
            return path
        if merges and key in _ASSOCIATIVE:
            return _in_associative(live, asked, path)
        return _in_list(live, asked, path, merges=merges)
    if live == asked or (quantity and _same_quantity(live, asked)):
        return None
    return path


def _in_list(live: list[Any], asked: list[Any], path: str, *, merges: bool) -> str | None:
    if len(live) != len(asked):
        return path
    for index, (mine, wanted) in enumerate(zip(live, asked, strict=True)):
        if found := _in_value(mine, wanted, f"{path}[{index}]", "", merges=merges, quantity=False):
            return found
    return None


def _in_associative(live: list[Any], asked: list[Any], path: str) -> str | None:
    """Every item asked for is there, in this order, whatever stands between them."""
    rest = iter(live)
    for index, wanted in enumerate(asked):
        where = f"{path}[{index}]"
        if not any(_in_value(item, wanted, where, "", merges=True, quantity=False) is None for item in rest):
            return where
    return None


def _is_nothing(value: Any) -> bool:
    """The API server drops some empty values and keeps others."""
    return value is None or value in ({}, [], "")


def _same_quantity(live: Any, asked: Any) -> bool:
    one, other = _amount(live), _amount(asked)
    return one is not None and one == other


def _amount(quantity: Any) -> Decimal | None:
    text = str(quantity)
    number = text.rstrip("numkKMGTPEi")
    try:
        return Decimal(number) * _SUFFIXES[text[len(number) :]]
    except (InvalidOperation, KeyError):
        return None
