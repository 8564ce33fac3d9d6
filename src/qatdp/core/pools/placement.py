"""Placement: the resource that each VF belongs to, and what keeps it from being used now.

Two questions that must not be mixed: a VF with a defect still has its place, so a VF that was listed stays there as
Unhealthy, and one that was not is left out with the defect as the reason.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from qatdp.core.config.model import Config, Selector, default_resource, full_name
from qatdp.core.model.pci import PciAddress
from qatdp.core.model.qat import Services, unknown_words
from qatdp.core.model.snapshot import IommuGroup, PhysicalFunction, Snapshot, VirtualFunction
from qatdp.core.pools.checks import defect_of, services_defect
from qatdp.core.pools.view import EMPTY_CONTEXT, PlacementContext, VfView, view_of
from qatdp.core.reasons import Defect, Reason, defect


@dataclass(frozen=True, slots=True)
class Placement:
    """A VF's place and state."""

    resource: str | None = None  # None: it belongs nowhere, and `excluded` says why
    excluded: Defect | None = None
    unknown_services: bool = False  # they cannot be known now: a VF that is in a list stays there
    defect: Defect | None = None  # what is wrong with it now; None for nothing
    in_doubt: bool = False  # nothing is wrong with it but what is not known


def placements(
    snapshot: Snapshot,
    config: Config,
    context: PlacementContext = EMPTY_CONTEXT,
    read: Collection[PciAddress] = frozenset(),
) -> Mapping[PciAddress, Placement]:
    """Return the placement of each VF of the snapshot; `read` are those in a list that a kubelet may have read."""
    standing = {group.number: _group_representative(group, snapshot, config, read) for group in snapshot.groups}
    return {vf.address: _placement(view_of(vf, snapshot, config, context), standing) for vf in snapshot.vfs}


def placements_of(
    vfs: Iterable[VirtualFunction], snapshot: Snapshot, config: Config, context: PlacementContext
) -> Mapping[PciAddress, Placement]:
    """Return the placements of some VFs of the snapshot, each of which has its IOMMU group alone."""
    return {vf.address: _placement(view_of(vf, snapshot, config, context), {}) for vf in vfs}


def _placement(view: VfView, standing: Mapping[int, PciAddress | None]) -> Placement:
    if excluded := _changing(view) or _reserved(view, standing):
        return Placement(excluded=excluded)
    if unknown := services_defect(view):
        why = view.verdict or unknown
        return Placement(unknown_services=True, excluded=why, defect=why)
    resource = resource_of(view.vf, view.pf, view.config)
    if resource is None:
        return Placement(excluded=defect(Reason.NOT_SELECTED))
    found = defect_of(view, view.config.options(resource))
    in_doubt = found is not None and found.reason is Reason.HOLDERS_UNKNOWN
    return Placement(resource, defect=found, in_doubt=in_doubt)


def _changing(view: VfView) -> Defect | None:
    goal = view.context.changing.get(view.vf.pf) if view.vf.pf else None
    return defect(Reason.PF_RECONFIGURING, pf=view.vf.pf, goal=goal) if goal else None


def _reserved(view: VfView, standing: Mapping[int, PciAddress | None]) -> Defect | None:
    """Return why a VF is out of the question whatever its services are."""
    if view.is_reserved:
        return defect(Reason.HOST_RESERVED, count=view.config.kept(view.vf.pf))
    group = view.vf.iommu_group
    # A VF that went in mid-scan can be missing from its group.
    first = standing.get(group) if group is not None else None
    if first not in (None, view.vf.address):
        return defect(Reason.GROUP_REPRESENTED, group=group, vf=first)
    return None


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
    """Return whether a VF has, or may later get, a resource. A VF missing from the snapshot counts as yes."""
    vf = snapshot.vf(address)
    if vf is None:
        return True
    view = view_of(vf, snapshot, config)
    return not view.is_reserved and bool(services_defect(view) or resource_of(vf, view.pf, config))


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
