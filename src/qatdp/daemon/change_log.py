"""ChangeLog: what the log and the history say of changes: one line for all VFs of which the same is to be said.

A large node has a thousand VFs, and they can change together.
"""

import logging
from collections.abc import Mapping

from qatdp.core.model.pci import PciAddress
from qatdp.core.model.ranges import as_ranges
from qatdp.core.pools.pools import ResourcePool
from qatdp.core.reasons import Defect
from qatdp.core.status.diff import changes
from qatdp.daemon.history import History

log = logging.getLogger(__name__)

UNHEALTHY = "devices resource=%s is=%s reason=%s message=%r vfs=%s"


class ChangeLog:
    """Writes to the log, and to a history."""

    def __init__(self, history: History) -> None:
        self._history = history

    def devices(self, before: ResourcePool, after: ResourcePool) -> None:
        """Report which devices a list has gained or lost, and whose health has changed."""
        same: dict[tuple[str, Defect | None], list[PciAddress]] = {}
        for change in changes(before, after):
            same.setdefault((change.what, change.defect), []).append(change.address)
        for (what, why), vfs in same.items():
            if why:
                log.info(UNHEALTHY, after.resource, what, why.reason, str(why), as_ranges(vfs))
            else:
                log.info("devices resource=%s is=%s vfs=%s", after.resource, what, as_ranges(vfs))
            self._history.add(what, resource=after.resource, devices=vfs, defect=why)

    def excluded(self, before: Mapping[PciAddress, Defect], after: Mapping[PciAddress, Defect]) -> None:
        """Report which VFs are in no list, where that, or the reason for it, is new."""
        same: dict[Defect, list[PciAddress]] = {}
        for address, why in after.items():
            if before.get(address) != why:
                same.setdefault(why, []).append(address)
        for why, vfs in same.items():
            log.warning("VFs excluded reason=%s message=%r vfs=%s", why.reason, str(why), as_ranges(vfs))
            self._history.add("Excluded", devices=vfs, defect=why)
