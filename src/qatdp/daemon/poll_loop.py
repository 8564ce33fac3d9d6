"""PollLoop: reads once a second what changes without an event. It is evidence of health, and may make a scan due."""

import asyncio
import time
from collections.abc import Callable
from functools import partial

from qatdp.daemon.health_loop import PfHealth
from qatdp.daemon.state import DeviceState
from qatdp.host.poller import AttributePoller, Values
from qatdp.host.thread import Worker


class PollLoop:
    """`on_change` is called where something has changed that a scan would show, `took` with a poll's seconds."""

    def __init__(
        self,
        node: DeviceState,
        poller: AttributePoller,
        health: PfHealth,
        *,
        period_s: float,
        on_change: Callable[[], None],
        took: Callable[[float], None],
    ) -> None:
        self._node, self._poller, self._health = node, poller, health
        self._period_s, self._on_change, self._took = period_s, on_change, took
        self._worker = Worker("tick")

    async def run(self) -> None:
        """Poll until cancelled."""
        before = None
        while True:
            now = await self.poll()
            if before is not None and now != before:
                self._on_change()
            before = now
            await asyncio.sleep(self._period_s)

    async def poll(self) -> Values:
        """Let the health be judged, and return what may make a scan due."""
        began_s, snapshot = time.perf_counter(), self._node.snapshot
        values = await self._worker.do(partial(self._poller.values, snapshot))
        self._took(time.perf_counter() - began_s)
        self._health.read(self._poller.readings(values, snapshot))
        return self._poller.hints(values)

    def close(self) -> None:
        """Close what is kept open; a read that hangs is left behind."""
        self._worker.submit(self._poller.close)
