"""Admissions: what the kubelet does for the pods that come proves what a release waits for (core/release/protocol.py).

Each admission forgets the pods that have ended, calls Allocate, enters what that was answered, and then writes the
checkpoint (devicemanager/manager.go, allocateContainerResources). So a checkpoint that is another file than the one
that was there when an Allocate was answered, and names what was granted, was written after that answer. It names all
that anybody has who got it from an Allocate before.
"""

import asyncio
from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from qatdp.core.model.pci import PciAddress
from qatdp.core.pools.stale import CheckpointEntry
from qatdp.core.release.protocol import Fact
from qatdp.daemon.kubelet_state import KubeletState, named_in
from qatdp.daemon.state import DeviceState
from qatdp.daemon.timing import ReleaseTiming
from qatdp.errors import KubeletStateError
from qatdp.kubelet.checkpoint import Identity

MOST = 64  # Allocates whose checkpoint has not been seen; the newest prove the most


@dataclass(frozen=True, slots=True)
class Grant:
    """An Allocate that was granted. `before` is the checkpoint when it was answered; it counts until `until_s`."""

    resource: str
    devices: frozenset[PciAddress]
    began: int
    before: Identity
    until_s: float

    def is_in(self, pod_entries: Iterable[CheckpointEntry]) -> bool:
        return any(one.resource == self.resource and self.devices <= set(one.devices) for one in pod_entries)


class Admissions:
    """Watches for checkpoints while something is to leave and pods come."""

    def __init__(self, node: DeviceState, kubelet: KubeletState, pace: ReleaseTiming) -> None:
        self._node, self._kubelet, self._pace = node, kubelet, pace
        self._pending: deque[Grant] = deque(maxlen=MOST)
        self._came = asyncio.Event()
        node.on_granted = self.granted

    def granted(self, resource: str, devices: Collection[PciAddress], began: int) -> None:
        """Take note of an Allocate that is about to be answered."""
        until_s = self._node.clock() + self._pace.write_s
        grant = Grant(resource, frozenset(devices), began, self._kubelet.identity(), until_s)
        self._pending.append(grant)
        self._came.set()

    async def run(self) -> None:
        """Establish what the admissions prove, until cancelled."""
        read: Identity = None
        while True:
            await self._came.wait()
            self._drop_overdue()
            if not self._pending:
                self._came.clear()
                continue
            now = self._kubelet.identity()
            if now != read and any(grant.before != now for grant in self._pending):
                read = now
                await self.look()
                await asyncio.sleep(self._pace.first_s)  # not each of the checkpoints of a busy node
            else:
                await asyncio.sleep(self._pace.look_s)

    def _drop_overdue(self) -> None:
        while self._pending and self._pending[0].until_s < self._node.clock():
            self._pending.popleft()

    async def look(self) -> None:
        """Read the checkpoint; take what the last of the Allocates proves that it was written after."""
        try:
            read = await self._kubelet.written()
        except KubeletStateError:  # the release says so
            return
        if read is None:
            return
        began = max(
            (one.began for one in self._pending if one.before != read.identity and one.is_in(read.pod_entries)),
            default=None,
        )
        if began is None:
            return
        self._pending = deque((one for one in self._pending if one.began > began), maxlen=MOST)
        if self._node.stale:
            self._node.written_down(read.pod_entries)
        named = named_in(read.pod_entries)
        self._node.learn(Fact.NAMED, named, began)
        self._node.learn(Fact.ADMITTED_WITHOUT, self._node.ledger.keys() - named, began)
