"""The story that `qatdp simulate` tells: a made node, an embedded kubelet, and the real daemon between them.

Nothing in it is canned: what is told is what the kubelet took from the daemon over its sockets and what it answered to
pods. Other clients on the same sockets see the same.
"""

import contextlib
import os
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

from qatdp.core.binding import BindMode
from qatdp.core.pci import PciAddress
from qatdp.testing.calls import FakeKernelCalls
from qatdp.testing.daemon import RunningDaemon, hurried
from qatdp.testing.host import BUSES, MEMORY, FakeHost
from qatdp.testing.kubelet import Container, FakeKubelet, Pod

Event: TypeAlias = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Setup:
    """The node: `services` are given to the PFs in turn, which lie on two NUMA nodes by halves."""

    pfs: int = 8
    vfs: int = 16
    services: Sequence[str] = ("sym;asym", "dc")
    family: str = "4xxx"
    config: Path | None = None


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
        """Yield what happens, one event after the other; the daemon serves until the iterator is closed."""
        self.host = FakeHost(self.folder / "host")
        self.kubelet = FakeKubelet(self.folder / "kubelet")
        pfs = self._make_node()
        yield {
            "event": "node",
            "pfs": len(pfs),
            "vfs": sum(len(self.host.vfs(pf)) for pf in pfs),
            "sysfs": str(self.host.sysfs),
            "dev": str(self.host.dev),
            "kubelet_dir": str(self.kubelet.folder),
        }
        settings = hurried(self.folder / "host", self.kubelet.folder, config=self.setup.config)
        # The VFs come without a driver, as on a real node: the daemon binds them.
        daemon = RunningDaemon(replace(settings, bind=BindMode.FREE), FakeKernelCalls(self.host))
        async with self.kubelet, daemon:
            await self.kubelet.until(lambda: self._all_listed(daemon))
            yield await self._resources()
            async for event in self._pods():
                yield event
            async for event in self._failure(daemon, pfs[0]):
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

    def _all_listed(self, daemon: RunningDaemon) -> bool:
        """Tell whether the kubelet offers just what the daemon's pools say."""
        pools = daemon.daemon.node.pools.pools
        return bool(pools) and all(self.kubelet.offered(name) == pool.healthy for name, pool in pools.items())

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
        """Admit a pod that asks for two of each resource, one that asks for one of all, and one that asks too much."""
        counts = (await self.kubelet.capacity()).resources
        names = sorted(counts)
        for resource in names:
            yield await self._pod(f"two-{_short(resource)}", {resource: 2})
        if len(names) > 1:
            yield await self._pod("one-of-each", dict.fromkeys(names, 1))
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
        old nodes, so these VFs are not healthy before the pods have ended.
        """
        vfs = self.host.vfs(pf)
        mine = frozenset(str(vf) for vf in vfs)
        self.host.set_state(pf, "down")
        await self.kubelet.until(lambda: self._all_listed(daemon) and not mine & self._offered())
        yield {"event": "pf", "address": str(pf), "state": "down"}
        yield await self._resources()
        self.host.set_state(pf, "up")
        self.host.add_vfs(pf, len(vfs), driver=None)
        daemon.daemon.hint()  # a made tree sends no uevents
        held = [(pod, ids & mine) for pod, ids in self._given if ids & mine]
        free = mine.difference(*(ids for _, ids in held))
        await self.kubelet.until(lambda: self._all_listed(daemon) and self._offered() & mine == free)
        yield {"event": "pf", "address": str(pf), "state": "up"}
        yield await self._resources()
        for pod, ids in held:
            yield {"event": "stale", "name": pod.name, "devices": sorted(ids)}
            await self.kubelet.remove(pod)
        await self.kubelet.until(lambda: self._all_listed(daemon) and self._offered() >= mine)
        yield await self._resources()

    def _offered(self) -> frozenset[str]:
        return frozenset().union(*(self.kubelet.offered(name) for name in self._resource_names))


def _short(resource: str) -> str:
    return resource.rpartition("/")[2]


@contextlib.contextmanager
def story(setup: Setup) -> Iterator[Story]:
    """Yield a story in a folder that goes with it: in memory, and a short one, as paths of sockets hold 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="qatdp-", dir=MEMORY if os.access(MEMORY, os.W_OK) else None) as folder:
        for name in ("host", "kubelet"):
            Path(folder, name).mkdir()
        yield Story(setup, Path(folder))
