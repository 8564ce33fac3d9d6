"""The story that `qatdp simulate` tells: a simulated node, an embedded kubelet, and the real daemon between them.

Nothing in it is canned: what is told is what the kubelet took from the daemon over its sockets and what it answered to
pods. Other clients on the same sockets see the same.
"""

import asyncio
import contextlib
import os
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

from qatdp import configfile
from qatdp.core.model.pci import PciAddress
from qatdp.core.pools.binding import BindMode
from qatdp.core.pools.pools import ResourcePool
from qatdp.core.release.protocol import STAYING, Step
from qatdp.errors import QatdpError
from qatdp.simulator.daemon import RunningDaemon, hurried
from qatdp.simulator.host.calls import FakeKernelCalls
from qatdp.simulator.host.node import BUSES, MEMORY, FakeHost
from qatdp.simulator.kubelet import Container, FakeKubelet, Pod

Event: TypeAlias = Mapping[str, object]

AT_REST = frozenset({Step.AVAILABLE, Step.CORDONED}) | STAYING
PATIENCE_S = 30.0
LOOK_S = 0.02


@dataclass(frozen=True, slots=True)
class Setup:
    """The node: `services` are given to the PFs in turn, which lie on two NUMA nodes by halves."""

    pfs: int = 8
    vfs: int = 16
    services: Sequence[str] = ("sym;asym", "dc")
    family: str = "4xxx"
    config: Path | None = None
    patience_s: float = PATIENCE_S


