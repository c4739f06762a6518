"""The garbage collector runs as seldom as in the operator's own process: it is slow on worlds of small objects."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from perennial.main import _COLLECTOR


@pytest.fixture(scope="package", autouse=True)
def _seldom_collected() -> Iterator[None]:
    before = gc.get_threshold()
    gc.set_threshold(*_COLLECTOR)
    yield
    gc.set_threshold(*before)
