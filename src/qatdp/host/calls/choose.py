"""Chooses the implementation of HostCalls: C where it was compiled, Python where not, or what QATDP_IMPL says."""

import os
from functools import cache

from qatdp.errors import ConfigError
from qatdp.host.calls.abc import HostCalls
from qatdp.host.calls.portable import PortableCalls

VARIABLE = "QATDP_IMPL"
IMPLEMENTATIONS = ("c", "python")


@cache
def compiled_calls() -> HostCalls | None:
    """Return those in C; None where this installation was made without a C compiler."""
    try:
        from qatdp.host.calls.native import NativeCalls  # noqa: PLC0415 - it need not be there
    except ImportError:
        return None
    return NativeCalls()


def host_calls() -> HostCalls:
    """Return the calls to use; raises ConfigError where those that are asked for are not there."""
    wanted = os.environ.get(VARIABLE, "")
    if wanted not in ("", *IMPLEMENTATIONS):
        raise ConfigError(VARIABLE, f"expected 'c' or 'python', got {wanted!r}")
    compiled = compiled_calls()
    if wanted == "c" and compiled is None:
        raise ConfigError(VARIABLE, "the C helper is not installed", hint="install qatdp where there is a C compiler")
    return PortableCalls() if wanted == "python" or compiled is None else compiled
