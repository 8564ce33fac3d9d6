"""ScanLoop: scans the node when events say so, and now and then in any case; the result goes to the node's state."""

import asyncio
import logging
import time
from collections.abc import Callable
from functools import partial

from qatdp.daemon.debounce import RescanSchedule
from qatdp.daemon.health_loop import PfHealth
from qatdp.daemon.kubelet_state import KubeletState
from qatdp.daemon.notes import Notes
from qatdp.daemon.scan import ScanAndBind, ScanResult, log_scan
from qatdp.daemon.state import DeviceState
from qatdp.daemon.supervisor import wait
from qatdp.errors import KubeletStateError
from qatdp.host.thread import Worker

log = logging.getLogger(__name__)

SLOW_S = 10.0


class ScanLoop:
    """`period_s`: between two scans at most. `took` is called with the seconds that each scan took."""

    def __init__(
        self,
        node: DeviceState,
        scan: ScanAndBind,
        kubelet: KubeletState,
        health: PfHealth,
        notes: Notes,
        *,
        period_s: float,
        took: Callable[[float], None],
    ) -> None:
        self._node, self._scan, self._kubelet, self._health, self._notes = node, scan, kubelet, health, notes
        self._period_s, self._took = period_s, took
        self._worker = Worker("look")
        self._schedule = RescanSchedule()
        self._requested = asyncio.Event()
        self._waiting: list[asyncio.Future[None]] = []  # for the next scan
        self._checkpoint_is_due = False  # it could not be read when the nodes last changed

    def request(self) -> None:
        """Take note that something has happened: a scan is due soon."""
        self._schedule = self._schedule.event(asyncio.get_running_loop().time())
        self._requested.set()

    async def rescan(self) -> None:
        """Return when a scan that began after this call has been taken in."""
        scanned: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(scanned)
        self.request()
        await scanned

    async def first(self) -> None:
        """Scan once, before anything is published."""
        seen = await self._scan_once()
        self._log(seen)
        self._node.begin(seen.snapshot, seen.unbound)

    async def run(self) -> None:
        """Scan until cancelled."""
        loop = asyncio.get_running_loop()
        last_s = loop.time()
        while True:
            due_s = min(self._schedule.due_s or float("inf"), last_s + self._period_s)
            self._requested.clear()
            if due_s > loop.time():
                await wait(self._requested, due_s - loop.time())
                continue
            self._schedule, last_s = self._schedule.scanned(), loop.time()
            count = len(self._waiting)
            seen = await self._scan_once()
            self._health.expect(seen.snapshot.pfs)
            await self._apply(seen)
            self._release(count)  # not before: a scan that fails is done again

    def _release(self, count: int) -> None:
        for scanned in self._waiting[:count]:
            if not scanned.done():
                scanned.set_result(None)
        del self._waiting[:count]

    async def _scan_once(self) -> ScanResult:
        """Scan; say so where it takes too long, for all that is known stays as it is meanwhile."""
        began_s = time.perf_counter()
        task = asyncio.ensure_future(self._worker.do(partial(self._scan, self._node.config)))
        done, _ = await asyncio.wait((task,), timeout=SLOW_S)
        if not done:
            log.error("sysfs scan still running, serving the last snapshot after_s=%g", SLOW_S)
        seen = await task
        self._took(time.perf_counter() - began_s)
        return seen

    async def _apply(self, seen: ScanResult) -> None:
        self._log(seen)
        if (seen.snapshot, seen.unbound) == (self._node.snapshot, self._node.unbound) and not self._checkpoint_is_due:
            return
        pod_entries = None
        try:  # nodes may have changed hands: see core/pools/stale.py
            if read := await self._kubelet.written():
                pod_entries = read.pod_entries
        except KubeletStateError as error:
            log.warning("stale allocations unknown reason=%r", str(error))
        self._checkpoint_is_due = pod_entries is None
        self._node.scanned(seen.snapshot, seen.unbound, pod_entries)

    def _log(self, seen: ScanResult) -> None:
        log_scan(seen, self._node.snapshot)
        self._notes.look(seen.snapshot)
