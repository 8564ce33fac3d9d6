"""What changed between two pools, for the log: one line per device that came, left or changed its health."""

from collections.abc import Iterator
from dataclasses import dataclass

from qatdp.core.model.pci import PciAddress
from qatdp.core.pools.pools import PoolDevice, ResourcePool
from qatdp.core.reasons import Defect


@dataclass(frozen=True, slots=True)
class Change:
    """One device; `what` is Added, Removed, or its new health, `defect` why it is not healthy."""

    address: PciAddress
    what: str
    defect: Defect | None = None


def changes(old: ResourcePool, new: ResourcePool) -> Iterator[Change]:
    """Yield the changes in the order of addresses."""
    before = {device.address: device for device in old.devices}
    after = {device.address: device for device in new.devices}
    for address in sorted(before.keys() | after.keys()):
        change = _change(before.get(address), after.get(address))
        if change:
            yield change


def _change(before: PoolDevice | None, after: PoolDevice | None) -> Change | None:
    if after is None:
        return Change(before.address, "Removed") if before else None
    if before is None:
        what = "Added" if after.defect is None else "AddedUnhealthy"
        return Change(after.address, what, after.defect)
    if (before.health, before.defect) != (after.health, after.defect):
        return Change(after.address, str(after.health), after.defect)
    return None
