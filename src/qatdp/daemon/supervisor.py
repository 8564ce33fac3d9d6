"""Supervisor: named tasks, each of which is started again where it fails, after a pause that grows.

None of them takes an endpoint down with it.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)

PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0


class Supervisor:
    """Keeps tasks going until `stop` is called."""

    def __init__(self) -> None:
        self._stop = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._group: asyncio.TaskGroup | None = None

    @property
    def is_stopping(self) -> bool:
        return self._stop.is_set()

    def stop(self) -> None:
        self._stop.set()

    async def run(self, begin: Callable[[], None]) -> None:
        """Let `begin` start the first tasks, and keep all that are started until stopped."""
        async with asyncio.TaskGroup() as self._group:
            begin()
            await self._stop.wait()
            for task in self._tasks:
                task.cancel()

    def start(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        assert self._group is not None
        self._tasks.append(self._group.create_task(self.keep(name, work), name=name))

    async def keep(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Do the work; where it fails, log that and do it again after a pause."""
        pause_s = PAUSE_S
        while not self._stop.is_set():
            try:
                await work()
            except Exception:
                log.exception("task failed, restarting task=%s in_s=%g", name, pause_s)
            else:
                return
            await wait(self._stop, pause_s)
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)


async def wait(event: asyncio.Event, timeout_s: float) -> None:
    """Wait for an event, or for so long."""
    # Not wait_for: up to Python 3.11 it loses a cancellation that comes as it times out (python/cpython#86296).
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await event.wait()
