"""A node after steps were taken on one of its PFs: what the QAT driver does, on a Snapshot.

As strict as the driver: a step out of order is an AssertionError. simulator/host/node.py does the same to a made /sys.
"""

from collections.abc import Iterable
from dataclasses import replace

from qatdp.core.model.pci import PciAddress
from qatdp.core.model.qat import VFIO_DRIVERS, parse_services
from qatdp.core.model.snapshot import PhysicalFunction, Snapshot, VirtualFunction
from qatdp.core.provision.planner import PfPlan
from qatdp.core.provision.steps import Step, What, may_take
from support.strategies import a_snapshot, its_vfs

TOTAL = 3


def carry_out(snapshot: Snapshot, pf_plan: PfPlan) -> Snapshot:
    """Return the node after the steps of one PF's plan."""
    for step in pf_plan.steps:
        snapshot = _step(snapshot, pf_plan.address, step)
    return snapshot


def _step(snapshot: Snapshot, address: PciAddress, step: Step) -> Snapshot:
    pf = snapshot.pf(address)
    assert pf
    vfs = [vf for vf in snapshot.vfs if vf.pf == address]
    match step.what:
        case What.DOWN:
            assert pf.state
            return _with(snapshot, replace(pf, state="down"), [])
        case What.SERVICES:
            assert pf.is_down
            new = replace(pf, services=parse_services(step.value), services_text=step.value)
            return _with(snapshot, new, vfs)
        case What.UP:
            assert pf.state
            return _with(snapshot, replace(pf, state="up"), vfs)
        case What.AUTO_RESET:
            assert pf.auto_reset is not None
            return _with(snapshot, replace(pf, auto_reset=step.value == "on"), vfs)
        case What.NO_PROBE:
            return snapshot
        case What.VFS:
            new = replace(pf, state=pf.state and "up")
            return _with(snapshot, new, vfs or list(its_vfs(pf, TOTAL, driver=None)))
        case What.BIND:
            return _with(snapshot, pf, [_bound(vf, step) for vf in vfs])


def _bound(vf: VirtualFunction, step: Step) -> VirtualFunction:
    to_us = vf.index is None or vf.index >= step.skip
    return replace(vf, driver=step.value) if to_us and may_take(vf.driver, vf.family.vf_driver) else vf


def _with(snapshot: Snapshot, pf: PhysicalFunction, vfs: Iterable[VirtualFunction]) -> Snapshot:
    others = [one for one in snapshot.pfs if one.address != pf.address]
    theirs = [vf for vf in snapshot.vfs if vf.pf != pf.address]
    foreign = {group.number: [member for member in group.members if not member.qat_vf] for group in snapshot.groups}
    return a_snapshot([*others, pf], [*theirs, *vfs], others=foreign, problems=snapshot.problems, drivers=VFIO_DRIVERS)
