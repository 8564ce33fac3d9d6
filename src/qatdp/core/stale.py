"""Stale hand-overs: the kubelet keeps each pod's Allocate answer and uses it at every container start, unasked.

Group numbers can change (a PF that was reset, another order at boot), so an old answer can name a node that belongs to
another VF by now. Until that pod is gone its ID is not healthy, and the VF that owns those nodes is offered to nobody.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from qatdp.core.pci import PciAddress
from qatdp.core.snapshot import Snapshot

# In every answer, and nobody's own.
SHARED_NODES = frozenset({"/dev/vfio/vfio", "/dev/iommu"})


@dataclass(frozen=True, slots=True, order=True)
class Holding:
    """What the kubelet wrote down of one container and one resource: IDs, and the nodes that Allocate answered."""

    resource: str
    devices: tuple[PciAddress, ...]
    nodes: frozenset[str] = frozenset()


def stale_hand_overs(holdings: Iterable[Holding], snapshot: Snapshot) -> Mapping[PciAddress, str]:
    """Return why VFs may not be used because of old answers.

    The nodes of one answer belong to all its IDs together, so it is stale for each of them as soon as one of its nodes
    is not a node of theirs.
    """
    owners = {node.path: vf.address for vf in snapshot.vfs for node in vf.nodes}
    reasons: dict[PciAddress, str] = {}
    for holding in holdings:
        present = [vf for device in holding.devices if (vf := snapshot.vf(device)) and vf.nodes]
        foreign = holding.nodes - SHARED_NODES - {node.path for vf in present for node in vf.nodes}
        if len(present) < len(holding.devices):
            foreign &= owners.keys()  # a node that nobody has may be that of the VF that is not there
        if not foreign:
            continue
        names = " ".join(sorted(foreign))
        for device in holding.devices:
            reasons[device] = f"a pod that has it was given {names}, which it no longer is"
        for node in sorted(foreign & owners.keys()):
            reasons.setdefault(owners[node], f"a pod that was given {node} for another VF still runs")
    return reasons
