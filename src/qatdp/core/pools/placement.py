"""What each VF is good for: the resource it belongs to, and what keeps it from being used now.

Two questions that must not be mixed: a VF with a defect still has its place, so a VF that was listed stays there as
Unhealthy, and one that was not is left out with the defect as the reason.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from qatdp.core.config.model import Config, DeviceNode, Selector, default_resource, full_name
from qatdp.core.model.pci import PciAddress
from qatdp.core.model.pf_defects import driver_defect
from qatdp.core.model.qat import VFIO_DRIVERS, Services, unknown_words
from qatdp.core.model.snapshot import (
    GroupMember,
    IommuGroup,
    NodeKind,
    PhysicalFunction,
    Snapshot,
    VfioNode,
    VirtualFunction,
)
from qatdp.core.pools.stale import Stale
from qatdp.core.reasons import Defect, Reason, defect

# Drivers that do no DMA of their own: the kernel lets them stay in a group that VFIO uses (drivers/vfio/group.c; 5.19
# and later by DMA ownership, drivers/iommu/iommu.c).
HARMLESS_DRIVERS = VFIO_DRIVERS | {"pcieport", "pci-stub"}

KINDS = {DeviceNode.GROUP: (NodeKind.GROUP, NodeKind.NOIOMMU), DeviceNode.CDEV: (NodeKind.CDEV,)}


@dataclass(frozen=True, slots=True)
class Placement:
    """A VF's place and state. `resource` None: it belongs nowhere, and `why_not` says why.

    `undecided` tells that its services cannot be known now: a VF that is in a list stays there.
    `defect` is what is wrong with it now, None for nothing. `in_doubt` tells that nothing is but what is not known.
    """

    resource: str | None = None
    excluded: Defect | None = None
    unknown_services: bool = False
    defect: Defect | None = None
    in_doubt: bool = False


@dataclass(frozen=True, slots=True)
class PlacementContext:
    """What bears on an offer besides the snapshot and the configuration, by the VF's address."""

    stale: Stale
    unbound: Mapping[PciAddress, Defect]  # why binding it to VFIO did not work
    in_doubt: Mapping[PciAddress, Defect]  # why it is not known whether somebody has it
    # By the PF's address: why its VFs are not to be used; what it is to become, so that they must leave their lists.
    sick: Mapping[PciAddress, Defect] = field(default_factory=dict)
    changing: Mapping[PciAddress, str] = field(default_factory=dict)
    opened: Collection[PciAddress] = frozenset()  # VFs that somebody has open whom the kubelet does not know
    shared: Collection[PciAddress] = frozenset()  # VFs that the kubelet's checkpoint names for two pods


EMPTY_CONTEXT = PlacementContext(Stale(), {}, {})


def placements(
    snapshot: Snapshot,
    config: Config,
    context: PlacementContext = EMPTY_CONTEXT,
    read: Collection[PciAddress] = frozenset(),
) -> Mapping[PciAddress, Placement]:
    """Return the placement of each VF of the snapshot; `read` are those in a list that a kubelet may have read."""
    standing = {group.number: _group_representative(group, snapshot, config, read) for group in snapshot.groups}
    return {vf.address: _placement(vf, snapshot, config, context, standing) for vf in snapshot.vfs}


def placements_of(
    vfs: Iterable[VirtualFunction], snapshot: Snapshot, config: Config, context: PlacementContext
) -> Mapping[PciAddress, Placement]:
    """Return the placements of some VFs of the snapshot, each of which has its IOMMU group alone."""
    return {vf.address: _placement(vf, snapshot, config, context, {}) for vf in vfs}


def _placement(
    vf: VirtualFunction,
    snapshot: Snapshot,
    config: Config,
    context: PlacementContext,
    standing: Mapping[int, PciAddress | None],
) -> Placement:
    pf = snapshot.pf(vf.pf)
    excluded = _change(vf, context) or _reserved(vf, config, standing)
    if excluded:
        return Placement(excluded=excluded)
    if unknown_services := _unknown_services(vf, pf, snapshot):
        why = _verdict(vf.pf, context) or unknown_services
        return Placement(unknown_services=True, excluded=why, defect=why)
    resource = resource_of(vf, pf, config)
    if resource is None:
        return Placement(excluded=defect(Reason.NOT_SELECTED))
    found = defect_of(vf, snapshot, config, resource, context)
    in_doubt = found is not None and found.reason is Reason.HOLDERS_UNKNOWN
    return Placement(resource, defect=found, in_doubt=in_doubt)


