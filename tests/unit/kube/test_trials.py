"""Trials: the same is not asked again at once, and another thing, or the same after a while, is."""

from __future__ import annotations

from perennial.kube.plan import Child, Mode, Problem
from perennial.kube.resources import CONFIGMAPS
from perennial.kube.trials import STANDS_SECONDS, Answer, Trials

from .objects import configmap

REFUSED = Problem("Forbidden", "ConfigMap", "a", "no")


def trial(name: str, size: int = 1) -> Child:
    return Child(CONFIGMAPS, configmap(name, size=str(size)), Mode.TRIAL)


def test_an_answer_stands_for_a_while_and_for_that_question_alone() -> None:
    now = 100.0
    trials = Trials(clock=lambda: now)
    trials.note(trial("a"), REFUSED)
    trials.note(trial("b"), None)
    assert trials.answer(trial("a")) == Answer(REFUSED, now + STANDS_SECONDS)
    assert trials.answer(trial("b")) == Answer(None, now + STANDS_SECONDS)
    assert trials.answer(trial("a", size=2)) is None
    now += STANDS_SECONDS
    assert trials.answer(trial("a")) is None


def test_what_has_passed_is_forgotten() -> None:
    now = 100.0
    trials = Trials(clock=lambda: now)
    for number in range(50):
        trials.note(trial(f"n{number}"), None)
        now += 1.0
    assert len(trials) <= STANDS_SECONDS + 1
