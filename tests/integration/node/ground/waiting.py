"""Waits for what other processes do. The one place in these tests that looks at a clock and sleeps."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(what: str, look: Callable[[], T | None], *, timeout_s: float = 60, every_s: float = 0.1) -> T:
    """Return the first true value that look() gives.

    Raises TimeoutError, naming what was waited for and the last value seen.
    """
    end = time.monotonic() + timeout_s
    while not (value := look()):
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {timeout_s:g} s, last seen: {value!r}")
        time.sleep(every_s)
    return value


def until_equal(what: str, look: Callable[[], T], wanted: T, *, timeout_s: float = 60, every_s: float = 0.1) -> None:
    """Wait until look() gives the wanted value. Raises AssertionError, which shows both."""
    end = time.monotonic() + timeout_s
    while (seen := look()) != wanted and time.monotonic() < end:
        time.sleep(every_s)
    assert seen == wanted, f"{what}: not within {timeout_s:g} s"


def throughout(what: str, look: Callable[[], T], wanted: T, *, duration_s: float, every_s: float = 0.1) -> None:
    """Check that look() goes on giving the wanted value for a while."""
    end = time.monotonic() + duration_s
    while time.monotonic() < end:
        assert look() == wanted, f"{what}: no more"
        time.sleep(every_s)
