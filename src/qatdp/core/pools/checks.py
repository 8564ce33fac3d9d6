"""What keeps a VF from being used now: a table of checks, in the order in which an operator would mend it.

The first check that finds something is the VF's defect. Where its PF and the VF itself are both wrong, the PF comes
first: its repair often is the VF's as well.
"""

from collections.abc import Callable
from typing import TypeAlias

from qatdp.core.config.model import ResourceOptions
from qatdp.core.model.pf_defects import driver_defect
from qatdp.core.model.qat import VFIO_DRIVERS
from qatdp.core.model.snapshot import GroupMember, NodeKind
from qatdp.core.pools.view import VfView, node_of
from qatdp.core.reasons import Defect, Reason, defect

# Drivers that do no DMA of their own: the kernel lets them stay in a group that VFIO uses (drivers/vfio/group.c; 5.19
# and later by DMA ownership, drivers/iommu/iommu.c).
HARMLESS_DRIVERS = VFIO_DRIVERS | {"pcieport", "pci-stub"}

Check: TypeAlias = Callable[[VfView, ResourceOptions], Defect | None]


def defect_of(view: VfView, options: ResourceOptions) -> Defect | None:
    """Return the first thing that is wrong with a VF as a device of a resource with these options."""
    return next((found for check in CHECKS if (found := check(view, options))), None)


def services_defect(view: VfView) -> Defect | None:
    """Return why the services of a VF cannot be known now; None where they are, or where there are none to know."""
    vf, pf, snapshot = view.vf, view.pf, view.snapshot
    if vf.pf is None:
        return None
    if pf is None:
        return defect(Reason.PF_UNREADABLE, problem=snapshot.problem(vf.pf) or "is not there").of_pf(vf.pf)
    if pf.services_text is not None:
        return None if pf.services_text.strip("; ") else defect(Reason.PF_NO_SERVICES).of_pf(pf.address)
    if problem := snapshot.problem(pf.address):
        return defect(Reason.PF_UNREADABLE, problem=problem).of_pf(pf.address)
    if pf.is_down:
        return _down(view)
    found = driver_defect(pf, snapshot) if pf.family.selectable else None
    return found.of_pf(pf.address) if found else None


def _services(view: VfView, _: ResourceOptions) -> Defect | None:
    found = services_defect(view)
    return (view.verdict or found) if found else None  # the verdict knows more: which read hangs, why a PF is down


def _unreadable(view: VfView, _: ResourceOptions) -> Defect | None:
    problem = view.snapshot.problem(view.vf.address)
    return defect(Reason.UNREADABLE, problem=problem) if problem else None


def _pf_driver(view: VfView, _: ResourceOptions) -> Defect | None:
    found = driver_defect(view.pf, view.snapshot) if view.pf else None
    return found.of_pf(view.vf.pf) if found else None


def _pf_verdict(view: VfView, _: ResourceOptions) -> Defect | None:
    return view.verdict if view.pf else None


def _pf_down(view: VfView, _: ResourceOptions) -> Defect | None:
    return _down(view) if view.pf and view.pf.is_down else None


def _down(view: VfView) -> Defect:
    state = view.pf.state if view.pf else None
    return defect(Reason.PF_DOWN, evidence=f"is {state}").of_pf(view.vf.pf)


def _pf_unreadable(view: VfView, _: ResourceOptions) -> Defect | None:
    problem = view.snapshot.problem(view.pf.address) if view.pf else None
    return defect(Reason.PF_UNREADABLE, problem=problem).of_pf(view.vf.pf) if problem else None


def _not_bound(view: VfView, _: ResourceOptions) -> Defect | None:
    """Find a VF that is not on VFIO, and why."""
    vf, wanted = view.vf, view.config.vfio_driver
    if vf.on_vfio:
        return None
    if why := view.context.unbound.get(vf.address):
        return why
    if vf.driver not in (None, vf.family.vf_driver):
        return defect(Reason.FOREIGN_DRIVER, driver=vf.driver)
    if wanted not in view.snapshot.drivers:
        return defect(Reason.VFIO_NOT_LOADED, vfio_driver=wanted)
    if vf.driver is None:
        return defect(Reason.NO_DRIVER, vfio_driver=wanted)
    return defect(Reason.KERNEL_DRIVER, driver=vf.driver, vfio_driver=wanted)


def _group(view: VfView, _: ResourceOptions) -> Defect | None:
    if view.group is None:
        return defect(Reason.NO_IOMMU_GROUP)
    owner = next((member for member in view.group.members if not _harmless(member)), None)
    if owner is None:
        return None
    return defect(Reason.GROUP_NOT_VIABLE, group=view.group.number, driver=owner.driver, member=owner.address)


def _harmless(member: GroupMember) -> bool:
    return member.driver is None or member.driver in HARMLESS_DRIVERS


def _no_iommu(view: VfView, _: ResourceOptions) -> Defect | None:
    """Find a VF that no IOMMU keeps apart (drivers/vfio/group.c, vfio-noiommu)."""
    node = None if view.config.allow_no_iommu else view.vf.node(NodeKind.NOIOMMU)
    return defect(Reason.NO_IOMMU_MODE, node=node.path) if node else None


def _device_node(view: VfView, options: ResourceOptions) -> Defect | None:
    node = node_of(view.vf, options.device_node)
    if node is None:
        return defect(Reason.NO_DEVICE_NODE, kind=options.device_node)
    return None if node.present else defect(Reason.DEVICE_NODE_MISSING, node=node.path)


def _stale(view: VfView, _: ResourceOptions) -> Defect | None:
    return view.context.stale.reasons.get(view.vf.address)


def _in_doubt(view: VfView, _: ResourceOptions) -> Defect | None:
    return view.context.in_doubt.get(view.vf.address)


def _open(view: VfView, _: ResourceOptions) -> Defect | None:
    return defect(Reason.OPEN) if view.vf.address in view.context.opened else None


CHECKS: tuple[Check, ...] = (
    _services,
    _unreadable,
    _pf_driver,
    _pf_verdict,
    _pf_down,
    _pf_unreadable,
    _not_bound,
    _group,
    _no_iommu,
    _device_node,
    _stale,
    _in_doubt,
    _open,
)
