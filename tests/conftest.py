"""How all fast tests run: with which implementation of HostCalls (QATDP_IMPL chooses; tests/host runs with both), and
with no example of Hypothesis failing for being slow, as the machines that run this are shared."""

from hypothesis import HealthCheck, settings

from qatdp.host.choose import host_calls

settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")


def pytest_report_header() -> str:
    return f"host calls: {host_calls().name}"