def _change(vf: VirtualFunction, context: PlacementContext) -> Defect | None:
    goal = context.changing.get(vf.pf) if vf.pf else None
    return defect(Reason.PF_RECONFIGURING, pf=vf.pf, goal=goal) if goal else None


def _reserved(vf: VirtualFunction, config: Config, standing: Mapping[int, PciAddress | None]) -> Defect | None:
    """Return why a VF is out of the question whatever its services are."""
    if _is_kept(vf, config):
        return defect(Reason.HOST_RESERVED, count=config.kept(vf.pf))
    # A VF that went in mid-scan can be missing from its group.
    first = standing.get(vf.iommu_group) if vf.iommu_group is not None else None
    if first not in (None, vf.address):
        return defect(Reason.GROUP_REPRESENTED, group=vf.iommu_group, vf=first)
    return None


def _is_kept(vf: VirtualFunction, config: Config) -> bool:
    return vf.index is not None and vf.index < config.kept(vf.pf)


def _group_representative(
    group: IommuGroup, snapshot: Snapshot, config: Config, read: Collection[PciAddress]
) -> PciAddress | None:
    """Return the VF that stands for a group of several, as who opens a group has it alone; None where it need not.

    The lowest that is offered anywhere, unless another one is in a list now.
    """
    ours = [member.address for member in group.members if member.qat_vf]
    if len(ours) < 2:
        return None
    return min(ours, key=lambda address: (address not in read, not _has_place(address, snapshot, config), address))


def _has_place(address: PciAddress, snapshot: Snapshot, config: Config) -> bool:
    """Return whether a VF belongs into some list, or may come to: that of a VF that cannot be seen now is not known."""
    vf = snapshot.vf(address)
    if vf is None:
        return True
    pf = snapshot.pf(vf.pf)
    return not _is_kept(vf, config) and bool(_unknown_services(vf, pf, snapshot) or resource_of(vf, pf, config))


def _unknown_services(vf: VirtualFunction, pf: PhysicalFunction | None, snapshot: Snapshot) -> Defect | None:
    """Return why the services of a VF cannot be known now; None where they are, or where there are none to know."""
    if vf.pf is None:
        return None
    if pf is None:
        return defect(Reason.PF_UNREADABLE, problem=snapshot.problem(vf.pf) or "is not there").of_pf(vf.pf)
    problem = snapshot.problem(pf.address)
    if pf.services_text is None and problem:
        return defect(Reason.PF_UNREADABLE, problem=problem).of_pf(pf.address)
    if pf.services_text is None and pf.is_down:
        return defect(Reason.PF_DOWN, evidence=f"is {pf.state}").of_pf(pf.address)
    if pf.services_text is None and pf.family.selectable and (found := driver_defect(pf, snapshot)):
        return found.of_pf(pf.address)
    if pf.services_text is not None and not pf.services_text.strip("; "):
        return defect(Reason.PF_NO_SERVICES).of_pf(pf.address)
    return None


def of_unknown_services(snapshot: Snapshot) -> frozenset[PciAddress]:
    """Return the PFs whose services could be chosen, but which do not tell them: their VFs are generic."""
    return frozenset(
        pf.address
        for pf in snapshot.pfs
        if pf.family.selectable and pf.on_own_driver and not pf.is_down
        if pf.services_text is None and snapshot.problem(pf.address) is None
    )


def of_unknown_words(snapshot: Snapshot) -> frozenset[tuple[PciAddress, str]]:
    """Return the PFs whose services have words that are not known here, with these: their VFs are generic."""
    return frozenset(
        (pf.address, ";".join(words)) for pf in snapshot.pfs if (words := unknown_words(pf.services_text or ""))
    )


def services_of(vf: VirtualFunction, pf: PhysicalFunction | None) -> Services | None:
    return pf.services if pf and vf.family.selectable else None


def resource_of(vf: VirtualFunction, pf: PhysicalFunction | None, config: Config) -> str | None:
    """Return the full name of the resource that a VF belongs to, the first rule that selects it deciding."""
    services = services_of(vf, pf)
    for rule in config.resources:
        if (rule.services is None or services in rule.services) and _selects(rule.selector, vf, config):
            return full_name(rule.name)
    return default_resource(services) if config.default_resources else None


