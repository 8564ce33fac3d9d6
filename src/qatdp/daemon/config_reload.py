"""Follows the configuration's file: loads it when it is another one; one that is wrong changes nothing, loudly.

At the start there is none to go on with, so the first good one is waited for: to end would take the names of running
pods from the kubelet (core/pools/provisional.py), and a ConfigMap can be mended, or come, while this runs.

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

from qatdp import configfile
from qatdp.core.config.model import Config
from qatdp.core.config.warnings import config_warnings
from qatdp.errors import ConfigError
from qatdp.host.calls.abc import HostCalls
from qatdp.host.thread import Worker

log = logging.getLogger(__name__)

EVENTS_BYTES = 1 << 16
UNTIL_RIGHT, STAYS = "nothing is offered until it is valid", "keeping the previous one"


class Configuration:
    """`wrong` tells why the file cannot be gone by as it is, None where it can, and where there is none."""

    def __init__(self, path: Path | None, period_s: float, calls: HostCalls) -> None:
        self._path, self._period_s, self._calls = path, period_s, calls
        self._worker = Worker("configuration")  # of its own: a look at /sys may hang
        self._seen: configfile.Identity = None
        self._poked = asyncio.Event()
        self.wrong = f"{path} has not been read yet" if path else None

    def load_anew(self) -> None:
        """Load it although its file seems to be the same."""
        self._seen = None
        self._poked.set()

    async def first(self) -> Config:
        """Return the first valid configuration; wait while the file is invalid or missing."""
        if self._path is None:
            return Config()
        self._seen = configfile.identity(self._path)
        if config := await self._loaded(self._path, UNTIL_RIGHT):
            return config
        with _notified(self._path.parent, self._calls, self._poked.set):
            while True:
                await self._period()
                if config := await self._changed(self._path, UNTIL_RIGHT):
                    return config

    async def follow(self, take: Callable[[Config], None]) -> None:
        """Have each good one taken that comes after the first."""
        if self._path is None:
            return
        with _notified(self._path.parent, self._calls, self._poked.set):
            while True:
                await self._period()
                if config := await self._changed(self._path, STAYS):
                    take(config)

    async def _period(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._period_s):
                await self._poked.wait()
        self._poked.clear()

    async def _changed(self, path: Path, meanwhile: str) -> Config | None:
        now = configfile.identity(path)
        if now is None or now == self._seen:
            return None
        self._seen = now
        config = await self._loaded(path, meanwhile)
        if config:
            log.info("configuration loaded path=%s", path)
        return config

    async def _loaded(self, path: Path, meanwhile: str) -> Config | None:
        try:
            config = await self._worker.do(partial(configfile.load, path))
        except ConfigError as error:
            before, self.wrong = self.wrong, str(error)
            if isinstance(error.__cause__, OSError):  # what kept it from being read can be over without any trace
                self._seen = None
            if self._seen or self.wrong != before:
                log.error("invalid configuration, %s path=%s reason=%r", meanwhile, path, self.wrong)
            return None
        self.wrong = None
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
        log.info("cannot watch the configuration, polling it instead reason=%r", str(error))
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
