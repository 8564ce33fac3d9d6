"""How Hypothesis runs here: the machines that run this are shared, so no example fails for being slow."""

from hypothesis import HealthCheck, settings

settings.register_profile("core", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("core")
