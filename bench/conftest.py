"""Made nodes of two sizes, in memory, and each implementation of HostCalls."""

from collections.abc import Iterator

import pytest

from qatdp.host.calls.abc import HostCalls
from qatdp.host.calls.choose import IMPLEMENTATIONS, VARIABLE, compiled_calls, host_calls
from qatdp.simulator.host.node import FakeHost, fake_host


@pytest.fixture(scope="session", params=[8, 64], ids=lambda pfs: f"{pfs * 16}-vfs")
def host(request: pytest.FixtureRequest) -> Iterator[FakeHost]:
    """A large machine of today (8 PFs with 16 VFs each), and more than is documented of any (64)."""
    with fake_host(cdevs=True) as host:
        host.fill(pfs=request.param)
        yield host


@pytest.fixture(params=IMPLEMENTATIONS)
def calls(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> HostCalls:
    if request.param == "c" and compiled_calls() is None:
        pytest.skip("the C helper was not compiled")
    monkeypatch.setenv(VARIABLE, request.param)
    return host_calls()
