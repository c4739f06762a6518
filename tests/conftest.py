"""What holds for all tests: how long an example of hypothesis takes says how busy the machine is, and nothing more.

Modules and tests are there to the end. Taken out of the garbage collector's sight they cost it nothing any more: some
tenth of the processor time of a run. Numerical libraries have one thread: tests run beside others on few CPUs, and
their data is small. ONNX Runtime sends nothing to its maker.
"""

import gc
import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from threadpoolctl import threadpool_limits

os.environ["ORT_DISABLE_TELEMETRY"] = "1"
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    with threadpool_limits(limits=1):
        yield
