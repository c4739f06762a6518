"""The table in docs/estimators.md is what happens: `python -m tests.estimators` writes it."""

from __future__ import annotations

import pytest

from perennial.wire.estimators import BUILT_IN
from tests.estimators import row, written

pytestmark = pytest.mark.process


@pytest.mark.parametrize("path", BUILT_IN)
def test_the_docs_say_what_serves_it(path: str) -> None:
    assert row(path) in written()


def test_the_docs_list_every_estimator_once() -> None:
    assert [line.split("`")[1] for line in written()] == list(BUILT_IN)
