"""The daemon: its named tasks, how they begin, and how they end.

Each task is started again where it fails, after a pause: none of them takes an endpoint down with it.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial

from qatdp.core.config.model import Config
from qatdp.core.pools.pools import ResourcePool
from qatdp.daemon.admissions import Admissions
from qatdp.daemon.checkpoint_reader import CheckpointReader
from qatdp.daemon.config_reload import Configuration
from qatdp.daemon.debounce import RescanSchedule
from qatdp.daemon.events import listen
from qatdp.daemon.health_loop import PfHealth
from qatdp.daemon.holders import Holders
from qatdp.daemon.notes import Notes
from qatdp.daemon.open_vf_poller import OpenVfPoller
from qatdp.daemon.pod_lists import PodLists
from qatdp.daemon.reconciler import PfReconciler
from qatdp.daemon.release_loop import Release
from qatdp.daemon.reporter import Status
from qatdp.daemon.scan import ScanAndBind, ScanResult, log_look
from qatdp.daemon.settings import Settings
from qatdp.daemon.stand_in import StandIn
from qatdp.daemon.state import DeviceState
from qatdp.errors import KubeletStateError
from qatdp.feed import Feed
from qatdp.host.calls.abc import HostCalls
from qatdp.host.calls.watchdog import WatchdogCalls
from qatdp.host.enabled import EnabledFunctions, EnabledNow
from qatdp.host.poller import AttributePoller, Values
from qatdp.host.thread import Worker
from qatdp.kubelet import watch
from qatdp.kubelet.endpoint import Endpoint
from qatdp.kubelet.lifecycle import Event
from qatdp.kubelet.podresources import Named, PodResources
from qatdp.kubelet.registration import KUBELET_SOCKET, remove_stale_sockets

log = logging.getLogger(__name__)

PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0
SLOW_S = 10.0


class Daemon:
    """Serves a node until `stop` is called. Everything but the looks of the worker happens on its event loop.

    What keeps it from coming up does not end it: pods that run need it to be there (core/pools/provisional.py).
    """

    def __init__(self, settings: Settings, calls: HostCalls) -> None:
        self._settings = settings
        bulk = WatchdogCalls(calls, calls, settings.patience)
        self._look = ScanAndBind(settings.sysfs, settings.dev, calls, settings.bind, bulk)
        self._at_tick = AttributePoller(settings.sysfs, bulk)
        self._opened, self._open_now = EnabledFunctions(settings.sysfs, bulk), EnabledNow(settings.sysfs, calls)
        self._worker, self._tick_worker = Worker("look"), Worker("tick")
        self._bulk = bulk
        self._pod_resources = PodResources(settings.pod_resources)
        self._configuration = Configuration(settings.config, settings.tick_s, calls)
        self.node = DeviceState(Config(), self._serve)
        self.endpoints: dict[str, Endpoint] = {}
        self.health = PfHealth(settings.sysfs, calls, bulk, self.node, settings.health, heartbeat=settings.heartbeat)
        self._checkpoint = CheckpointReader(settings.plugins)
        self._holders = Holders(self._checkpoint, settings.pod_logs, settings.tick_s)
        self.status = Status(
            settings, calls.name, self.node, self.endpoints, self._holders, self.health, self._configuration
        )
        self._notes = Notes(keeps_files=calls.name == "c")
        self._kubelet_is_up = False
        self._schedule = RescanSchedule()
        self._poked = asyncio.Event()
        self._due: list[asyncio.Future[None]] = []  # who waits for the next look
        self._checkpoint_is_due = False  # it could not be read when the nodes last changed
        self._stop = asyncio.Event()
        self._tasks: asyncio.TaskGroup | None = None
        self._running: list[asyncio.Task[None]] = []

    def stop(self) -> None:
        """Let `run` come to its end: streams are closed, nothing is withdrawn."""
        self._stop.set()

    def request_scan(self) -> None:
        """Take note that something has happened: a rescan is due."""
        self._schedule = self._schedule.event(asyncio.get_running_loop().time())
        self._poked.set()

    async def look(self) -> None:
        """Return when a look that began after this call has been taken in."""
        looked: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._due.append(looked)
        self.request_scan()
        await looked

    def reload(self) -> None:
        """Look at everything again, also at a configuration whose file seems to be the same."""
        self._configuration.load_anew()
        self.request_scan()

    async def run(self) -> None:
        """Serve until stopped. What it knows is shown from the beginning to the end."""
        pages = [asyncio.create_task(self._supervise(name, work)) for name, work in self.status.tasks.items()]
        try:
            await self._run()
        finally:
            for task in pages:
                task.cancel()
            await asyncio.gather(*pages, return_exceptions=True)
            self.health.close()
            self._tick_worker.leave(self._at_tick.close)

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as self._tasks:
            self._start("kubelet", self._watch_kubelet)
            self._start("begin", self._bootstrap)
            stand_in = StandIn(
                self._settings, self.node, self._pod_resources, self._checkpoint, lambda: self.status.obstacle
            )
            self._start("stand-in", stand_in.run)
            await self._stop.wait()
            for task in self._running:
                task.cancel()

    def _open_vfs(self) -> OpenVfPoller:
        return OpenVfPoller(self.node, self._checkpoint, self._settings.sysfs, self._bulk, self._settings.opened)

    def _release(self) -> Release:
        if not self._settings.lists:
            log.info("PodResources List is off: VFs of ended pods are withheld until the kubelet admits another pod")
        pace, allowed = self._settings.pace, self._settings.lists
        lists = PodLists(self.node, self._pod_resources, pace, self.status.metrics, allowed=allowed)
        return Release(
            self.node, self._pod_resources, self._checkpoint, lists, self._holders, self._opened, self._settings.pace
        )

    async def _bootstrap(self) -> None:
        """Come up; where that fails, say so to who asks. Whoever runs this tries again."""
        try:
            await self._load()
            self._begun()
        except Exception as error:
            self.status.failure = f"the start has failed, and is tried again: {error!r}"
            raise

    async def _load(self) -> None:
        """Look at the node and at the kubelet's state, before any list is made of them."""
        for path in remove_stale_sockets(self._settings.plugins):
            log.info("removed stale socket path=%s", path)
        self.node.config = await self._configuration.first()
        seen = await self._warn_if_slow(self._scan_once())
        self._log_look(seen)
        self.node.begin(seen.snapshot, seen.unbound)
        with contextlib.suppress(TimeoutError):  # then the probes tell which PF it is
            async with asyncio.timeout(self._settings.health.deadline_s):
                await self._read_watched()
        await self.health.first_answers(seen.snapshot.pfs)
        await self._read_books()

    def _begun(self) -> None:
        self.node.serve()
        self.status.has_begun = True
        self._start("scan", self._scan)
        self._start("tick", self._tick)
        self._start("health", self.health.run)
        if self._settings.listen_to_uevents:
            self._start("uevents", partial(listen, self.request_scan, self._settings.scan_period_s))
        self._start("configuration", partial(self._configuration.follow, self._configured))
        self._start("release", self._release().run)
        self._start("open vfs", self._open_vfs().run)
        self._start("admissions", Admissions(self.node, self._checkpoint, self._settings.pace).run)
        self._start("books", self._read_unread_books)
        self._start("holders", self._holders.run)
        if self._settings.provision:
            self._start("provision", PfReconciler(self.node, self._settings.provision, self.look).run)

    async def _read_books(self) -> None:
        """Read the kubelet's state. What only the checkpoint names must not be offered while that cannot be read."""
        offered = await self._offered()
        unread = self.node.unread
        try:
            pod_entries, self.node.unread = (await self._checkpoint.read()).pod_entries, None
        except KubeletStateError as error:
            pod_entries, self.node.unread = self.node.pod_entries, str(error)
            if unread != self.node.unread:
                log.error("kubelet checkpoint unreadable, new VFs are withheld reason=%r", str(error))
        in_checkpoint = {(device, pod_entry.resource) for pod_entry in pod_entries for device in pod_entry.devices}
        self.node.adopt(in_checkpoint, offered, pod_entries)

    async def _read_unread_books(self) -> None:
        """Read the ledger again until they could be read."""
        while self.node.unread:
            await asyncio.sleep(self._settings.tick_s)
            await self._read_books()

    async def _offered(self) -> Named:
        """Return what the kubelet may hand out, if it can be asked."""
        try:
            return await self._pod_resources.offered()
        except KubeletStateError as error:
            log.info("PodResources not available yet, using the checkpoint reason=%r", str(error))
            return frozenset()

    def _start(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        assert self._tasks is not None
        self._running.append(self._tasks.create_task(self._supervise(name, work), name=name))

    async def _supervise(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Do the work; where it fails, say so and do it again after a pause that grows."""
        pause_s = PAUSE_S
        while not self._stop.is_set():
            try:
                await work()
            except Exception:
                log.exception("task failed, restarting task=%s in_s=%g", name, pause_s)
            else:
                return
            await _wait(self._stop, pause_s)
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)

    # Tasks

    def _serve(self, feed: Feed[ResourcePool]) -> None:
        """Begin to serve a resource that was not served before; it is served from then on."""
        if self._stop.is_set():
            return
        endpoint = Endpoint(
            feed,
            self._settings.plugins,
            self.node,
            self._settings.timing,
            self.status.metrics,
            open_now=self._open_now,
            closing=self._settings.closing,
        )
        self.endpoints[endpoint.resource] = endpoint
        self._start(endpoint.resource, lambda: endpoint.run(lambda: self._kubelet_is_up))

    async def _watch_kubelet(self) -> None:
        if watch.identity(self._settings.plugins) is None:
            log.info("waiting for the kubelet path=%s", self._settings.plugins / KUBELET_SOCKET)
        async for event in watch.watch(self._settings.plugins, period_s=self._settings.watch_s):
            self._kubelet_is_up = event is Event.KUBELET_UP
            log.info("kubelet is=%s", "up" if self._kubelet_is_up else "gone")
            for endpoint in self.endpoints.values():
                endpoint.kubelet_event(event)

    async def _scan(self) -> None:
        """Scan when events say so, and now and then in any case."""
        loop = asyncio.get_running_loop()
        last_s = loop.time()
        while True:
            due_s = min(self._schedule.due_s or float("inf"), last_s + self._settings.scan_period_s)
            self._poked.clear()
            if due_s > loop.time():
                await _wait(self._poked, due_s - loop.time())
                continue
            self._schedule, last_s = self._schedule.scanned(), loop.time()
            due = len(self._due)
            seen = await self._warn_if_slow(self._scan_once())
            self.health.expect(seen.snapshot.pfs)
            await self._apply_scan(seen)
            for looked in self._due[:due]:  # not before: a look that fails is done again
                if not looked.done():
                    looked.set_result(None)
            del self._due[:due]

    async def _scan_once(self) -> ScanResult:
        began_s = time.perf_counter()
        seen = await self._worker.do(partial(self._look, self.node.config))
        self.status.scanned(time.perf_counter() - began_s)
        return seen

    async def _apply_scan(self, seen: ScanResult) -> None:
        self._log_look(seen)
        if (seen.snapshot, seen.unbound) == (self.node.snapshot, self.node.unbound) and not self._checkpoint_is_due:
            return
        pod_entries = None
        try:  # nodes may have changed hands: see core/pools/stale.py
            read = await self._checkpoint.read()
            if read.identity is not None:  # else it was removed by somebody, or never written: that says nothing
                pod_entries = read.pod_entries
        except KubeletStateError as error:
            log.warning("stale allocations unknown reason=%r", str(error))
        self._checkpoint_is_due = pod_entries is None
        self.node.scanned(seen.snapshot, seen.unbound, pod_entries)

    async def _warn_if_slow(self, look: Awaitable[ScanResult]) -> ScanResult:
        """Wait for a look; say so where it takes too long, for all that is known stays as it is meanwhile."""
        task = asyncio.ensure_future(look)
        done, _ = await asyncio.wait((task,), timeout=SLOW_S)
        if not done:
            log.error("sysfs scan still running, serving the last snapshot after_s=%g", SLOW_S)
        return await task

    def _log_look(self, seen: ScanResult) -> None:
        log_look(seen, self.node.snapshot)
        self._notes.look(seen.snapshot)

    async def _tick(self) -> None:
        """Look every second at what changes without an event."""
        before = None
        while True:
            now = await self._read_watched()
            if before is not None and now != before:
                self.request_scan()
            before = now
            await asyncio.sleep(self._settings.tick_s)

    async def _read_watched(self) -> Values:
        """Let the health be judged, and return what may make a rescan due."""
        began_s, snapshot = time.perf_counter(), self.node.snapshot
        values = await self._tick_worker.do(partial(self._at_tick.values, snapshot))
        self.status.metrics.ticked(time.perf_counter() - began_s)
        self.health.read(self._at_tick.readings(values, snapshot))
        return self._at_tick.hints(values)

    def _configured(self, config: Config) -> None:
        self.node.configured(config)
        self.request_scan()  # other VFs may be wanted, and are to be bound


async def _wait(event: asyncio.Event, timeout_s: float) -> None:
    # Not wait_for: up to Python 3.11 it loses a cancellation that comes as it times out (python/cpython#86296).
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await event.wait()
