"""Which VFs somebody has open whom the kubelet does not know: they are offered to nobody until they are closed.

A VM, a process of the host, a pod of another resource, or a pod that the kubelet has forgotten may have a VF open.
Whoever is given that VF meanwhile gets EBUSY, and so does the next pod. A pod that has just ended closes its VF a
moment later, so a VF counts only after a hold. Pure: times are arguments, in seconds of a clock that never goes back.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from qatdp.core.model.pci import PciAddress
from qatdp.core.model.snapshot import IommuGroup, Snapshot
from qatdp.core.pools.stale import CheckpointEntry

HOLD_S = 2.0
# A poll reads so many VFs whatever the size of the node, and in addition those that are known to be open.
SLICE = 64


@dataclass(frozen=True, slots=True)
class OpenVfs:
    """VFs that are open, and that no record names for a pod.

    `since_s`: when each was first seen so, and it was at each poll since. `confirmed`: those that were for the hold.
    """

    since_s: Mapping[PciAddress, float] = field(default_factory=dict)
    confirmed: frozenset[PciAddress] = frozenset()


def polled(before: OpenVfs, opened: Collection[PciAddress], now_s: float, hold_s: float = HOLD_S) -> OpenVfs:
    """Return what is known after a poll; `opened` are those that were open, of which no record names any.

    Each poll reads all that were open before, so that one which is not among them was closed.
    """
    since_s = {vf: before.since_s.get(vf, now_s) for vf in opened}
    confirmed = frozenset(vf for vf in since_s if vf in before.since_s and now_s - since_s[vf] >= hold_s)
    return OpenVfs(since_s, confirmed)


def without(state: OpenVfs, named: Collection[PciAddress]) -> OpenVfs:
    """Return what is known once records name some of them for pods."""
    since_s = {vf: at_s for vf, at_s in state.since_s.items() if vf not in named}
    return OpenVfs(since_s, state.confirmed & since_s.keys())


def next_slice(vfs: Sequence[PciAddress], after: PciAddress | None, count: int = SLICE) -> Sequence[PciAddress]:
    """Return the VFs to poll after that one, in a circle; all where they are not more than `count`.

    `vfs` are in the order of their addresses; the last of the slice is the next `after`.
    """
    if len(vfs) <= count:
        return tuple(vfs)
    later = [vf for vf in vfs if after is None or vf > after]
    return (*later, *vfs[: len(vfs) - len(later)])[:count]


def named_devices(pod_entries: Collection[CheckpointEntry]) -> frozenset[PciAddress]:
    """Return the devices that the kubelet's checkpoint names for pods, under whichever resource."""
    return frozenset(device for pod_entry in pod_entries for device in pod_entry.devices)


def shared_devices(pod_entries: Collection[CheckpointEntry]) -> frozenset[PciAddress]:
    """Return the devices that the checkpoint names for two pods.

    A kubelet that is asked for PodResources List while it admits a pod forgets what it has just chosen, and gives it to
    the next pod as well (devicemanager/manager.go, UpdateAllocatedDevices; kubernetes/kubernetes PR 137534).
    """
    pods: dict[PciAddress, str] = {}
    shared: set[PciAddress] = set()
    for pod_entry in pod_entries:
        for device in pod_entry.devices:
            if pods.setdefault(device, pod_entry.uid) != pod_entry.uid:
                shared.add(device)
    return frozenset(shared)


def functions_of(vf: PciAddress, snapshot: Snapshot) -> tuple[PciAddress, ...]:
    """Return the functions that must be closed before a VF can be opened: those of its group that a VFIO driver has.

    What other drivers have is enabled for as long as they have it, which says nothing.
    """
    seen = snapshot.vf(vf)
    group = snapshot.group(seen.iommu_group) if seen else None
    members = _on_vfio(group) if group else ()
    return members or ((vf,) if seen and seen.on_vfio else ())


def _on_vfio(group: IommuGroup) -> tuple[PciAddress, ...]:
    return tuple(member.address for member in group.members if member.on_vfio)
