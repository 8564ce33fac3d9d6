"""How all fast tests run: with which implementation of HostCalls (QATDP_IMPL chooses; unit/host runs with both), and
with no example of Hypothesis failing for being slow, as the machines that run this are shared."""

import os

import pytest
from hypothesis import HealthCheck, settings

from qatdp.host.calls.abc import HostCalls
from qatdp.host.calls.choose import compiled_calls, host_calls

# Few examples, but others in each run; PROFILE=nightly tries many (make test-nightly).
settings.register_profile("fast", deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=40)
FAST = settings.get_profile("fast")
settings.register_profile("nightly", parent=FAST, max_examples=1000)
# Always the same: a mutant that is found by chance would be found in one run and not in the next.
settings.register_profile("mutation", parent=FAST, max_examples=25, derandomize=True, database=None)
MUTATION = "MUTANT_UNDER_TEST" in os.environ
settings.load_profile("mutation" if MUTATION else os.environ.get("PROFILE", "fast"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Try a mutant by properties last: most are found by one example, and the first that fails ends it."""
    if MUTATION:
        items.sort(key=lambda item: getattr(getattr(item, "function", None), "is_hypothesis_test", False))


@pytest.fixture
def c() -> HostCalls:
    """The implementation in C, where it was compiled."""
    calls = compiled_calls()
    if calls is None:
        pytest.skip("the C helper was not compiled")
    return calls


def pytest_report_header() -> str:
    return f"host calls: {host_calls().name}"
