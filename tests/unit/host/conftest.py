"""A simulated node for each test, and an alarm: nothing in here may wait for anything."""

import signal
from collections.abc import Iterator
from types import FrameType

import pytest

from qatdp.host.calls.abc import HostCalls
from qatdp.host.calls.choose import IMPLEMENTATIONS, VARIABLE, compiled_calls, host_calls
from qatdp.simulator.host.node import FakeHost, fake_host

LONGEST_S = 60


@pytest.fixture
def host() -> Iterator[FakeHost]:
    with fake_host() as host:
        yield host


@pytest.fixture(params=IMPLEMENTATIONS)
def calls(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> HostCalls:
    """Each implementation of HostCalls, which is also the one that is chosen meanwhile."""
    if request.param == "c" and compiled_calls() is None:
        pytest.skip("the C helper was not compiled")
    monkeypatch.setenv(VARIABLE, request.param)
    return host_calls()


@pytest.fixture(autouse=True)
def alarm() -> Iterator[None]:
    """Fail a test that hangs, in the open of a FIFO for instance, where it hangs."""
    before = signal.signal(signal.SIGALRM, _hangs)
    signal.alarm(LONGEST_S)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def _hangs(_number: int, _frame: FrameType | None) -> None:
    pytest.fail(f"still not done after {LONGEST_S} s")
