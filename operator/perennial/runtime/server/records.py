"""Rows as people write them: one object a row, a field a feature, checked against the model's own schema.

The schema becomes a msgspec type once, when the model is loaded: a row is then decoded and checked in C, and a refusal
names the row and the field.
"""

from __future__ import annotations

import operator
import re
from types import GenericAlias
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from perennial.runtime.server.refusal import Refusal, invalid, malformed
from perennial.runtime.server.rows import MAX_ROWS, Rows, quoted
from perennial.wire.schema import Feature, Schema

_TYPES = {"numeric": float | None, "boolean": bool | Literal[0, 1] | None, "categorical": str | None}
_WANTED = {"numeric": "a number", "boolean": "true or false", "categorical": "text"}
_KEY = "key"
_decode_names = msgspec.json.Decoder(list[dict[str, msgspec.Raw]]).decode
_PATH = re.compile(r"\$\[(\d+)\](?:\.(.*))?", re.DOTALL)


def record_type(schema: Schema, key: str | None = None) -> type[msgspec.Struct]:
    """The type of a row of this schema, its fields in the order of the features; last, if it is none of them, the field
    that the row is found by again, which may be missing and may be anything."""
    # Names of features need not be names in Python.
    names = {f"f{position}": feature for position, feature in enumerate(schema.features)}
    fields: list[Any] = [(name, _TYPES[feature.kind]) for name, feature in names.items()]
    rename = {name: feature.name for name, feature in names.items()}
    if key is not None and key not in rename.values():
        fields.append((_KEY, msgspec.Raw, msgspec.Raw()))
        rename[_KEY] = key
    return msgspec.defstruct("Record", fields, rename=rename, gc=False)


class Reader:
    """Makes Rows of records for one model's schema, which are found again by the field `key`. Fields that are neither
    are passed over.
    """

    def __init__(self, schema: Schema, key: str | None = None) -> None:
        self._features = schema.features
        row = record_type(schema, key)
        rows: Any = operator.getitem(Annotated, (GenericAlias(list, (row,)), Meta(max_length=MAX_ROWS)))
        self._decode = msgspec.json.Decoder(rows).decode
        names = dict(zip(row.__struct_fields__, schema.features, strict=False))
        self._key = next((name for name, feature in names.items() if feature.name == key), None)
        self._key = _KEY if _KEY in row.__struct_fields__ else self._key
        self._numbers = [name for name, feature in names.items() if feature.kind != "categorical"]
        self._texts = [name for name, feature in names.items() if feature.kind == "categorical"]

    def __call__(self, raw: msgspec.Raw) -> Rows:
        """Raises Refusal 400 that names the row and the field which do not fit the model."""
        try:
            records = self._decode(raw)
        except (ValueError, RecursionError) as error:
            raise self._named(error, raw) from error
        if not records:
            raise invalid("rows", "there are none")
        numbers: NDArray[np.float64] = _matrix(records, self._numbers, np.float64)
        found = None if self._key is None else [getattr(record, self._key) for record in records]
        if not self._texts:
            return Rows(len(records), numbers, None, found)
        texts: NDArray[np.object_] = _matrix(records, self._texts, np.object_)
        texts[texts == np.array(None)] = ""
        return Rows(len(records), numbers, texts, found)

    def _named(self, error: ValueError | RecursionError, raw: msgspec.Raw) -> Refusal:
        message, _, place = str(error).partition(" - at `")
        found = _PATH.fullmatch(place.removesuffix("`"))
        if not isinstance(error, msgspec.ValidationError) or found is None:
            refusal = malformed(error)
            return Refusal(400, f"rows: {refusal.message}")
        row, field = int(found[1]), found[2]
        if field is not None:
            feature = next(feature for feature in self._features if feature.name == field)
            return invalid(f"rows[{row}].{field}", f"{message}; {_advice(feature)}")
        if not message.startswith("Object missing"):
            return invalid(f"rows[{row}]", f"{message}; a row is an object with a field for each feature")
        return invalid(f"rows[{row}]", f"{self._missing(raw, row) or message}; send null for a value that is missing")

    def _missing(self, raw: msgspec.Raw, row: int) -> str | None:
        """What a row lacks, and what it has instead; None where fields that nobody asked for cannot be read."""
        try:
            record = _decode_names(raw)[row]
        except (ValueError, RecursionError):
            return None
        names = [feature.name for feature in self._features]
        missing = [name for name in names if name not in record]
        unknown = sorted(record.keys() - set(names))
        said = f"there {'is no field' if len(missing) == 1 else 'are no fields'} {quoted(missing)}"
        if unknown:
            said += f", but {quoted(unknown)}, which the model does not know"
        return said


def _advice(feature: Feature) -> str:
    return f"the feature is {feature.kind}: send {_WANTED[feature.kind]}, or null for a value that is missing"


def _matrix(records: list[Any], names: list[str], dtype: Any) -> NDArray[Any]:
    """Fields of records as an array [rows, names]."""
    if not names:
        return np.empty((len(records), 0), dtype)
    values = list(map(operator.attrgetter(*names), records))
    return np.array(values, dtype).reshape(len(records), len(names))
