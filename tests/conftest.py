"""What holds for all tests: how long an example of hypothesis takes says how busy the machine is, and nothing more.

Modules and tests are there to the end. Taken out of the garbage collector's sight they cost it nothing any more: some
tenth of the processor time of a run.
"""

import gc

from hypothesis import HealthCheck, settings

settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()
