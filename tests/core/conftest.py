"""How Hypothesis runs here: the machines that run this are shared, so no example fails for being slow."""

import os

from hypothesis import HealthCheck, settings

settings.register_profile("core", deadline=None, suppress_health_check=[HealthCheck.too_slow])

# Few examples, and always the same: a mutant that is found by chance would be found in one run and not in the next.
CORE = settings.get_profile("core")
settings.register_profile("mutation", parent=CORE, max_examples=25, derandomize=True, database=None)
settings.load_profile("mutation" if "MUTANT_UNDER_TEST" in os.environ else "core")
