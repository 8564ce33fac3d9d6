"""Says which implementation of HostCalls the tests run with; QATDP_IMPL chooses. tests/host runs with both."""

from qatdp.host.choose import host_calls


def pytest_report_header() -> str:
    return f"host calls: {host_calls().name}"
