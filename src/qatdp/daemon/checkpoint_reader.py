"""CheckpointReader: reads the kubelet's checkpoint off the event loop, and only when it is another file than before."""

from collections.abc import Iterable
from functools import partial
from pathlib import Path

from qatdp.core.config.model import is_ours
from qatdp.core.model.pci import PciAddress
from qatdp.core.pools.stale import CheckpointEntry
from qatdp.host.thread import Worker
from qatdp.kubelet import checkpoint
from qatdp.kubelet.checkpoint import Checkpoint, Identity


class CheckpointReader:
    """One for all who read it. `plugins` is the device-plugins folder."""

    def __init__(self, plugins: Path) -> None:
        self._plugins, self._worker = plugins, Worker("checkpoint")
        self._last: Checkpoint | None = None

    def identity(self) -> Identity:
        """Return what tells the checkpoint that is there now from others."""
        return checkpoint.identity(self._plugins)

    async def read(self) -> Checkpoint:
        """Return the checkpoint; the same object while it is the same file. Raises KubeletStateError."""
        last = self._last
        if last is None or last.identity is None or last.identity != self.identity():
            self._last = None
            self._last = last = await self._worker.do(partial(checkpoint.read, self._plugins))
        return last


def named_in(pod_entries: Iterable[CheckpointEntry]) -> frozenset[PciAddress]:
    """Return the devices of ours that a checkpoint names for somebody."""
    return frozenset(device for pod_entry in pod_entries if is_ours(pod_entry.resource) for device in pod_entry.devices)
