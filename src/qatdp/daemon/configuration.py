"""Follows the configuration's file: loads it when it is another one; one that is wrong changes nothing, loudly.

What tells of a change in its folder only makes it look at once: the path can lead anywhere, so it looks now and then
in any case.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from qatdp.core.config import Config
from qatdp.core.config_warnings import config_warnings
from qatdp.daemon.worker import Worker
from qatdp.errors import ConfigError
from qatdp.host import configfile
from qatdp.host.abc import HostCalls

log = logging.getLogger(__name__)

EVENTS_BYTES = 1 << 16


class Configuration:
    """`take` gets each good one. Raises ConfigError where it is made with a file that is wrong."""

    def __init__(self, path: Path | None, period_s: float, calls: HostCalls) -> None:
        self._path, self._period_s, self._calls = path, period_s, calls
        self._worker = Worker("configuration")  # of its own: a look at /sys may hang
        self._seen = configfile.identity(path) if path else None
        self.first = configfile.load(path) if path else Config()
        _warn(self.first)
        self._poked = asyncio.Event()

    def load_anew(self) -> None:
        """Load it although its file seems to be the same."""
        self._seen = None
        self._poked.set()

    async def follow(self, take: Callable[[Config], None]) -> None:
        if self._path is None:
            return
        with _notified(self._path.parent, self._calls, self._poked.set):
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._period_s):
                        await self._poked.wait()
                self._poked.clear()
                if config := await self._changed(self._path):
                    take(config)

    async def _changed(self, path: Path) -> Config | None:
        now = configfile.identity(path)
        if now is None or now == self._seen:
            return None
        self._seen = now
        try:
            config = await self._worker.do(partial(configfile.load, path))
        except ConfigError as error:
            log.error("the configuration is wrong, the last good one stays reason=%r", str(error))
            return None
        log.info("configuration loaded path=%s", path)
        _warn(config)
        return config


def _warn(config: Config) -> None:
    for warning in config_warnings(config):
        log.warning("configuration warning reason=%r", warning)


@contextlib.contextmanager
def _notified(folder: Path, calls: HostCalls, poke: Callable[[], None]) -> Iterator[None]:
    """Have `poke` called when something changes in a folder, as far as that can be had."""
    try:
        descriptor = calls.notify((folder,))
    except OSError as error:
        log.info("changes of the configuration are looked for only now and then reason=%r", str(error))
        yield
        return
    loop = asyncio.get_running_loop()

    def drain() -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(descriptor, EVENTS_BYTES)
        poke()

    loop.add_reader(descriptor, drain)
    try:
        yield
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
