"""Holders: which pod has which VF, for whoever looks at the status.

Nobody is asked for it. The kubelet's checkpoint is read when it is another file, which has no effect on the kubelet; it
knows pods by UID. Their names come from whatever PodResources List a release needed anyway, and, where this process may
see them, from the names of the folders with pods' logs.
"""

import asyncio
import time
from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path

from qatdp.core.model.pci import PciAddress
from qatdp.core.pools.stale import CheckpointEntry
from qatdp.core.status.pod_names import ListedDevices, Names, holders, names_in_list
from qatdp.core.status.report import Holder
from qatdp.daemon.kubelet_state import KubeletState
from qatdp.errors import KubeletStateError
from qatdp.host.thread import Worker
from qatdp.kubelet.pod_logs import pod_names

LONGEST_S = 30.0  # between two looks for a pod whose logs have no folder yet, or never will


class Holders:
    """`of` is who holds each VF, as of the checkpoint of `written_s`; there was no newer one at `read_s`. `unread` is
    why the checkpoint cannot be read. Seconds are Unix times.
    """

    def __init__(self, kubelet: KubeletState, pod_logs: Path, period_s: float) -> None:
        self._kubelet, self._pod_logs, self._period_s = kubelet, pod_logs, period_s
        self._worker = Worker("pod names")
        self._holdings: tuple[CheckpointEntry, ...] = ()
        self._names: Names = {}
        self.of: Mapping[PciAddress, Collection[Holder]] = {}
        self.written_s: float | None = None
        self.read_s: float | None = None
        self.listed_s: float | None = None
        self.unread: str | None = "the kubelet's checkpoint was not read yet"

    def listed(self, pod_entries: Collection[CheckpointEntry], listed: Collection[ListedDevices]) -> None:
        """Take the names that a List gave, and the checkpoint of that time, since which no pod was admitted.

        A checkpoint that could not be read is empty here, and gives no names.
        """
        self.listed_s = time.time()
        self._holdings = tuple(pod_entries) or self._holdings  # it may be newer than the last that was read here
        self._take_names({**self._names, **names_in_list(pod_entries, listed)})

    async def run(self) -> None:
        """Read the checkpoint whenever it has changed, and look for the names of pods, until cancelled."""
        loop, pause_s, due_s = asyncio.get_running_loop(), self._period_s, 0.0
        while True:
            if await self._read():
                pause_s, due_s = self._period_s, 0.0
            if self._has_nameless and loop.time() >= due_s:
                found = await self._worker.do(partial(pod_names, self._pod_logs))
                self._take_names({**found, **self._names})
                pause_s, due_s = min(pause_s * 2, LONGEST_S), loop.time() + pause_s
            await asyncio.sleep(self._period_s)

    async def _read(self) -> bool:
        """Read the checkpoint; return whether it has changed."""
        try:
            read = await self._kubelet.checkpoint()
        except KubeletStateError as error:
            self.unread = str(error)
            return False
        self.unread = None
        self.read_s, self.written_s = time.time(), read.written_s
        if read.pod_entries is self._holdings:
            return False
        self._holdings = read.pod_entries
        self._take_names(self._names)
        return True

    @property
    def _has_nameless(self) -> bool:
        return any(holder.pod is None for holders_of_one in self.of.values() for holder in holders_of_one)

    def _take_names(self, names: Names) -> None:
        uids = {pod_entry.uid for pod_entry in self._holdings}
        self._names = {uid: name for uid, name in names.items() if uid in uids}
        self.of = holders(self._holdings, self._names)
