"""A page that takes its time, made once a second at most, in a thread, whoever asks and how often.

So a page can be a second old. What it shows is of one moment all the same: the event loop takes that, and the thread
makes a text of it.
"""

import asyncio
import sys
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor

from qatdp.pages.http import Answer

PERIOD_S = 1.0
# Before a page goes out that was made for somebody else: so a connection, of which there are few, gets ten a second.
AGAIN_S = 0.1
# A tenth of what the interpreter has by default. A thread that makes a page holds its lock for as long, each time that
# the event loop wants it; an Allocate wants it several times, and takes a millisecond. Not for good: where threads that
# scan compete for the lock, to switch so often costs more than it gains (ten times as long a line of the log, in an
# emulated guest).
SWITCH_S = 0.0005


def render_thread() -> Executor:
    """Return one thread for all pages: while one is made, no other takes the interpreter's lock as well."""
    return ThreadPoolExecutor(1, thread_name_prefix="pages")


class Rendering:
    """`take` is called on the event loop, at once; what it returns makes the page, in the thread."""

    def __init__(self, take: Callable[[], Callable[[], Answer]], thread: Executor, period_s: float = PERIOD_S) -> None:
        self._take, self._thread, self._period_s = take, thread, period_s
        self._last: asyncio.Task[Answer] | None = None
        self._due_s = 0.0

    async def __call__(self) -> Answer:
        """Return the page in memory, or render it again if it is older than a period. Errors are kept as long.

        The last one only after a pause, so that those who ask over and over keep nobody else waiting.
        """
        loop = asyncio.get_running_loop()
        if self._last is None or (self._last.done() and loop.time() >= self._due_s):
            self._due_s = loop.time() + self._period_s
            self._last = loop.create_task(self._made())
        elif self._last.done():
            await asyncio.sleep(min(AGAIN_S, self._period_s))
        return await asyncio.shield(self._last)  # who leaves takes it from nobody

    async def _made(self) -> Answer:
        return await asyncio.get_running_loop().run_in_executor(self._thread, _yielding, self._take())


def _yielding(make: Callable[[], Answer]) -> Answer:
    """Make a page, and let the event loop have the interpreter's lock sooner meanwhile."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_S)
    try:
        return make()
    finally:
        sys.setswitchinterval(before)
