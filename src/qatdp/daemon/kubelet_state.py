"""KubeletState: what the kubelet has written down, and what it says. The one owner of both, for all who decide by them.

The checkpoint is a file, and reading it has no effect on the kubelet. It is read off the event loop, and only when it
is another file than before. Nor has GetAllocatableResources an effect; List has, and is called by daemon/pod_lists.py
alone.

What it means that the checkpoint is not there depends on what is asked, and is decided here. Who has what now? Nobody:
no pod was ever given a device, or the kubelet forgot that. Has something changed? That is not known: a kubelet that
runs replaces its checkpoint and never removes it, so somebody else did, or it was not written yet.
"""

import logging
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path

from qatdp.core.config.model import is_ours
from qatdp.core.model.pci import PciAddress
from qatdp.core.pools.stale import CheckpointEntry
from qatdp.daemon.state import DeviceState
from qatdp.errors import KubeletStateError
from qatdp.host.thread import Worker
from qatdp.kubelet import checkpoint
from qatdp.kubelet.checkpoint import Checkpoint, Identity
from qatdp.kubelet.podresources import Named, PodResources

log = logging.getLogger(__name__)


class KubeletState:
    """`plugins` is the device-plugins folder, `pod_resources` that of PodResources' socket."""

    def __init__(self, plugins: Path, pod_resources: Path) -> None:
        self._plugins, self._worker = plugins, Worker("checkpoint")
        self._last: Checkpoint | None = None
        self.pod_resources = PodResources(pod_resources)

    def identity(self) -> Identity:
        """Return what tells the checkpoint that is there now from others; None where there is none."""
        return checkpoint.identity(self._plugins)

    async def checkpoint(self) -> Checkpoint:
        """Return the checkpoint; the same object while it is the same file. Raises KubeletStateError.

        One that is not there names nobody.
        """
        last = self._last
        if last is None or last.identity is None or last.identity != self.identity():
            self._last = None
            self._last = last = await self._worker.do(partial(checkpoint.read, self._plugins))
        return last

    async def written(self) -> Checkpoint | None:
        """Return the checkpoint that the kubelet has written; None where there is none, which says nothing.

        Raises KubeletStateError.
        """
        read = await self.checkpoint()
        return None if read.identity is None else read

    async def allocatable(self) -> Mapping[str, frozenset[str]]:
        """Return the IDs that the kubelet may hand out, by resource. Raises KubeletStateError."""
        return await self.pod_resources.allocatable()

    async def claims(self) -> tuple[Named, Named] | None:
        """Return what pods have, and what the kubelet may hand out; None where no kubelet ever ran.

        Not by List, which could make the kubelet give a device twice, and shows no more than the checkpoint does.
        Raises KubeletStateError, also where it cannot be told whether a kubelet ever ran.
        """
        try:
            self._plugins.stat()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise KubeletStateError(f"{self._plugins}: {error.strerror}") from error
        read = await self.checkpoint()
        return _held(read.pod_entries), await self.pod_resources.offered()

    async def load(self, node: DeviceState) -> None:
        """Let the node adopt it all. What only the checkpoint names must not be offered while that cannot be read."""
        offered = await self._offered_if_asked()
        try:
            pod_entries, unread = (await self.checkpoint()).pod_entries, None
        except KubeletStateError as error:
            pod_entries, unread = node.pod_entries, str(error)
            if unread != node.unread:
                log.error("kubelet checkpoint unreadable, new VFs are withheld reason=%r", unread)
        node.adopt(_held(pod_entries), offered, pod_entries, unread=unread)

    async def _offered_if_asked(self) -> Named:
        """Return what the kubelet may hand out, if it can be asked."""
        try:
            return await self.pod_resources.offered()
        except KubeletStateError as error:
            log.info("PodResources not available yet, using the checkpoint reason=%r", str(error))
            return frozenset()


def _held(pod_entries: Iterable[CheckpointEntry]) -> Named:
    return frozenset((device, pod_entry.resource) for pod_entry in pod_entries for device in pod_entry.devices)


def named_in(pod_entries: Iterable[CheckpointEntry]) -> frozenset[PciAddress]:
    """Return the devices of ours that a checkpoint names for somebody."""
    return frozenset(device for device, resource in _held(pod_entries) if is_ours(resource))
