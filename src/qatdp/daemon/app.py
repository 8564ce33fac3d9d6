"""Daemon: the composition root. It makes the parts, ties them together, and starts them as named tasks."""

import asyncio
import contextlib
import logging
from functools import partial

from qatdp.core.config.model import Config
from qatdp.core.pools.pools import ResourcePool
from qatdp.daemon.admissions import Admissions
from qatdp.daemon.config_reload import Configuration
from qatdp.daemon.events import listen
from qatdp.daemon.health_loop import PfHealth
from qatdp.daemon.holders import Holders
from qatdp.daemon.kubelet_state import KubeletState
from qatdp.daemon.notes import Notes
from qatdp.daemon.open_vf_poller import OpenVfPoller
from qatdp.daemon.pod_lists import PodLists
from qatdp.daemon.poll_loop import PollLoop
from qatdp.daemon.reconciler import PfReconciler
from qatdp.daemon.release_loop import Release
from qatdp.daemon.reporter import Status
from qatdp.daemon.scan import ScanAndBind
from qatdp.daemon.scan_loop import ScanLoop
from qatdp.daemon.settings import Settings
from qatdp.daemon.stand_in import StandIn
from qatdp.daemon.state import DeviceState
from qatdp.daemon.supervisor import Supervisor
from qatdp.feed import Feed
from qatdp.host.calls.abc import HostCalls
from qatdp.host.calls.watchdog import WatchdogCalls
from qatdp.host.enabled import EnabledFunctions, EnabledNow
from qatdp.host.poller import AttributePoller
from qatdp.kubelet import watch
from qatdp.kubelet.endpoint import Endpoint
from qatdp.kubelet.lifecycle import Event
from qatdp.kubelet.registration import KUBELET_SOCKET, remove_stale_sockets

log = logging.getLogger(__name__)


class Daemon:
    """Serves a node until `stop` is called. All but what is read in threads happens on its event loop.

    What keeps it from coming up does not end it: pods that run need it to be there (core/pools/provisional.py).
    """

    def __init__(self, settings: Settings, calls: HostCalls) -> None:
        self._settings = settings
        bulk = WatchdogCalls(calls, calls, settings.patience)
        self._supervisor = Supervisor()
        self._configuration = Configuration(settings.config, settings.tick_s, calls)
        self.node = DeviceState(Config(), self._serve)
        self.endpoints: dict[str, Endpoint] = {}
        self._kubelet = KubeletState(settings.plugins, settings.pod_resources)
        self._kubelet_is_up = False
        self.health = PfHealth(settings.sysfs, calls, bulk, self.node, settings.health, heartbeat=settings.heartbeat)
        self._holders = Holders(self._kubelet, settings.pod_logs, settings.tick_s)
        self.status = Status(
            settings, calls.name, self.node, self.endpoints, self._holders, self.health, self._configuration
        )
        self._scans = ScanLoop(
            self.node,
            ScanAndBind(settings.sysfs, settings.dev, calls, settings.bind, bulk),
            self._kubelet,
            self.health,
            Notes(keeps_files=calls.name == "c"),
            period_s=settings.scan_period_s,
            took=self.status.scanned,
        )
        self._polls = PollLoop(
            self.node,
            AttributePoller(settings.sysfs, bulk),
            self.health,
            period_s=settings.tick_s,
            on_change=self._scans.request,
            took=self.status.metrics.ticked,
        )
        self._open_now = EnabledNow(settings.sysfs, calls)
        self._open_vfs = OpenVfPoller(self.node, self._kubelet, settings.sysfs, bulk, settings.opened)
        self._release = self._make_release(EnabledFunctions(settings.sysfs, bulk))

    def _make_release(self, opened: EnabledFunctions) -> Release:
        pace, allowed = self._settings.pace, self._settings.lists
        lists = PodLists(self.node, self._kubelet.pod_resources, pace, self.status.metrics, allowed=allowed)
        return Release(self.node, self._kubelet, lists, self._holders, opened, pace)

    def stop(self) -> None:
        """Let `run` come to its end: streams are closed, nothing is withdrawn."""
        self._supervisor.stop()

    def request_scan(self) -> None:
        """Take note that something has happened: a scan is due soon."""
        self._scans.request()

    def reload(self) -> None:
        """Look at everything again, also at a configuration whose file seems to be the same."""
        self._configuration.load_anew()
        self._scans.request()

    async def run(self) -> None:
        """Serve until stopped. What it knows is shown from the beginning to the end."""
        pages = [asyncio.create_task(self._supervisor.keep(name, work)) for name, work in self.status.tasks.items()]
        try:
            await self._supervisor.run(self._start)
        finally:
            for task in pages:
                task.cancel()
            await asyncio.gather(*pages, return_exceptions=True)
            self.health.close()
            self._polls.close()

    # The start

    def _start(self) -> None:
        stand_in = StandIn(self._settings, self.node, self._kubelet, lambda: self.status.obstacle)
        self._supervisor.start("kubelet", self._watch_kubelet)
        self._supervisor.start("begin", self._bootstrap)
        self._supervisor.start("stand-in", stand_in.run)

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
        await self._scans.first()
        with contextlib.suppress(TimeoutError):  # then the probes tell which PF it is
            async with asyncio.timeout(self._settings.health.deadline_s):
                await self._polls.poll()
        await self.health.first_answers(self.node.snapshot.pfs)
        await self._kubelet.load(self.node)

    def _begun(self) -> None:
        settings, start = self._settings, self._supervisor.start
        self.node.serve()
        self.status.has_begun = True
        start("scan", self._scans.run)
        start("tick", self._polls.run)
        start("health", self.health.run)
        if settings.listen_to_uevents:
            start("uevents", partial(listen, self._scans.request, settings.scan_period_s))
        start("configuration", partial(self._configuration.follow, self._configured))
        if not settings.lists:
            log.info("PodResources List is off: VFs of ended pods are withheld until the kubelet admits another pod")
        start("release", self._release.run)
        start("open vfs", self._open_vfs.run)
        start("admissions", Admissions(self.node, self._kubelet, settings.pace).run)
        start("kubelet state", self._load_unread)
        start("holders", self._holders.run)
        if settings.provision:
            start("provision", PfReconciler(self.node, settings.provision, self._scans.rescan).run)

    async def _load_unread(self) -> None:
        """Load the kubelet's state again until it could be read."""
        while self.node.unread:
            await asyncio.sleep(self._settings.tick_s)
            await self._kubelet.load(self.node)

    # What happens

    def _serve(self, feed: Feed[ResourcePool]) -> None:
        """Begin to serve a resource that was not served before; it is served from then on."""
        if self._supervisor.is_stopping:
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
        self._supervisor.start(endpoint.resource, lambda: endpoint.run(lambda: self._kubelet_is_up))

    async def _watch_kubelet(self) -> None:
        if watch.identity(self._settings.plugins) is None:
            log.info("waiting for the kubelet path=%s", self._settings.plugins / KUBELET_SOCKET)
        async for event in watch.watch(self._settings.plugins, period_s=self._settings.watch_s):
            self._kubelet_is_up = event is Event.KUBELET_UP
            log.info("kubelet is=%s", "up" if self._kubelet_is_up else "gone")
            for endpoint in self.endpoints.values():
                endpoint.kubelet_event(event)

    def _configured(self, config: Config) -> None:
        self.node.configured(config)
        self._scans.request()  # other VFs may be wanted, and are to be bound
