"""What holds for all tests: how long an example of hypothesis takes says how busy the machine is, and nothing more."""

from hypothesis import HealthCheck, settings

settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")
