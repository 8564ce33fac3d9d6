"""Waits for what others do. The one place in these tests that looks at a clock and sleeps."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

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


@asynccontextmanager
async def bounded(what: str, timeout_s: float) -> AsyncIterator[None]:
    """Bound what is done in the context. The error tells what each task waited for when its time was over."""
    seen: list[str] = []
    timer = asyncio.get_running_loop().call_later(timeout_s, lambda: seen.extend(map(_where, asyncio.all_tasks())))
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except TimeoutError as error:
        raise AssertionError("\n".join((f"{what}: not within {timeout_s:g} s; tasks:", *sorted(seen)))) from error
    finally:
        timer.cancel()


def _where(task: asyncio.Task[Any]) -> str:
    """Return a task's name, and the places from which it waits, the innermost last."""
    places: list[str] = []
    awaited: object = task.get_coro()
    while awaited is not None:
        frame = getattr(awaited, "cr_frame", None) or getattr(awaited, "ag_frame", None)
        places.append(f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame else repr(awaited))
        awaited = getattr(awaited, "cr_await", None) or getattr(awaited, "ag_await", None)
    return f"{task.get_name()}: {' > '.join(places)}"


async def pause(duration_s: float) -> None:
    """Let others run for a while, of which nothing is expected."""
    await asyncio.sleep(duration_s)


async def _look(look: Callable[[], object]) -> object:
    """Return what look() gives, which may be a coroutine function."""
    value = look()
    return await value if inspect.isawaitable(value) else value