def _selects(selector: Selector, vf: VirtualFunction, config: Config) -> bool:
    return (
        (selector.pfs is None or vf.pf in selector.pfs)
        and (selector.numa_nodes is None or vf.numa_node in selector.numa_nodes)
        and (selector.families is None or vf.family.name in selector.families)
        and (selector.drivers is None or _vfio_driver(vf, config) in selector.drivers)
    )


def _vfio_driver(vf: VirtualFunction, config: Config) -> str:
    """Return the VFIO driver that has a VF, or that it would be bound to."""
    return vf.driver if vf.on_vfio and vf.driver else config.vfio_driver


def defect_of(
    vf: VirtualFunction, snapshot: Snapshot, config: Config, resource: str, context: PlacementContext
) -> Defect | None:
    """Return the first thing that is wrong with a VF as a device of a resource, the one to mend first."""
    pf = snapshot.pf(vf.pf)
    unknown_services = _unknown_services(vf, pf, snapshot)
    return (
        (unknown_services and _verdict(vf.pf, context))
        or unknown_services
        or _problem(vf, snapshot)
        or (_pf_defect(pf, snapshot, context) if pf else None)
        or (None if vf.on_vfio else context.unbound.get(vf.address) or _driver_defect(vf, snapshot, config))
        or _group_defect(snapshot.group(vf.iommu_group))
        or (None if config.allow_no_iommu else _no_iommu_defect(vf))
        or node_defect(vf, config.options(resource).device_node)
        or context.stale.reasons.get(vf.address)
        or context.in_doubt.get(vf.address)
        or (defect(Reason.OPEN) if vf.address in context.opened else None)
    )


def _problem(vf: VirtualFunction, snapshot: Snapshot) -> Defect | None:
    problem = snapshot.problem(vf.address)
    return defect(Reason.UNREADABLE, problem=problem) if problem else None


def _pf_defect(pf: PhysicalFunction, snapshot: Snapshot, context: PlacementContext) -> Defect | None:
    if found := driver_defect(pf, snapshot):
        return found.of_pf(pf.address)
    # The verdict knows more than a scan: which read hangs where the scan left something out, and why a PF is down.
    if verdict := _verdict(pf.address, context):
        return verdict
    if pf.is_down:
        return defect(Reason.PF_DOWN, evidence=f"is {pf.state}").of_pf(pf.address)
    problem = snapshot.problem(pf.address)
    return defect(Reason.PF_UNREADABLE, problem=problem).of_pf(pf.address) if problem else None


def _verdict(pf: PciAddress | None, context: PlacementContext) -> Defect | None:
    return context.sick.get(pf) if pf else None


def _driver_defect(vf: VirtualFunction, snapshot: Snapshot, config: Config) -> Defect:
    wanted = config.vfio_driver
    if vf.driver not in (None, vf.family.vf_driver):
        return defect(Reason.FOREIGN_DRIVER, driver=vf.driver)
    if wanted not in snapshot.drivers:
        return defect(Reason.VFIO_NOT_LOADED, vfio_driver=wanted)
    if vf.driver is None:
        return defect(Reason.NO_DRIVER, vfio_driver=wanted)
    return defect(Reason.KERNEL_DRIVER, driver=vf.driver, vfio_driver=wanted)


def _group_defect(group: IommuGroup | None) -> Defect | None:
    if group is None:
        return defect(Reason.NO_IOMMU_GROUP)
    owners = [member for member in group.members if not _harmless(member)]
    if owners:
        owner = owners[0]
        return defect(Reason.GROUP_NOT_VIABLE, group=group.number, driver=owner.driver, member=owner.address)
    return None


def _harmless(member: GroupMember) -> bool:
    return member.driver is None or member.driver in HARMLESS_DRIVERS


def _no_iommu_defect(vf: VirtualFunction) -> Defect | None:
    """Tell what keeps a VF from being offered that no IOMMU keeps apart (drivers/vfio/group.c, vfio-noiommu)."""
    node = vf.node(NodeKind.NOIOMMU)
    return defect(Reason.NO_IOMMU_MODE, node=node.path) if node else None


def node_of(vf: VirtualFunction, path: DeviceNode) -> VfioNode | None:
    return vf.node(*KINDS[path])


def node_defect(vf: VirtualFunction, path: DeviceNode) -> Defect | None:
    node = node_of(vf, path)
    if node is None:
        return defect(Reason.NO_DEVICE_NODE, kind=path)
    return None if node.present else defect(Reason.DEVICE_NODE_MISSING, node=node.path)
