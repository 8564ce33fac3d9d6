"""Status: makes the report of what the daemon knows, and has it served. Whoever asks for it causes nothing else."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from importlib.metadata import version

from qatdp.core.config.model import Config
from qatdp.core.health.verdict import Health, verdict
from qatdp.core.model.pci import PciAddress
from qatdp.core.model.pf_defects import why_no_vfs
from qatdp.core.model.snapshot import Snapshot
from qatdp.core.pools.pools import Pools
from qatdp.core.provision.progress import Progress, Users, users_by_pf
from qatdp.core.release.protocol import Ledger
from qatdp.core.status.devices import listing
from qatdp.core.status.report import DeviceReport, EndpointReport, Holder, PfReport, ProblemReport, Report, not_ready
from qatdp.daemon.config_reload import Configuration
from qatdp.daemon.health_loop import PfHealth
from qatdp.daemon.holders import Holders
from qatdp.daemon.settings import Settings
from qatdp.daemon.state import DeviceState
from qatdp.kubelet.endpoint import Endpoint
from qatdp.pages.metrics import Metrics
from qatdp.pages.pages import StatusServer, pages

log = logging.getLogger(__name__)

RETRY_S = 30.0


class Status:
    """`endpoints` is the daemon's own mapping, which grows. The metrics are told of what happens by whoever does it."""

    def __init__(
        self,
        settings: Settings,
        host_calls: str,
        node: DeviceState,
        endpoints: Mapping[str, Endpoint],
        holders: Holders,
        health: PfHealth,
        configuration: Configuration,
    ) -> None:
        self._health, self._configuration = health, configuration
        self.metrics = Metrics()
        self.has_begun, self.failure = False, ""  # of the daemon's start; why it failed
        self.scanned_s: float | None = None
        self.server = StatusServer(
            pages(self, self.metrics, period_s=settings.page_s),
            settings.listen,
            settings.socket,
            status_on_address=settings.listen_status,
        )
        self._version = version("qatdp")
        self._settings, self._host_calls = settings, host_calls
        self._node, self._endpoints, self._holders = node, endpoints, holders
        self._started_s = time.time()
        self._rows = _Rows()

    def scanned(self, duration_s: float) -> None:
        self.scanned_s = time.time()
        self.metrics.scanned(duration_s)

    @property
    def obstacle(self) -> str | None:
        """Why the daemon has not come up, None once it has."""
        if self.has_begun:
            return None
        if self._configuration.wrong:
            return f"the configuration cannot be used: {self._configuration.wrong}"
        return self.failure or "the first look at the node has not come back yet"

    def report(self) -> Report:
        """Return what is known at this moment, from memory alone."""
        return self.freeze()()

    def not_ready(self) -> tuple[str, ...]:
        """Return why pods cannot be served yet."""
        return not_ready(self.obstacle, self._endpoint_reports())

    def freeze(self) -> Callable[[], Report]:
        """Return what makes the report of this moment, in any thread: all that it reads is never changed, but replaced.

        The rows of the VFs are what takes its time.
        """
        node = self._node
        rows = partial(self._rows.of, node.snapshot, node.config, node.pools, node.ledger, self._holders.of)
        pfs = tuple(self._pfs())
        without_rows = Report(
            version=self._version,
            host_calls=self._host_calls,
            sysfs=str(self._settings.sysfs),
            started_at_s=self._started_s,
            scanned_at_s=self.scanned_s,
            endpoints=self._endpoint_reports(),
            problems=tuple(self._problems()),
            obstacle=self.obstacle,
            checkpoint_written_at_s=self._holders.written_s,
            checkpoint_read_at_s=self._holders.read_s,
            pods_listed_at_s=self._holders.listed_s,
            checkpoint_error=self._holders.unread,
            history=node.history.so_far(),
        )
        return partial(_with_rows, without_rows, rows, pfs)

    def _endpoint_reports(self) -> tuple[EndpointReport, ...]:
        return tuple(EndpointReport(name, str(one.state), one.live) for name, one in sorted(self._endpoints.items()))

    def _problems(self) -> Iterator[ProblemReport]:
        if self._configuration.wrong:
            yield ProblemReport(str(self._settings.config), self._configuration.wrong)
        for problem in self._node.snapshot.problems:
            yield ProblemReport(problem.where, problem.reason)

    def _pfs(self) -> Iterator[tuple[PfReport, Progress | None]]:
        """Yield each PF, with how far it is from what it should be."""
        since_s, snapshot = time.time() - time.monotonic(), self._node.snapshot
        with_vfs = {vf.pf for vf in snapshot.vfs}
        for pf in snapshot.pfs:
            health = self._health.health.get(pf.address, Health())
            found = PfReport(
                address=str(pf.address),
                family=pf.family.name,
                numa_node=pf.numa_node,
                state=pf.state,
                condition=str(health.condition),
                healthy=health.trusted,
                reason=None if health.trusted else str(verdict(health).reason),
                message=health.reason,
                since_s=since_s + health.since_s if health.since_s else None,
                unavailable_signals=self._health.unseen(pf.address),
                counters=self._health.counters(pf.address),
                driver=pf.driver,
            )
            if pf.address not in with_vfs:
                why = why_no_vfs(pf, snapshot)
                found = replace(found, no_vfs=str(why.reason), no_vfs_message=str(why))
            yield found, self._node.progress.get(pf.address)

    # Tasks

    @property
    def tasks(self) -> Mapping[str, Callable[[], Awaitable[None]]]:
        """What is to be run from the beginning, also while the first look at the node hangs."""
        return {"status page": self._on_address, "status socket": self._on_socket}

    async def _on_address(self) -> None:
        await _kept_trying(self.server.on_address, f"address {self._settings.listen}")

    async def _on_socket(self) -> None:
        await _kept_trying(self.server.on_socket, f"socket {self._settings.socket}")


class _Rows:
    """Keeps the rows of the VFs while all that they are made of is the same; that is replaced where it changes."""

    def __init__(self) -> None:
        self._last: tuple[tuple[object, ...], tuple[DeviceReport, ...]] = ((), ())

    def of(
        self,
        snapshot: Snapshot,
        config: Config,
        pools: Pools,
        ledger: Ledger,
        holders: Mapping[PciAddress, Collection[Holder]],
    ) -> tuple[DeviceReport, ...]:
        made_of = (snapshot, config, pools, ledger, holders)
        before, rows = self._last
        if len(before) != len(made_of) or any(one is not other for one, other in zip(before, made_of, strict=True)):
            rows = tuple(listing(*made_of))
            self._last = (made_of, rows)
        return rows


def _with_rows(
    report: Report, rows: Callable[[], tuple[DeviceReport, ...]], pfs: Iterable[tuple[PfReport, Progress | None]]
) -> Report:
    """Return the report with its VFs and PFs; whom a PF waits for are the users of its VFs."""
    devices = rows()
    users = users_by_pf(devices)
    told = (_with_progress(pf, progress, users.get(pf.address, Users())) for pf, progress in pfs)
    return replace(report, devices=devices, pfs=tuple(told))


def _with_progress(pf: PfReport, progress: Progress | None, users: Users) -> PfReport:
    return replace(pf, phase=str(progress.phase), progress=progress.told(users)) if progress else pf


async def _kept_trying(serve: Callable[[], Awaitable[None]], where: str) -> None:
    """Serve; where that cannot be, say so once, and try again: devices are offered all the same."""
    said = None
    while True:
        try:
            return await serve()
        except OSError as error:
            if said != str(error):
                log.warning("status page unavailable where=%r reason=%r", where, str(error))
            said = str(error)
            await asyncio.sleep(RETRY_S)
