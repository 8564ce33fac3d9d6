"""A simulated node, qatdp on it, a kubelet, and the gates between the two: what most tests here begin with."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Self

from ground import record, waiting
from ground.gates import Gates
from ground.kubelets import Kubelet
from ground.lists import Lists
from ground.pods import Container, Pod
from ground.proxy import Proxy
from qatdp import configfile
from qatdp.core.model.pci import PciAddress
from qatdp.core.release.protocol import LEAVING, Step
from qatdp.daemon.state import DeviceState
from qatdp.simulator.daemon import RunningDaemon, hurried
from qatdp.simulator.host.node import FakeHost
from qatdp.simulator.kubelet.answers import Admission

CY, DC, RENAMED = (f"qat.intel.com/{name}" for name in ("cy", "dc", "renamed"))
HEALTHY = "Healthy"
CLOSE_S = 20.0  # it takes some milliseconds
STARTS_S = 30.0  # a second, where others leave it a processor
MOVING = LEAVING | {Step.RELEASED, Step.NEW}


class Stage:
    """Nothing runs at first. `settings` are qatdp's; a test may replace them before it starts the daemon.

    `lists` is the last list of each resource that has reached the kubelet, health by ID; one whose stream has ended is
    not there. It is known only where the stage is `gated`.
    """

    def __init__(self, kubelet: Kubelet, folder: Path, *, gated: bool = True) -> None:
        self.kubelet, self.gates = kubelet, Gates()
        self.host = FakeHost(folder / "host")
        self.config = folder / "config.yaml"
        self.proxy = Proxy(folder / "kubelet", kubelet.folder, self.gates) if gated else None
        seen = folder / "kubelet" if gated else kubelet.folder
        self.settings = replace(hurried(folder / "host", seen, config=self.config), scan_period_s=0.1)
        self.pods: dict[str, tuple[Pod, Admission]] = {}  # those that are active, by UID
        self.lists = Lists()
        self.gates.watchers.append(self.lists.note)
        self._daemon: RunningDaemon | None = None

    async def __aenter__(self) -> Self:
        """Start the kubelet, then qatdp, and wait until the one offers what the other has."""
        try:
            await self.start_kubelet()
            await self.start_daemon()
            await self.settle(timeout_s=STARTS_S)
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @asynccontextmanager
    async def closing(self) -> AsyncIterator[Self]:
        """Start nothing, and end whatever runs in the end."""
        try:
            yield self
        finally:
            await self.close()

    async def close(self) -> None:
        record.note_messages(len(self.gates.passed))
        async with waiting.bounded("the end of qatdp", CLOSE_S):
            await self.end_daemon()
        async with waiting.bounded("the end of the kubelet", CLOSE_S):
            await self.kubelet.kill()
        if self.proxy:
            async with waiting.bounded("the end of the proxy", CLOSE_S):
                await self.proxy.down(killed=True)

    # The kubelet

    async def start_kubelet(
        self, *, hears_of_pods: bool = True, pods_after_s: float = 0, may_refuse: bool = False
    ) -> None:
        """Start it; as on a node whose runtime goes on, it hears of the running pods before its sources are ready.

        It admits them again, with what they have. `may_refuse`: it may refuse one, which ends that pod.
        """
        running = [f"{uid}/{one.name}" for uid, (pod, _) in self.pods.items() for one in (*pod.init, *pod.containers)]
        await self.kubelet.start(sources_ready=hears_of_pods and not running, running=running)
        if self.proxy:
            await self.proxy.up()
        if not hears_of_pods:
            return
        await waiting.pause(pods_after_s)
        for uid, (pod, before) in tuple(self.pods.items()):
            again = await self.kubelet.admit(pod)
            if may_refuse and not again.admitted:
                del self.pods[uid]
            else:
                assert again.devices == before.devices, f"{pod.name} was admitted again, with {again}"
        await self.kubelet.set_sources(ready=True)

    async def end_kubelet(self, *, kill: bool) -> None:
        await (self.kubelet.kill() if kill else self.kubelet.stop())
        if self.proxy:
            await self.proxy.down(killed=kill)

    async def restart_kubelet(self, *, kill: bool) -> None:
        await self.end_kubelet(kill=kill)
        await self.start_kubelet()

    async def offered(self) -> dict[str, frozenset[str]]:
        """Return the IDs that the kubelet would hand out, without the resources that have none."""
        healthy = (await self.kubelet.capacity()).healthy
        return {resource: ids for resource, ids in healthy.items() if ids}

    # Pods

    async def admit(self, pod: Pod) -> Admission:
        admission = await self.kubelet.admit(pod)
        if admission.admitted:
            self.pods[pod.uid] = (pod, admission)
        return admission

    async def give(self, limits: dict[str, int], name: str = "pod") -> tuple[Pod, frozenset[str]]:
        """Admit a pod of one container; return it with its devices."""
        pod = Pod(name, (Container(limits=limits),))
        admission = await self.admit(pod)
        assert admission.admitted, admission.error
        return pod, admission.ids

    async def end(self, pod: Pod) -> None:
        del self.pods[pod.uid]
        await self.kubelet.remove(pod)

    # qatdp

    async def start_daemon(self) -> None:
        self._daemon = RunningDaemon(self.settings)
        await self._daemon.__aenter__()

    async def end_daemon(self) -> None:
        if self._daemon:
            daemon, self._daemon = self._daemon, None
            await daemon.stop()

    async def restart_daemon(self) -> None:
        await self.end_daemon()
        await self.start_daemon()

    @property
    def node(self) -> DeviceState:
        assert self._daemon is not None, "qatdp does not run"
        return self._daemon.daemon.node

    def step(self, device: str) -> Step | None:
        """Return how far a device is from leaving its list; None where it is in none."""
        entry = self.node.ledger.get(PciAddress.parse(device))
        return entry.step if entry else None

    def pools(self) -> dict[str, frozenset[str]]:
        """Return the healthy IDs of each pool that has some."""
        return {resource: pool.healthy for resource, pool in self.node.pools.pools.items() if pool.healthy}

    def configure(self, text: str) -> None:
        """Write a configuration, as a whole."""
        new = self.config.with_suffix(".new")
        new.write_text(text)
        new.replace(self.config)

    async def settle(self, *, timeout_s: float = 10) -> None:
        """Wait until nothing is on its way out of a list, and the kubelet offers just what qatdp has."""

        async def look() -> object:
            offered = await self.offered()  # first: what comes meanwhile is seen by what follows, at one moment
            pfs = [pf.address for pf in self.node.snapshot.pfs]
            seen = {vf.address for vf in self.node.snapshot.vfs}
            return {
                "it has read its configuration": self.node.config == configfile.load(self.config),
                "it has begun": bool(self.node.feeds),
                "all that is known is in the pools": not self.node.is_dirty,
                "it has looked": seen == {vf for pf in pfs for vf in self.host.vfs(pf)},
                "on their way": {str(device) for device, entry in self.node.ledger.items() if entry.step in MOVING},
                "offered as in the pools": offered == self.pools(),
            }

        wanted: object = {
            "it has read its configuration": True,
            "it has begun": True,
            "all that is known is in the pools": True,
            "it has looked": True,
            "on their way": set(),
            "offered as in the pools": True,
        }
        await waiting.until_equal("all has come to rest", look, wanted, timeout_s=timeout_s)


def only(resource: str) -> str:
    """Return a configuration with one resource, of the PFs with sym;asym."""
    name = resource.rpartition("/")[2]
    return f"version: 1\nresources:\n  - name: {name}\n    services: [sym, asym]\n"
