"""Plans what is to be done to each PF, so that the node is what the spec says, by the least change.

A PF that can stay as it is stays, and one that nobody uses is changed before one that is used; on the latter no step
is taken now. Pure: the same node, spec and users give the same plan, and a plan that was carried out leaves none.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from qatdp.core.config.model import Config
from qatdp.core.config.spec import Partition, ProvisionSpec, Scope, can_do
from qatdp.core.model.pci import PciAddress
from qatdp.core.model.pf_defects import driver_defect, sriov_defect
from qatdp.core.model.snapshot import PhysicalFunction, Snapshot, VirtualFunction
from qatdp.core.provision.apportion import Quota, quotas
from qatdp.core.provision.assign_min_cost import NOWHERE, assign
from qatdp.core.provision.steps import Goal, Step, What, needed_steps
from qatdp.core.provision.warnings import named_in_vain, none_can, rounded, too_few
from qatdp.core.reasons import Defect, Reason, defect


@dataclass(frozen=True, slots=True)
class PfPlan:
    """What becomes of a PF. `goal` None: no part takes it, or `why` says what keeps it out.

    `steps` are to be taken now, `later` once nobody uses it any more; then `why` says who does.
    """

    address: PciAddress
    goal: Goal | None = None
    steps: tuple[Step, ...] = ()
    later: tuple[Step, ...] = ()
    why: Defect | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """PFs in the order of addresses. `rounded`: shares that were no whole numbers; `unmet`: parts that get less."""

    pfs: tuple[PfPlan, ...] = ()
    rounded: tuple[str, ...] = ()
    unmet: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Node:
    """What a plan is made of."""

    snapshot: Snapshot
    config: Config
    spec: ProvisionSpec
    users: Mapping[PciAddress, Defect]  # of PFs: the first reason why it is in use
    vfs: Mapping[PciAddress, Sequence[VirtualFunction]]

    def goal(self, pf: PhysicalFunction, part: Partition) -> Goal:
        return Goal(part.services, self.spec.auto_reset, self.config.vfio_driver, self.config.kept(pf.address))

    def steps(self, pf: PhysicalFunction, part: Partition) -> tuple[Step, ...]:
        return needed_steps(pf, self.vfs.get(pf.address, ()), self.goal(pf, part))


def plan(snapshot: Snapshot, config: Config, spec: ProvisionSpec, in_use: Mapping[PciAddress, Defect]) -> Plan:
    """Return what is to be done; `in_use` are VFs that somebody has or may be given, with the reason."""
    node = _Node(snapshot, config, spec, _users(snapshot, in_use), _by_pf(snapshot))
    out = {pf.address: why for pf in snapshot.pfs if (why := _left_out(pf, node))}
    taken: dict[PciAddress, int] = {}
    told: list[str] = []
    unmet = list(named_in_vain(spec.parts, snapshot.pfs, out))
    pfs = [pf for pf in snapshot.pfs if pf.address not in out]
    for scope, of in _scopes(pfs, spec.scope):
        able = [[pf.address for pf in of if _can_be(pf, part)] for part in spec.parts]
        quota = quotas(spec.parts, able)
        found = _assigned(node, of, quota)
        taken.update(found)
        got = [sum(index == part for part in found.values()) for index in range(len(quota))]
        told += rounded(quota, able, scope)
        unmet += [*too_few(spec.parts, of, quota, got, scope), *none_can(spec.parts, of, able, scope)]
    plans = tuple(_pf_plan(node, pf, taken.get(pf.address), out.get(pf.address)) for pf in snapshot.pfs)
    return Plan(plans, tuple(told), tuple(dict.fromkeys(unmet)))


def _by_pf(snapshot: Snapshot) -> Mapping[PciAddress, Sequence[VirtualFunction]]:
    found: dict[PciAddress, list[VirtualFunction]] = {}
    for vf in snapshot.vfs:
        if vf.pf:
            found.setdefault(vf.pf, []).append(vf)
    return found


def _users(snapshot: Snapshot, in_use: Mapping[PciAddress, Defect]) -> Mapping[PciAddress, Defect]:
    """Return why PFs are in use: who has a group has all VFs in it, be they of several PFs."""
    found: dict[PciAddress, Defect] = {}
    for vf in snapshot.vfs:
        group = snapshot.group(vf.iommu_group)
        together = (vf.address, *(member.address for member in group.members)) if group else (vf.address,)
        user = next((address for address in together if address in in_use), None)
        if vf.pf and user:
            found.setdefault(vf.pf, in_use[user].of_user(user))
    return found


# Which PF is for which part


def _left_out(pf: PhysicalFunction, node: _Node) -> Defect | None:
    """Return why a PF is neither changed nor counted."""
    if pf.address in node.spec.exclude_pfs:
        return defect(Reason.PF_EXCLUDED)
    if problem := node.snapshot.problem(pf.address):
        return defect(Reason.PF_UNREADABLE, problem=problem)
    return driver_defect(pf, node.snapshot) or sriov_defect(pf)


def _can_be(pf: PhysicalFunction, part: Partition) -> bool:
    # A kernel before 6.0 has no qat/ to choose services by: there a PF can be what it is, and nothing else.
    chosen = pf.state is not None or part.services is None or pf.services == part.services
    return part.selects(pf) and can_do(pf.family, part) and chosen


def _scopes(pfs: Sequence[PhysicalFunction], scope: Scope) -> Iterable[tuple[str, list[PhysicalFunction]]]:
    """Yield the PFs that shares and counts are of, with what they are called."""
    if scope is Scope.NODE:
        return [("", list(pfs))] if pfs else []

    def node(pf: PhysicalFunction) -> int:
        return -1 if pf.numa_node is None else pf.numa_node

    return [(f" of NUMA node {number}", list(of)) for number, of in groupby(sorted(pfs, key=node), node)]


def _assigned(node: _Node, pfs: Sequence[PhysicalFunction], quota: Sequence[Quota]) -> Mapping[PciAddress, int]:
    costs = [[_cost(node, pf, index, len(pfs)) for index in range(len(quota))] for pf in pfs]
    where = assign(costs, [one.pfs for one in quota])
    return {pf.address: index for pf, index in zip(pfs, where, strict=True) if index != NOWHERE}


def _cost(node: _Node, pf: PhysicalFunction, index: int, pfs: int) -> int | None:
    """Return what it costs to have a PF in a part; None where it cannot be.

    One number in which each concern outweighs all PFs of the lesser ones: that a part gets its PFs, the first part
    above the others; that no PF in use is to be changed; then services; then anything else.
    """
    part = node.spec.parts[index]
    if not _can_be(pf, part):
        return None
    weight = 4 * (pfs + 1)
    gain: int = weight ** (3 + len(node.spec.parts) - index)
    steps = node.steps(pf, part)
    if not steps:
        return -gain
    changes = any(step.what is What.SERVICES for step in steps)
    return (weight if changes else 1) + (weight**2 if pf.address in node.users else 0) - gain


def _pf_plan(node: _Node, pf: PhysicalFunction, index: int | None, out: Defect | None) -> PfPlan:
    if index is None:
        return PfPlan(pf.address, why=out or defect(Reason.PF_NOT_SELECTED))
    part = node.spec.parts[index]
    goal, steps, user = node.goal(pf, part), node.steps(pf, part), node.users.get(pf.address)
    if steps and user:
        return PfPlan(pf.address, goal, later=steps, why=user)
    return PfPlan(pf.address, goal, steps)
