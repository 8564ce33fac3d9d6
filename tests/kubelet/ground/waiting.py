"""Waits for what others do. The one place in these tests that looks at a clock and sleeps."""

import asyncio
import inspect
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

EVERY_S = 0.005


def now_s() -> float:
    return asyncio.get_running_loop().time()


async def until(what: str, look: Callable[[], T], *, timeout_s: float = 10, every_s: float = EVERY_S) -> T:
    """Return the first true value that look() gives.

    Raises TimeoutError, naming what was waited for and the last value seen.
    """
    end_s = now_s() + timeout_s
    while not (value := look()):
        if now_s() > end_s:
            raise TimeoutError(f"{what}: not within {timeout_s:g} s, last seen: {value!r}")
        await asyncio.sleep(every_s)
    return value


async def until_equal(
    what: str, look: Callable[[], object], wanted: object, *, timeout_s: float = 10, every_s: float = EVERY_S
) -> None:
    """Wait until look() gives the wanted value. Raises AssertionError, which shows both."""
    end_s = now_s() + timeout_s
    while (seen := await _look(look)) != wanted:
        assert now_s() < end_s, f"{what}: not within {timeout_s:g} s: {seen!r}, wanted {wanted!r}"
        await asyncio.sleep(every_s)


async def throughout(
    what: str, look: Callable[[], object], wanted: object, *, duration_s: float, every_s: float = EVERY_S
) -> None:
    """Check that look() goes on giving the wanted value for a while."""
    end_s = now_s() + duration_s
    while now_s() < end_s:
        seen = await _look(look)
        assert seen == wanted, f"{what}: no more: {seen!r}, wanted {wanted!r}"
        await asyncio.sleep(every_s)


async def pause(duration_s: float) -> None:
    """Let others run for a while, of which nothing is expected."""
    await asyncio.sleep(duration_s)


async def _look(look: Callable[[], object]) -> object:
    """Return what look() gives, which may be a coroutine function."""
    value = look()
    return await value if inspect.isawaitable(value) else value
