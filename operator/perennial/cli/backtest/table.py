"""The rows of a data file in the order of time, read as the trainer reads them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from perennial.cli.problem import CannotDo
from perennial.runtime.store.errors import DeniedError, NoCredentialsError
from perennial.runtime.trainer.columns import Column, kind_of, no_date, row_in

if TYPE_CHECKING:
    import pandas as pd

    from perennial.runtime.tables.reading import File

_WORDS = {"data.uri": "--data", "data.time": "--time", "data.target": "--label"}
"""The trainer's names of what is an option here."""
_CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "gs": "GOOGLE_SERVICE_ACCOUNT_KEY",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}
"""Variables of the environment by the scheme of the URI."""
_LATEST = 32_503_680_000.0
"""The year 3000: what is later was counted in something else than seconds."""


@dataclass(frozen=True)
class Meaning:
    """Which columns have the time, the true label, what the model said, and what the version before it said; None where
    the option was not given."""

    time: str | None = None
    label: str | None = None
    prediction: str | None = None
    score: str | None = None
    previous: str | None = None

    @property
    def named(self) -> dict[str, str]:
        options = {
            "--time": self.time,
            "--label": self.label,
            "--prediction": self.prediction,
            "--score": self.score,
            "--previous-prediction": self.previous,
        }
        return {option: column for option, column in options.items() if column}


@dataclass(frozen=True)
class Table:
    """Rows in the order of their time, `seconds` [rows] in Unix seconds (or numbers, as the file has them). `time` is
    the column that they come from. `places` [rows] are those of the rows in the `files`, which have so many each."""

    name: str
    frame: pd.DataFrame
    time: str
    seconds: NDArray[np.float64]
    files: list[tuple[str, int]]
    places: NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.frame)

    def __contains__(self, name: str) -> bool:
        return name in self.frame.columns

    def column(self, name: str) -> Column:
        return _Ordered(name, [self.frame[name]], [(self.name, len(self.frame))], self)

    def where(self, row: int) -> str:
        """The file and the row in it (from 1, without the header) of the `row`-th row of the table."""
        return row_in(self.files, int(self.places[row]))

    def part(self, rows: slice) -> Table:
        frame = self.frame.iloc[rows].reset_index(drop=True)
        return replace(self, frame=frame, seconds=self.seconds[rows], places=self.places[rows])


@dataclass(frozen=True)
class _Ordered(Column):
    """A column that names its rows as their files have them."""

    table: Table

    def where(self, row: int) -> str:
        return self.table.where(row)


Wanted = Callable[[Sequence[str]], Sequence[str]]
"""Of a file's columns, those to read. Raises CannotDo where one is not there."""


def read_table(place: str, meaning: Meaning, wanted: Wanted) -> Table:
    """The rows of a file, a folder of files, or a URI. Raises CannotDo."""
    with told():
        import pandas as pd

        read = list(_pieces(place, meaning, wanted))
        files, pieces = [(name, len(piece)) for name, piece in read], [piece for _, piece in read]
        frame = pd.concat(pieces, ignore_index=True) if len(pieces) > 1 else pieces[0]
        if not len(frame):
            raise CannotDo(f"--data {place}: there are columns, but no rows")
        return _in_order(Table(place, frame, "", np.empty(0), files, np.arange(len(frame))), meaning.time)


def needed(option: str, column: str, there: Sequence[str], place: str) -> str:
    """The column, once it is known to be there. Raises CannotDo."""
    if column in there:
        return column
    from perennial.runtime.failures import hint

    raise CannotDo(f"{option}: {place} has no column {column!r}{hint(column, there)}")


