"""Hyperparameter search within the rows that are learned from: the held-out rows judge its outcome and never choose it.

Every candidate is judged on the same folds, split as `data.test` splits. Scores depend on rows and seed alone: neither
on how many fits ran at once nor on which ended first.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from perennial.runtime import limits
from perennial.runtime.failures import InputError
from perennial.wire.progress import Progress
from perennial.wire.run import Run, Search, Sklearn, Test
from perennial.wire.schema import Feature

from .fitting import fit, suited
from .judging import judge
from .metrics import LESSER_IS_BETTER, known_as, value_of
from .rows import Rows
from .search_space import Parameters, candidates, shown, with_parameters
from .split import Indices, Split, folds
from .workers import Workers

ETA = 3
"""Of the candidates of a round of halving one in so many goes on, to so many times the rows."""
LEAST_ROWS = 100
_FLOAT = 8
_COPIES = 3
"""A fit has at least its rows, their encoded form and what the estimator makes of them."""


@dataclass(slots=True)
class Trial:
    """A candidate and how it did: `score` is the mean over the folds, `std` their standard deviation."""

    number: int
    parameters: Parameters
    share: float = 1.0
    """Of each fold's rows to learn from."""
    score: float | None = None
    std: float | None = None
    why: str | None = None
    """Why there is no score."""


@dataclass(frozen=True, slots=True)
class Found:
    """The outcome of a search. `at_once` is how many fits ran side by side at most."""

    method: str
    metric: str
    folds: int
    best: Trial
    trials: list[Trial]
    fits: int
    at_once: int

    def __str__(self) -> str:
        spread = "" if self.best.std is None else f" ± {self.best.std:.2g}"
        return f"{self.metric} {self.best.score:.4g}{spread} with {shown(self.best.parameters)}"


def searched(
    run: Run,
    sklearn: Sklearn,
    search: Search,
    features: Sequence[Feature],
    rows: Rows,
    progress: Progress,
    say: Callable[[str], None],
) -> Found:
    """Try every candidate on folds of these rows. Raises InputError where none can be fitted."""
    each = _Search(run, sklearn, search, features, rows, progress, say)
    with warnings.catch_warnings():
        # Once around all threads: Python's filters are one for all of them.
        warnings.simplefilter("ignore")
        return each.found()


class _Search:
    def __init__(
        self,
        run: Run,
        sklearn: Sklearn,
        search: Search,
        features: Sequence[Feature],
        rows: Rows,
        progress: Progress,
        say: Callable[[str], None],
    ) -> None:
        self._run, self._sklearn, self._search, self._features, self._rows = run, sklearn, search, features, rows
        self._progress, self._say = progress, say
        self._scores: dict[int, list[float]] = {}
        self._noting = threading.Lock()
        self._metric = known_as(search.metric)
        self._sign = -1.0 if self._metric in LESSER_IS_BETTER else 1.0
        self._parts = folds(run.data.test if run.data else Test(), search.folds, run.seed, rows.keys)
        self._workers = Workers(limits.cpus(), limits.memory(), _COPIES * _FLOAT * rows.frame.size)

    def found(self) -> Found:
        every = [Trial(number, each) for number, each in enumerate(candidates(self._search, self._run.seed), 1)]
        rounds = _rounds(self._search, len(every), min(len(part.train) for part in self._parts))
        left, self._progress.of = every, _fits(len(every), len(rounds)) * len(self._parts)
        for number, share in enumerate(rounds, 1):
            self._judge(left, share)
            left = sorted((trial for trial in left if trial.score is not None), key=self._rank)
            if not left:
                raise InputError("DoesNotFit", f"spec.sklearn.search: no trial could be fitted: {every[0].why}")
            if number < len(rounds):
                left = left[: -(-len(left) // ETA)]
        found = Found(
            self._search.method, self._metric, len(self._parts), left[0], every, self._progress.done, self._workers.most
        )
        self._say(f"search: {len(every)} trials, {found.fits} fits, {found.at_once} at once: best {found}")
        return found

    def _rank(self, trial: Trial) -> tuple[float, int]:
        return -self._sign * (trial.score or 0.0), trial.number

    def _judge(self, trials: list[Trial], share: float) -> None:
        jobs = [(trial, part) for trial in trials for part in self._parts]
        progress, before = self._progress, self._progress.done

        def told(done: int) -> None:
            passed, progress.done = progress.done, before + done
            if done == len(jobs) or progress.done * 10 // progress.of > passed * 10 // progress.of:
                self._say(f"search: {progress.done} of {progress.of} fits")

        answers = self._workers.map(lambda number: self._score(*jobs[number], share), len(jobs), told)
        for position, trial in enumerate(trials):
            _note(trial, share, answers[position * len(self._parts) : (position + 1) * len(self._parts)])

    def _score(self, trial: Trial, part: Split, share: float) -> float | str:
        """The metric on the fold, or why there is none."""
        rows, tried = self._rows, with_parameters(self._sklearn, trial.parameters)
        try:
            model = fit(self._run, tried, self._features, rows.take(self._some(part.train, share)), cpus=1)
            held = rows.take(part.test)
            with suited(tried.estimator):
                value = value_of(self._metric, judge(model, held.frame, held.target, rows.task), rows.task)
        except InputError as error:
            return error.message
        if value is None:
            return f"{self._metric} could not be computed"
        if share == 1.0:
            self._tell(trial, value)
        return value

    def _tell(self, trial: Trial, value: float) -> None:
        """Let a trial of which every fold has ended be the best so far."""
        with self._noting:
            scores = self._scores.setdefault(trial.number, [])
            scores.append(value)
            best, mean = self._progress.best, sum(scores) / len(scores)
            if len(scores) == len(self._parts) and (best is None or self._sign * mean > self._sign * best):
                self._progress.best = mean

    def _some(self, train: Indices, share: float) -> Indices:
        """A share of the rows: the newest of a split by time, else picked by the seed; more hold all of fewer."""
        if share == 1.0:
            return train
        count = round(share * len(train))
        seconds = self._rows.seconds
        if self._run.data is not None and self._run.data.test.split == "Time" and seconds is not None:
            return np.sort(train[np.argsort(seconds[train], kind="stable")[-count:]])
        return np.sort(np.random.default_rng((self._run.seed, len(train))).permutation(train)[:count])


def _rounds(search: Search, trials: int, rows: int) -> list[float]:
    """The share of the rows in each round; the last one has all."""
    if search.method != "Halving":
        return [1.0]
    rounds = 1
    while ETA**rounds <= trials and rows / ETA**rounds >= LEAST_ROWS:
        rounds += 1
    return [float(ETA) ** -(rounds - number) for number in range(1, rounds)] + [1.0]


def _fits(trials: int, rounds: int) -> int:
    total = 0
    for _ in range(rounds):
        total += trials
        trials = -(-trials // ETA)
    return total


def _note(trial: Trial, share: float, answers: Sequence[float | str]) -> None:
    scores = [answer for answer in answers if not isinstance(answer, str)]
    trial.share, trial.score, trial.std = share, None, None
    if scores:
        trial.score = float(np.mean(scores))
        trial.std = float(np.std(scores, ddof=1)) if len(scores) > 1 else None
    trial.why = next((answer for answer in answers if isinstance(answer, str)), None)
