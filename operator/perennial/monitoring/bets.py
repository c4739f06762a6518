"""The bets that a look plays on the loss: on the labels that came, and on what the scores of a window let expect.

Both end in a verdict that is dated by when the predictions were made. `steps` is how many may pass on average between
false alarms.
"""

from __future__ import annotations

import msgspec

from perennial.api.driftmonitor import DriftMonitorSpec

from .checkpoint import Checkpoint, Tally
from .course import Course, anew, close, credit, cut
from .harm import Harm, game, step
from .history import Bucket
from .one_sided import one_sided
from .suspicion import bet_on_scores, why_not
from .triage import Triage, triage_harm


def on_labels(checkpoint: Checkpoint, spec: DriftMonitorSpec, now: float, *, steps: float) -> Checkpoint:
    """One step of the bet at `now` (Unix seconds) for each model whose labels have waited for a window's period: the
    allowance is in windows. So have the last ones before nothing more is handed over for as long."""
    period = spec.window.period.seconds
    silent = now - checkpoint.newest >= period
    for digest, tally in checkpoint.tallies.items():
        if _proves_nothing(checkpoint, digest):
            tally = msgspec.structs.replace(tally, waiting=[], harm=None)
            checkpoint = msgspec.structs.replace(checkpoint, tallies={**checkpoint.tallies, digest: tally})
        if tally.loss is None or not sum(tally.waiting) or not (silent or checkpoint.newest - tally.stepped >= period):
            continue
        rules = game(tally.loss, spec.harm.margin.fraction)
        harm = tally.harm
        if harm is None or harm.tolerated != rules.tolerated:
            harm = Harm(rules.tolerated)
        harm = step(harm, rules, tally.waiting, steps=steps)
        stepped = msgspec.structs.replace(tally, harm=harm, waiting=[], stepped=checkpoint.newest)
        found = checkpoint.triage
        if checkpoint.model and digest == checkpoint.model.sha256:
            found = triage_harm(found, harm, rules, tally.losses, model=digest, closed=checkpoint.newest)
            stepped = stepped if checkpoint.triage.of("Harm") or not found.of("Harm") else stepped.from_here
            # Where few rows come a window is long: what is still to be predicted is dated as finely as it is judged.
            stepped = msgspec.structs.replace(stepped, losses=cut(tally.losses, checkpoint.newest, keep=dated(found)))
        tallies = {**checkpoint.tallies, digest: stepped}
        checkpoint = msgspec.structs.replace(checkpoint, tallies=tallies, triage=found)
    return checkpoint


def on_scores(
    checkpoint: Checkpoint, window: Bucket, score: list[int], dispersion: float, spec: DriftMonitorSpec, *, steps: float
) -> Checkpoint:
    """One step of the bet on a window, by its counts of scores and how much these are overdispersed."""
    reference = checkpoint.reference
    margin = spec.harm.margin.fraction
    if reference is None or reference.expected is None or reference.loss is None or why_not(reference, margin):
        return checkpoint
    bet = bet_on_scores(reference.expected, reference.loss, reference.score.counts, margin, dispersion)
    before, course = checkpoint.suspicion, checkpoint.scores
    if before is None or before.tolerated != bet.tolerated:
        before, course = Harm(bet.tolerated), Course()
    harm = step(before, bet, score, steps=steps)
    course = credit(course, [(window.opened, score)])
    course = close(course, window.opened, window.closed, keep=dated(checkpoint.triage))
    found = triage_harm(
        checkpoint.triage,
        harm,
        bet,
        course,
        state="HarmSuspected",
        model=reference.model,
        closed=window.closed,
    )
    return msgspec.structs.replace(checkpoint, suspicion=harm, scores=course, triage=found)


def acquitted(tally: Tally, at: float) -> Tally:
    """Without evidence of harm, or for another model, and with none to come from labels of predictions before `at`."""
    return msgspec.structs.replace(tally, harm=None, waiting=[], losses=anew(tally.losses, at)).from_here


def dated(triage: Triage) -> list[float]:
    """Since when there is harm, proved or suspected."""
    return [verdict.since for verdict in triage.verdicts if verdict.loss]


def _proves_nothing(checkpoint: Checkpoint, digest: str) -> bool:
    reference = checkpoint.reference
    if reference is None or digest != reference.model:
        return False
    return one_sided(checkpoint.tallies[digest], reference) is not None
