"""How Hypothesis runs here: without a deadline per example, as the machines that run this are shared."""

from hypothesis import settings

settings.register_profile("core", deadline=None)
settings.load_profile("core")