@contextmanager
def told() -> Iterator[None]:
    """What reading a file can complain about, in this command's words; that pandas is not there among it."""
    try:
        from perennial.runtime.failures import RunError
    except ImportError as problem:
        raise _not_installed(problem) from None
    try:
        yield
    except RunError as problem:
        if isinstance(problem.__cause__, NoCredentialsError | DeniedError):
            raise refused("--data", problem.__cause__) from None
        message = problem.message
        for theirs, ours in _WORDS.items():
            message = message.replace(theirs, ours)
        raise CannotDo(message) from None
    except ImportError as problem:
        raise _not_installed(problem) from None


def refused(option: str, problem: NoCredentialsError | DeniedError) -> CannotDo:
    """Outside of a pod credentials are the environment's."""
    variables = _CREDENTIALS[urlsplit(problem.uri).scheme]
    if isinstance(problem, DeniedError):
        return CannotDo(f"{option}: {problem.uri}: access denied; check {variables}: {problem.said}")
    return CannotDo(f"{option}: {problem.uri}: there are no credentials: set {variables} (docs/data-and-stores.md)")


def _not_installed(problem: ImportError) -> CannotDo:
    return CannotDo(
        f"rows are read with the trainer's libraries, and {problem.name} is not installed here: "
        "pip install '.[trainer]' in Perennial's source"
    )


def _pieces(place: str, meaning: Meaning, wanted: Wanted) -> Iterator[tuple[str, pd.DataFrame]]:
    from perennial.runtime.tables.reading import read

    columns: list[str] = []
    for file in _files(place):
        if not columns:
            for option, column in meaning.named.items():
                needed(option, column, file.columns, file.name)
            # Without --time the column is looked for among those that nobody named.
            rest = file.columns if meaning.time is None else []
            columns = list(dict.fromkeys([*wanted(file.columns), *meaning.named.values(), *rest]))
        yield file.name, read(file, columns)


def _files(place: str) -> Iterator[File]:
    from perennial.runtime.tables.reading import examine
    from perennial.runtime.tables.sources import Fetched, find
    from perennial.wire.places import DATA_SECRET

    if "://" in place:
        with tempfile.TemporaryDirectory(prefix="perennial-data-") as folder:
            for source in find(place, Path(DATA_SECRET)):
                yield examine(source.name, source.fetch(Path(folder) / "file"))
        return
    for path in _paths(Path(place)):
        yield examine(str(path), Fetched(path, "", path.stat().st_size))


def _paths(path: Path) -> list[Path]:
    if path.is_dir():
        found = sorted(each for each in path.iterdir() if each.is_file() and not each.name.startswith((".", "_")))
        if found:
            return found
        raise CannotDo(f"--data {path}: the folder has no files")
    if not path.is_file():
        raise CannotDo(f"--data {path}: there is no such file")
    return [path]


def _in_order(table: Table, time: str | None) -> Table:
    from perennial.runtime.trainer.times import seconds_of

    name = time or _the_date(table)
    seconds, _ = seconds_of(table.column(name))
    if seconds.min() < 0 or seconds.max() > _LATEST:
        raise CannotDo(f"--time: column {name!r} has numbers that are no Unix seconds, such as {seconds.max():.15g}")
    order = np.argsort(seconds, kind="stable")
    frame = table.frame
    if not np.array_equal(order, table.places):
        frame = frame.iloc[order].reset_index(drop=True)
    return replace(table, frame=frame, time=name, seconds=seconds[order], places=order)


def _the_date(table: Table) -> str:
    """The only column of dates."""
    frame = table.frame
    dates = [str(name) for name in frame.columns if kind_of(frame[name]) == "date"]
    if len(dates) == 1:
        return dates[0]
    found = f"the columns of dates are {', '.join(dates)}" if dates else f"no column has dates{_nearly_dates(table)}"
    raise CannotDo(f"--time: say which column of {table.name} has the time of each row; {found}")


def _nearly_dates(table: Table) -> str:
    for name in table.frame.columns:
        if (row := no_date(table.frame[name])) is not None:
            strange = str(table.frame[name].iloc[row])[:60]
            return f", but {str(name)!r} is nearly all dates; {table.where(row)} has {strange!r}"
    return ""
