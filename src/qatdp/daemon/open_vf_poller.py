"""OpenVfPoller: finds VFs that somebody has open whom the kubelet does not know, and VFs that two pods were given.

Each poll reads `enable` first and, where it matters, the kubelet's checkpoint afterwards: a pod opens its VF after the
kubelet has written down that the pod has it, so who is open and not written down is no pod that the kubelet knows.
The checkpoint says more than our own ledger do: they keep a VF as held until a release has proved the opposite.
"""

import asyncio
import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from qatdp.core.config.model import is_ours
from qatdp.core.model.pci import PciAddress
from qatdp.core.model.snapshot import Snapshot
from qatdp.core.pools.open_vfs import (
    HOLD_S,
    OpenVfs,
    functions_of,
    named_devices,
    next_slice,
    polled,
    shared_devices,
    without,
)
from qatdp.core.release.protocol import MAYBE_IN_USE
from qatdp.daemon.kubelet_state import KubeletState
from qatdp.daemon.state import DeviceState
from qatdp.errors import KubeletStateError
from qatdp.host.calls.abc import BulkCalls
from qatdp.host.enabled import EnabledFunctions
from qatdp.host.thread import Worker
from qatdp.kubelet.checkpoint import Checkpoint

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class OpenTiming:
    """Seconds. `poll_s`: between two polls. `hold_s`: how long a VF must be open that no record names.

    `fresh_s`: within that time of an Allocate that raises the question, each new checkpoint is read; without one, a new
    checkpoint is read as often.
    """

    poll_s: float = 1.0
    hold_s: float = HOLD_S
    fresh_s: float = 10.0


class OpenVfPoller:
    """`sysfs` stands for /sys."""

    def __init__(
        self,
        node: DeviceState,
        kubelet: KubeletState,
        sysfs: Path,
        calls: BulkCalls,
        timing: OpenTiming = OpenTiming(),
    ) -> None:
        self._node, self._kubelet, self._timing = node, kubelet, timing
        self._worker = Worker("open vfs")
        # Each keeps its files open while it is asked about the same VFs: those that are open mostly are.
        self._of_slice, self._of_open = EnabledFunctions(sysfs, calls), EnabledFunctions(sysfs, calls)
        self._state = OpenVfs()
        self._after: PciAddress | None = None  # where the last slice ended
        self._suspects: dict[PciAddress, float] = {}  # VFs that an Allocate found open, and until when they are polled
        self._fresh_until_s = 0.0
        self._read: Checkpoint | None = None  # the last that could be read
        self._names: frozenset[PciAddress] = frozenset()  # that it names for pods
        self._shared: frozenset[PciAddress] = frozenset()  # and those that it names for two
        self._read_s = float("-inf")
        self._unread: str | None = None

    async def run(self) -> None:
        """Poll for ever."""
        try:
            while True:
                await self._poll()
                await asyncio.sleep(self._timing.poll_s)
        finally:
            self._worker.submit(self._close)

    def _close(self) -> None:
        self._of_slice.close()
        self._of_open.close()

    async def _poll(self) -> None:
        now_s = asyncio.get_running_loop().time()
        self._take_questions(now_s)
        opened = await self._open_vfs()
        state = polled(self._state, opened, now_s, self._timing.hold_s)
        if self._is_due(without(state, self._named()), now_s):
            await self._read_checkpoint(now_s)
        self._state = without(state, self._named())
        self._node.polled(self._state.confirmed, self._shared)

    def _take_questions(self, now_s: float) -> None:
        """Take which VFs Allocates have found open, and whether one was granted what somebody may have."""
        until_s = now_s + self._timing.fresh_s
        found_open = self._node.take_found_open()
        self._suspects |= dict.fromkeys(found_open, until_s)
        self._suspects = {vf: until for vf, until in self._suspects.items() if until > now_s}
        if found_open or self._node.given_again.is_set():
            self._node.given_again.clear()
            self._fresh_until_s = until_s

    # What is open

    async def _open_vfs(self) -> frozenset[PciAddress]:
        snapshot, named = self._node.snapshot, self._named()
        watched = self._state.since_s.keys() | self._suspects.keys()
        vfs = [vf.address for vf in snapshot.vfs if vf.on_vfio]
        followed = [vf for vf in vfs if vf in watched]
        part = next_slice([vf for vf in vfs if vf not in watched and vf not in named], self._after)
        self._after = part[-1] if part else None
        return await self._worker.do(partial(self._look, snapshot, sorted(part), followed))

    def _look(
        self, snapshot: Snapshot, part: Sequence[PciAddress], followed: Sequence[PciAddress]
    ) -> frozenset[PciAddress]:
        return _opened(self._of_slice, part, snapshot) | _opened(self._of_open, followed, snapshot)

    # What the kubelet has written down

    def _named(self) -> Collection[PciAddress]:
        """Return the VFs that the checkpoint names for a pod; the ledger decides where no checkpoint can be read."""
        if self._read is not None and self._unread is None:
            return self._names
        if self._node.unread is not None:
            return {vf.address for vf in self._node.snapshot.vfs}  # it may name any
        ledger = self._node.ledger
        held = {address for address, entry in ledger.items() if entry.step in MAYBE_IN_USE}
        return held | named_devices(self._node.pod_entries)

    def _is_due(self, state: OpenVfs, now_s: float) -> bool:
        identity = self._kubelet.identity()
        if identity is None or (self._read is not None and identity == self._read.identity):
            return False
        asked = bool(state.confirmed) or now_s < self._fresh_until_s
        return asked or now_s - self._read_s >= self._timing.fresh_s

    async def _read_checkpoint(self, now_s: float) -> None:
        self._read_s = now_s
        try:
            read = await self._kubelet.written()
        except KubeletStateError as error:
            if self._unread != str(error):
                log.warning("checkpoint unreadable, open VFs are judged by the last one reason=%r", str(error))
            self._unread = str(error)
            return
        self._unread = None
        if read:
            self._read, self._names = read, named_devices(read.pod_entries)
            self._shared = shared_devices([one for one in read.pod_entries if is_ours(one.resource)])


def _opened(opened: EnabledFunctions, vfs: Collection[PciAddress], snapshot: Snapshot) -> frozenset[PciAddress]:
    """Return the VFs of which a function is open that whoever is given the VF has to open."""
    functions = {vf: functions_of(vf, snapshot) for vf in vfs}
    found = opened(tuple(sorted({one for of_vf in functions.values() for one in of_vf})))
    return frozenset(vf for vf, of_vf in functions.items() if not found.isdisjoint(of_vf))
