"""Status: makes the report of what the daemon knows, and has it served. Whoever asks for it causes nothing else."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from importlib.metadata import version

from qatdp.core.health import Health
from qatdp.core.listing import listing
from qatdp.core.pf_defects import why_no_vfs
from qatdp.core.progress import Users, users_by_pf
from qatdp.core.report import DeviceReport, EndpointReport, PfReport, ProblemReport, Report
from qatdp.daemon.health import PfHealth
from qatdp.daemon.holders import Holders
from qatdp.daemon.node import Node
from qatdp.daemon.settings import Settings
from qatdp.kubelet.endpoint import Endpoint
from qatdp.status.metrics import Metrics
from qatdp.status.pages import StatusServer, pages

log = logging.getLogger(__name__)

RETRY_S = 30.0


class Status:
    """`endpoints` is the daemon's own mapping, which grows. The metrics are told of what happens by whoever does it."""

    def __init__(
        self,
        settings: Settings,
        host_calls: str,
        node: Node,
        endpoints: Mapping[str, Endpoint],
        holders: Holders,
        health: PfHealth,
    ) -> None:
        self._health = health
        self.metrics = Metrics()
        self.scanned_s: float | None = None
        self.server = StatusServer(pages(self.report, self.metrics), settings.listen, settings.socket)
        self._version = version("qatdp")
        self._settings, self._host_calls = settings, host_calls
        self._node, self._endpoints, self._holders = node, endpoints, holders
        self._started_s = time.time()

    def scanned(self, duration_s: float) -> None:
        self.scanned_s = time.time()
        self.metrics.scanned(duration_s)

    def report(self) -> Report:
        """Return what is known at this moment, from memory alone."""
        node = self._node
        devices = tuple(listing(node.snapshot, node.config, node.pools, node.books, self._holders.of))
        return Report(
            version=self._version,
            host_calls=self._host_calls,
            sysfs=str(self._settings.sysfs),
            started_s=self._started_s,
            scanned_s=self.scanned_s,
            endpoints=tuple(
                EndpointReport(name, str(one.state), one.live) for name, one in sorted(self._endpoints.items())
            ),
            devices=devices,
            pfs=tuple(self._pfs(devices)),
            problems=tuple(ProblemReport(problem.where, problem.reason) for problem in node.snapshot.problems),
            holders_written_s=self._holders.written_s,
            holders_read_s=self._holders.read_s,
            holders_listed_s=self._holders.listed_s,
            holders_unread=self._holders.unread,
            history=node.history.so_far(),
        )

    def _pfs(self, devices: Iterable[DeviceReport]) -> Iterator[PfReport]:
        since_s, users = time.time() - time.monotonic(), users_by_pf(devices)
        snapshot = self._node.snapshot
        with_vfs = {vf.pf for vf in snapshot.vfs}
        for pf in snapshot.pfs:
            health = self._health.health.get(pf.address, Health())
            progress = self._node.progress.get(pf.address)
            yield PfReport(
                address=str(pf.address),
                family=pf.family.name,
                numa_node=pf.numa_node,
                state=pf.state,
                condition=str(health.condition),
                healthy=health.trusted,
                reason=health.reason,
                since_s=since_s + health.since_s if health.since_s else None,
                unseen=self._health.unseen(pf.address),
                counters=self._health.counters(pf.address),
                phase=str(progress.phase) if progress else None,
                progress=progress.told(users.get(str(pf.address), Users())) if progress else None,
                driver=pf.driver,
                no_vfs=None if pf.address in with_vfs else why_no_vfs(pf, snapshot),
            )

    # Tasks

    @property
    def tasks(self) -> Mapping[str, Callable[[], Awaitable[None]]]:
        """What is to be run from the beginning, also while the first look at the node hangs."""
        return {"status page": self._on_address, "status socket": self._on_socket}

    async def _on_address(self) -> None:
        await _kept_trying(self.server.on_address, f"address {self._settings.listen}")

    async def _on_socket(self) -> None:
        await _kept_trying(self.server.on_socket, f"socket {self._settings.socket}")


async def _kept_trying(serve: Callable[[], Awaitable[None]], where: str) -> None:
    """Serve; where that cannot be, say so once, and try again: devices are offered all the same."""
    said = None
    while True:
        try:
            return await serve()
        except OSError as error:
            if said != str(error):
                log.warning("no status is served where=%r reason=%r", where, str(error))
            said = str(error)
            await asyncio.sleep(RETRY_S)
