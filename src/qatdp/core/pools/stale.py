"""Stale allocations: the kubelet keeps each pod's Allocate answer and uses it at every container start, unasked.

Group numbers can change (a PF that was reset, another order at boot), so an old answer can name a node that belongs to
another VF now. Until that pod is gone its ID is not healthy, so that the kubelet admits the pod no more after a boot
(devicemanager/manager.go, devicesToAllocate); its containers are not started again; and the VF that owns those nodes is
offered to nobody.
Nor is one that a pod has from another plugin: some SR-IOV plugins serve any VF on VFIO, by its address as well.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from qatdp.core.config.model import is_ours
from qatdp.core.model.pci import PciAddress
from qatdp.core.model.snapshot import Snapshot
from qatdp.core.reasons import Defect, Reason, defect

# In every answer, and nobody's own.
SHARED_NODES = frozenset({"/dev/vfio/vfio", "/dev/iommu"})


@dataclass(frozen=True, slots=True)
class Stale:
    """Why VFs may not be used because of old answers.

    `taken` are those that somebody was given by another name: whoever may have such a VF, nobody may get it. `outdated`
    are those of which a pod has an old answer: no container may be started by it.
    """

    reasons: Mapping[PciAddress, Defect] = field(default_factory=dict)
    taken: frozenset[PciAddress] = frozenset()
    outdated: frozenset[PciAddress] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.reasons)

    def differing(self, other: "Stale") -> set[PciAddress]:
        """Return the VFs of which the two do not say the same."""
        reasons = {
            at for at in self.reasons.keys() | other.reasons.keys() if self.reasons.get(at) != other.reasons.get(at)
        }
        return reasons | (self.taken ^ other.taken) | (self.outdated ^ other.outdated)


@dataclass(frozen=True, slots=True, order=True)
class CheckpointEntry:
    """What the kubelet wrote down of one container and one resource: IDs, and the nodes that Allocate answered.

    `uid` is the pod's. It and `container` are empty for an answer of ours that was not seen written down yet.
    """

    resource: str
    devices: tuple[PciAddress, ...]
    nodes: frozenset[str] = frozenset()
    uid: str = ""
    container: str = ""


def stale_allocations(pod_entries: Collection[CheckpointEntry], snapshot: Snapshot) -> Stale:
    """Return which VFs may not be used because of old answers.

    The nodes of one answer belong to all its IDs together, so it is stale for each of them as soon as one of its nodes
    is not a node of theirs.
    """
    owners = {node.path: vf.address for vf in snapshot.vfs for node in vf.nodes}
    taken: dict[PciAddress, Defect] = {}
    reasons: dict[PciAddress, Defect] = {}
    old = [(one, _outdated(one, snapshot, owners)) for one in pod_entries if is_ours(one.resource)]
    for pod_entry, nodes in old:
        for device in pod_entry.devices if nodes else ():
            reasons[device] = defect(Reason.STALE_ALLOCATION, nodes=" ".join(nodes))
    for node in (node for _, nodes in old for node in nodes if node in owners):
        taken.setdefault(owners[node], defect(Reason.NODE_CLAIMED, node=node))
    for pod_entry in (one for one in pod_entries if not is_ours(one.resource)):
        by_node = (owners[node] for node in pod_entry.nodes & owners.keys())
        for address in (*filter(snapshot.vf, pod_entry.devices), *by_node):
            taken.setdefault(address, defect(Reason.OTHER_PLUGIN, resource=pod_entry.resource))
    return Stale({**taken, **reasons}, frozenset(taken), frozenset(reasons))


def is_current(answer: CheckpointEntry, snapshot: Snapshot) -> bool:
    """Return whether an answer's nodes are its devices' own, so that it is stale for nobody."""
    vfs = [snapshot.vf(device) for device in answer.devices]
    own = {node.path for vf in vfs if vf for node in vf.nodes}
    return all(vfs) and answer.nodes - SHARED_NODES <= own


def _outdated(pod_entry: CheckpointEntry, snapshot: Snapshot, owners: Mapping[str, PciAddress]) -> list[str]:
    """Return the nodes of an answer that are none of its devices' now."""
    present = [vf for device in pod_entry.devices if (vf := snapshot.vf(device)) and vf.nodes]
    foreign = pod_entry.nodes - SHARED_NODES - {node.path for vf in present for node in vf.nodes}
    if len(present) < len(pod_entry.devices):
        foreign &= owners.keys()  # a node that nobody has may be that of the VF that is not there
    return sorted(foreign)