@dataclass(slots=True)
class Story:
    """One run of it. `folder` holds the node (sys, dev) and the kubelet's folder."""

    setup: Setup
    folder: Path
    host: FakeHost = field(init=False)
    kubelet: FakeKubelet = field(init=False)
    _given: list[tuple[Pod, frozenset[str]]] = field(default_factory=list)
    _resource_names: frozenset[str] = frozenset()

    async def tell(self) -> AsyncGenerator[Event, None]:
        """Yield what happens, one event after the other; the daemon serves until the iterator is closed.

        Raises ConfigError before anything is told where the configuration is wrong.
        """
        if self.setup.config:
            configfile.load(self.setup.config)  # the daemon would wait for it to be mended
        self.host = FakeHost(self.folder / "host", cdevs=True)
        self.host.load_driver("qat_vfio_pci")  # whichever driver and nodes a configuration asks for
        self.kubelet = FakeKubelet(self.folder / "kubelet")
        settings = hurried(self.folder / "host", self.kubelet.folder, config=self.setup.config)
        # The VFs come without a driver, as on a real node: the daemon binds them.
        daemon = RunningDaemon(replace(settings, bind=BindMode.FREE), FakeKernelCalls(self.host))
        pfs = self._make_node()
        yield {
            "event": "node",
            "pfs": len(pfs),
            "vfs": sum(len(self.host.vfs(pf)) for pf in pfs),
            "sysfs": str(self.host.sysfs),
            "dev": str(self.host.dev),
            "kubelet_dir": str(self.kubelet.folder),
            "config": str(self.setup.config) if self.setup.config else None,
        }
        async with self.kubelet, daemon:
            await self._until("offers what this node has", lambda: self._at_rest(daemon))
            yield await self._resources()
            async for event in self._pods():
                yield event
            for pf in [pf for pf in pfs if self._offered_of(pf)][:1]:
                async for event in self._failure(daemon, pf):
                    yield event
            yield {"event": "end"}

    def _make_node(self) -> tuple[PciAddress, ...]:
        """Add the PFs: each four of a NUMA node in a domain of their own, as many as there are buses for."""
        near = (self.setup.pfs + 1) // 2
        places = [(0, n) for n in range(near)] + [(1, n) for n in range(self.setup.pfs - near)]
        return tuple(
            self.host.add_pf(
                f"{n // 4:04x}:{BUSES[node][n % 4]}:00.0",
                self.setup.family,
                self.setup.services[index % len(self.setup.services)],
                numa_node=node,
                vfs=self.setup.vfs,
                vf_driver=None,
            )
            for index, (node, n) in enumerate(places)
        )

    async def _until(self, what: str, done: Callable[[], bool]) -> None:
        """Look until something is so, by looking: not all of it makes the kubelet notice something."""
        for _ in range(int(self.setup.patience_s / LOOK_S)):
            if done():
                return
            await asyncio.sleep(LOOK_S)
        hint = "where this machine has much to do, a small node is quicker: --pfs 2 --vfs 2"
        raise QatdpError(f"waited {self.setup.patience_s:g} s without success until the kubelet {what}", hint=hint)

    def _at_rest(self, daemon: RunningDaemon) -> bool:
        """Return whether the daemon knows the node as it is, and the kubelet has just what comes of it for good."""
        node = daemon.daemon.node
        listed = (device.address for pool in node.pools.pools.values() for device in pool.devices)
        return (
            {vf.address for vf in node.snapshot.vfs} <= {*listed, *node.pools.excluded}  # not so before the first list
            and all(entry.step in AT_REST for entry in node.ledger.values())
            and all(self.kubelet.known(pool.resource) == _health(pool) for pool in node.pools.pools.values())
            and not node.is_dirty
            and node.snapshot == self.host.scan()
        )

    async def _resources(self) -> Event:
        counts = (await self.kubelet.capacity()).resources
        self._resource_names |= counts.keys()
        return {
            "event": "resources",
            "resources": {
                name: {"capacity": of.capacity, "allocatable": of.allocatable} for name, of in sorted(counts.items())
            },
        }

    async def _pods(self) -> AsyncIterator[Event]:
        """Admit pods that ask for two of each resource and one of all, as far as there are as many, and too much."""
        left = {name: of.allocatable for name, of in (await self.kubelet.capacity()).resources.items()}
        names = sorted(left)
        for resource in names:
            count = min(2, left[resource])
            left[resource] -= count
            yield await self._pod(f"{'one' if count == 1 else 'two'}-{_short(resource)}", {resource: count})
        if len(names) > 1 and all(left.values()):
            yield await self._pod("one-of-each", dict.fromkeys(names, 1))
        counts = (await self.kubelet.capacity()).resources
        for resource in names[:1]:
            yield await self._pod("too-much", {resource: counts[resource].capacity + 1})

    async def _pod(self, name: str, limits: Mapping[str, int]) -> Event:
        pod = Pod(name, (Container(limits=limits),))
        admission = await self.kubelet.admit(pod)
        if not admission.admitted:
            return {"event": "refused", "name": name, "resources": dict(limits), "reason": admission.error}
        self._given.append((pod, admission.ids))
        options = await self.kubelet.options(pod)
        return {
            "event": "pod",
            "name": name,
            "resources": dict(limits),
            "env": dict(sorted(options.envs.items())),
            "devices": sorted(node.container for node in options.devices),
        }

    async def _failure(self, daemon: RunningDaemon, pf: PciAddress) -> AsyncIterator[Event]:
        """Let a PF go down, which takes its VFs away, and come back.

        Its VFs are in other IOMMU groups afterwards. What the kubelet keeps for pods that have some of them names the
        old nodes, so what these pods have is not healthy before they have ended. Within a limit, others may have taken
        the places of the rest.
        """
        vfs, node = self.host.vfs(pf), daemon.daemon.node
        self.host.set_state(pf, "down")
        daemon.daemon.request_scan()  # a simulated tree sends no uevents
        await self._until(f"has nothing of {pf}", lambda: self._at_rest(daemon))
        yield {"event": "pf", "address": str(pf), "state": "down"}
        yield await self._resources()
        self.host.set_state(pf, "up")
        self.host.add_vfs(pf, len(vfs), driver=None)
        daemon.daemon.request_scan()
        await self._until(f"has the VFs of {pf} again", lambda: self._at_rest(daemon))
        yield {"event": "pf", "address": str(pf), "state": "up"}
        yield await self._resources()
        stale = frozenset(map(str, node.stale.reasons))
        for pod, ids in self._given:
            if ids & stale:
                yield {"event": "stale", "name": pod.name, "devices": sorted(ids & stale)}
                await self.kubelet.remove(pod)
        await self._until("has forgotten these pods", lambda: self._at_rest(daemon) and not node.stale)
        yield await self._resources()

    def _offered_of(self, pf: PciAddress) -> frozenset[str]:
        offered = frozenset[str]().union(*(self.kubelet.offered(name) for name in self._resource_names))
        return offered & frozenset(map(str, self.host.vfs(pf)))


def _health(pool: ResourcePool) -> Mapping[str, str]:
    """Return what the kubelet knows of a pool once it has read its list."""
    return {str(device.address): device.health for device in pool.devices}


def _short(resource: str) -> str:
    return resource.rpartition("/")[2]


@contextlib.contextmanager
def story(setup: Setup) -> Iterator[Story]:
    """Yield a story in a folder that goes with it: in memory, and a short one, as paths of sockets hold 107 bytes."""
    memory = MEMORY if os.access(MEMORY, os.W_OK) else None
    # A daemon that is ended early does not wait for its first look, which may still be binding VFs.
    with tempfile.TemporaryDirectory(prefix="qatdp-", dir=memory, ignore_cleanup_errors=True) as folder:
        for name in ("host", "kubelet"):
            Path(folder, name).mkdir()
        yield Story(setup, Path(folder))
