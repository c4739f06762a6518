"""What the controller remembers between reconciles: by whose pods a candidate is judged."""

from __future__ import annotations

from dataclasses import replace

from perennial.serving.controller import judging

from .test_plan import canary


def test_a_candidate_is_judged_by_its_own_pods_and_by_all_that_serve_the_stable_model() -> None:
    world = canary()
    world.accept(2)
    assert judging(world.observe()) == frozenset()
    world.run()
    observed = world.observe()
    assert observed.stable
    assert observed.candidate
    another = replace(observed.stable, name="the stable model by another server")
    foreign = replace(observed.candidate, name="the candidate's model by another server")
    revisions = {each.name: each for each in (*observed.revisions.values(), another, foreign)}
    both = {observed.stable.name, observed.candidate.name}
    assert judging(replace(observed, revisions=revisions)) == {*both, another.name}
