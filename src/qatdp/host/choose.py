"""Chooses the implementation of HostCalls. There is one; the C helper's place is here."""

from qatdp.host.abc import HostCalls
from qatdp.host.portable import PortableCalls


def host_calls() -> HostCalls:
    return PortableCalls()
