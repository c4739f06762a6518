"""Counts in a file: one JSON object a line, each what a pod answers to `POST /perennial/v1/epochs`.

They hold no row, so that who may not hand data out can still ask what another policy would have found.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from perennial.cli.problem import CannotDo
from perennial.wire.counts import Epoch, Epochs
from perennial.wire.reference import Reference

from .replay import Handed

_START = b"{"


def is_captured(place: str) -> bool:
    """Whether the file holds counts: rows are CSV or Parquet, which begin otherwise."""
    try:
        with Path(place).open("rb") as file:
            return file.read(1) == _START
    except OSError:
        return False


def captured(place: str, reference: Reference) -> list[Handed]:
    """What the file's pods handed over, in the order of time. Raises CannotDo where a line is something else, or was
    counted for another reference."""
    handed = [_handed(place, number, line, reference) for number, line in _lines(place)]
    if not handed:
        raise CannotDo(f"--data {place}: no line has an epoch")
    # Late labels of the version before stand in epochs of their own.
    models = {model for epoch in _epochs(handed) for model in epoch.models}
    if reference.model not in models:
        named = " and ".join(sorted(model[:12] for model in models)) or "no model"
        raise CannotDo(
            f"--data {place}: counts are of {named}, the reference is of {reference.model[:12]}: give that version's "
            "reference"
        )
    return sorted(handed, key=lambda each: each.at)


def compared(handed: Iterable[Handed], model: str) -> str | None:
    """The digest of the version before that pods scored rows by too: of several the one with the most labels."""
    labelled: Counter[str] = Counter()
    for each in _epochs(handed):
        labels = each.models[model].labels if model in each.models else None
        for digest, pairs in labels.pairs.items() if labels else ():
            labelled[digest] += sum(each.labelled for each in pairs.values())
    return next((digest for digest, _ in labelled.most_common(1)), None)


def is_scored(handed: Iterable[Handed], reference: Reference) -> bool:
    """Whether what the model said is counted of any row."""
    counted = (epoch.models[reference.model] for epoch in _epochs(handed) if reference.model in epoch.models)
    # The score's cells are the last ones, and its missing values the last of them.
    return any(any(each.cells[-reference.score.cells : -1]) for each in counted)


def write(place: str, handed: Iterable[Handed]) -> Iterator[Handed]:
    """What is handed over, written to the file on its way. Raises CannotDo."""
    try:
        with Path(place).open("wb") as file:
            for each in handed:
                file.writelines(msgspec.json.encode(answer) + b"\n" for answer in each.answers.values())
                yield each
    except OSError as problem:
        raise CannotDo(f"--save-counts {place}: {problem.strerror}") from None


def _epochs(handed: Iterable[Handed]) -> Iterator[Epoch]:
    return (epoch for each in handed for answer in each.answers.values() for epoch in answer.epochs)


def _lines(place: str) -> Iterator[tuple[int, bytes]]:
    with Path(place).open("rb") as file:
        yield from ((number, line) for number, line in enumerate(file, start=1) if line.strip())


def _handed(place: str, number: int, line: bytes, reference: Reference) -> Handed:
    where = f"--data {place}, line {number}"
    try:
        answer = msgspec.json.decode(line, type=Epochs)
    except msgspec.DecodeError as problem:
        raise CannotDo(f"{where}: not what a pod answers to POST /perennial/v1/epochs: {problem}") from None
    if not answer.epochs:
        raise CannotDo(f"{where}: there is no epoch in it")
    cells = sum(column.cells for column in reference.columns)
    for epoch in answer.epochs:
        counted = epoch.models.get(reference.model)
        if counted and counted.cells and len(counted.cells) != cells:
            raise CannotDo(
                f"{where}: counts have {len(counted.cells)} cells, the reference has {cells}: it is another's"
            )
    return Handed(max(epoch.closed for epoch in answer.epochs), {answer.incarnation: answer})
