"""Stage: a simulated node, a fake kubelet, and the real daemon between the two, which a test starts and ends."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from qatdp.core.model.pci import PciAddress
from qatdp.core.release.protocol import Step
from qatdp.daemon.app import Daemon
from qatdp.daemon.state import DeviceState
from qatdp.host.calls.abc import BusDump, HostCalls, Watch
from qatdp.host.calls.choose import host_calls
from qatdp.simulator.daemon import RunningDaemon, hurried
from qatdp.simulator.host.calls import PassingCalls
from qatdp.simulator.host.node import FakeHost
from qatdp.simulator.kubelet import Container, FakeKubelet, Pod

CY, DC = "qat.intel.com/cy", "qat.intel.com/dc"
SCAN_PERIOD_S = 0.03


class Stage:
    """Nothing runs at first. `settings` and `calls` are the daemon's; a test may replace them before it starts it.

    What a test waits for is looked at whenever something happens in the kubelet, and after each scan.
    """

    def __init__(self, folder: Path, version: str = "1.37") -> None:
        self.folder = folder
        self.host = FakeHost(folder / "host")
        self.kubelet = FakeKubelet(folder / "kubelet", version, dial_s=0.2)
        self.config = folder / "config.yaml"
        self.configure("version: 1")
        seen = hurried(folder / "host", self.kubelet.folder, config=self.config)
        self.settings = replace(seen, scan_period_s=SCAN_PERIOD_S)
        self.calls: HostCalls = host_calls()
        self.scans = 0  # that have begun
        self._running: RunningDaemon | None = None

    async def close(self) -> None:
        await self.end_daemon()
        await self.kubelet.kill()

    # The daemon

    async def start_daemon(self) -> None:
        loop = asyncio.get_running_loop()
        calls = _ScanCalls(self.calls, lambda: loop.call_soon_threadsafe(self._scanned))
        self._running = RunningDaemon(self.settings, calls)
        await self._running.__aenter__()

    def _scanned(self) -> None:
        self.scans += 1
        self.kubelet.changed()

    async def end_daemon(self) -> None:
        """End it as SIGTERM does, and raise what it has raised; return when the kubelet has noticed."""
        if self._running:
            running, self._running = self._running, None
            await running.stop()
            await self.until(lambda: not any(map(self.kubelet.streams, running.daemon.endpoints)))

    async def restart_daemon(self) -> None:
        await self.end_daemon()
        await self.start_daemon()

    @property
    def daemon(self) -> Daemon:
        assert self._running, "qatdp does not run"
        return self._running.daemon

    @property
    def node(self) -> DeviceState:
        return self.daemon.node

    def step(self, device: PciAddress) -> Step | None:
        """Return how far a device is from leaving its list; None where it is in none."""
        entry = self.node.ledger.get(device)
        return entry.step if entry else None

    def configure(self, text: str) -> None:
        """Write the configuration, as a whole."""
        new = self.config.with_suffix(".new")
        new.write_text(text)
        new.replace(self.config)

    def reboot(self) -> None:
        """Begin with an empty machine, whose IOMMU groups are numbered again."""
        self.host = FakeHost(self.folder / f"host{self.scans}")
        self.settings = replace(self.settings, sysfs=self.host.sysfs, dev=self.host.dev)

    async def give(self, resource: str, count: int = 1) -> tuple[Pod, list[PciAddress]]:
        """Admit a pod of one container; return it with its devices."""
        pod = Pod("pod", (Container(limits={resource: count}),))
        admission = await self.kubelet.admit(pod)
        assert admission.admitted, admission.error
        return pod, sorted(map(PciAddress.parse, admission.ids))

    # What a test waits for

    async def until(self, done: Callable[[], bool], *, timeout_s: float = 10.0) -> None:
        await self.kubelet.until(done, timeout_s=timeout_s)

    async def scanned(self, times: int = 2) -> None:
        """Wait until that many scans have begun and ended from now on."""
        enough = self.scans + times + 1
        await self.until(lambda: self.scans >= enough)

    async def offers(self, resource: str, devices: Iterable[PciAddress]) -> None:
        """Wait until the kubelet would hand out just these of a resource."""
        await self.kubelet.offers(resource, map(str, devices))

    async def lists(self, resource: str, healthy: Collection[PciAddress], sick: Collection[PciAddress] = ()) -> None:
        """Wait until the list of a resource has just these."""
        wanted = {**{str(vf): "Healthy" for vf in healthy}, **{str(vf): "Unhealthy" for vf in sick}}
        await self.kubelet.list_of(resource, wanted)


class _ScanCalls(PassingCalls):
    """Tells of each scan as it begins, which the inner calls then make as they do."""

    def __init__(self, inner: HostCalls, begins: Callable[[], object]) -> None:
        super().__init__(inner)
        self._begins = begins

    def read_bus(self, sysfs: Path, dev: Path) -> BusDump:
        self._begins()
        return self._inner.read_bus(sysfs, dev)

    def watch(self, contents: Sequence[Path], present: Sequence[Path]) -> Watch:
        return self._inner.watch(contents, present)
