"""Takes the kernel's events as hints that something has changed. Where none are to be had, the slow scan has to do."""

import asyncio
import logging
from collections.abc import Callable

from qatdp.host import uevents

log = logging.getLogger(__name__)


async def listen(hint: Callable[[], None], scan_period_s: float) -> None:
    """Give a hint whenever the kernel tells of QAT's functions; return where it cannot be heard."""
    try:
        monitor = uevents.listen()
    except OSError as error:
        log.warning("no kernel events, polling instead every_s=%g reason=%r", scan_period_s, str(error))
        return
    await follow(monitor, hint)


async def follow(monitor: uevents.Monitor, hint: Callable[[], None]) -> None:
    """Give a hint for each portion of what comes that matters, and let everybody else go on between two of them."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(monitor.fileno(), readable.set)
    try:
        while True:
            await readable.wait()
            readable.clear()
            if uevents.drain(monitor):
                hint()
    finally:
        loop.remove_reader(monitor.fileno())
