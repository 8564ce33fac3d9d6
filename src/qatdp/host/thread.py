"""One thread for what may take its time or hang (reads and writes of sysfs), so that the event loop never does.

A daemon thread rather than an executor's: the interpreter joins those at exit, and a thread that hangs in the kernel
would keep the process.
"""

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Worker:
    """Does one thing after the other, in the order it was asked."""

    def __init__(self, name: str) -> None:
        self._queue: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def _run(self) -> None:
        while True:
            self._queue.get()()

    def submit(self, work: Callable[[], None]) -> None:
        """Have something done that raises nothing and that nobody waits for."""
        self._queue.put(work)

    async def do(self, work: Callable[[], T]) -> T:
        """Return what the work returns, or raise what it raises."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._queue.put(lambda: _deliver(loop, future, work))
        return await future


def _deliver(loop: asyncio.AbstractEventLoop, future: "asyncio.Future[T]", work: Callable[[], T]) -> None:
    try:
        result = work()
    except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to who waits
        # A future refuses StopIteration, and who waits would wait for ever.
        failure = RuntimeError(repr(error)) if isinstance(error, StopIteration) else error
        _tell(loop, future, lambda: future.set_exception(failure))
    else:
        _tell(loop, future, lambda: future.set_result(result))


def _tell(loop: asyncio.AbstractEventLoop, future: "asyncio.Future[T]", tell: Callable[[], None]) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
        loop.call_soon_threadsafe(lambda: None if future.done() else tell())
