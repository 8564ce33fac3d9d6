"""VfView: a VF with all that bears on it, joined once per build, so that each decision about it has one argument."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from qatdp.core.config.model import Config, DeviceNode
from qatdp.core.model.pci import PciAddress
from qatdp.core.model.snapshot import IommuGroup, NodeKind, PhysicalFunction, Snapshot, VfioNode, VirtualFunction
from qatdp.core.pools.stale import Stale
from qatdp.core.reasons import Defect

KINDS = {DeviceNode.GROUP: (NodeKind.GROUP, NodeKind.NOIOMMU), DeviceNode.CDEV: (NodeKind.CDEV,)}


@dataclass(frozen=True, slots=True)
class PlacementContext:
    """What bears on VFs in addition to the snapshot and the configuration, by the VF's address, or by its PF's."""

    stale: Stale
    unbound: Mapping[PciAddress, Defect]  # why binding it to VFIO did not work
    in_doubt: Mapping[PciAddress, Defect]  # why it is not known whether somebody has it
    pf_defects: Mapping[PciAddress, Defect] = field(default_factory=dict)  # PFs: why their VFs cannot be used
    changing: Mapping[PciAddress, str] = field(default_factory=dict)  # PFs: what they become, so that their VFs leave
    opened: Collection[PciAddress] = frozenset()  # VFs that somebody has open whom the kubelet does not know
    shared: Collection[PciAddress] = frozenset()  # VFs that the kubelet's checkpoint names for two pods


EMPTY_CONTEXT = PlacementContext(Stale(), {}, {})


@dataclass(frozen=True, slots=True)
class VfView:
    """A VF of a snapshot, with its PF and its IOMMU group as far as the snapshot has them."""

    vf: VirtualFunction
    pf: PhysicalFunction | None
    group: IommuGroup | None
    snapshot: Snapshot
    config: Config
    context: PlacementContext

    @property
    def verdict(self) -> Defect | None:
        """Why its PF is not trusted (core/health/verdict.py)."""
        return self.context.pf_defects.get(self.vf.pf) if self.vf.pf else None

    @property
    def is_reserved(self) -> bool:
        """Whether it stays with the host."""
        return self.vf.index is not None and self.vf.index < self.config.kept(self.vf.pf)


def view_of(
    vf: VirtualFunction, snapshot: Snapshot, config: Config, context: PlacementContext = EMPTY_CONTEXT
) -> VfView:
    return VfView(vf, snapshot.pf(vf.pf), snapshot.group(vf.iommu_group), snapshot, config, context)


def node_of(vf: VirtualFunction, path: DeviceNode) -> VfioNode | None:
    return vf.node(*KINDS[path])
