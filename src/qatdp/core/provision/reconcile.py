"""Repartition: what is to be done now, of a plan, while pods come and go on the node.

A PF is changed only once its VFs are in no list, so that nobody can get them, and nobody has them. Each time it is
asked it begins again with what the node shows: there is nothing to be remembered, and a spec that is taken back gives
all VFs back that have not gone.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from qatdp.core.config.model import Config, full_name
from qatdp.core.config.spec import ProvisionSpec, When
from qatdp.core.model.pci import PciAddress
from qatdp.core.model.snapshot import Snapshot
from qatdp.core.provision.in_use import Evidence, in_use
from qatdp.core.provision.planner import PfPlan, Plan, plan
from qatdp.core.provision.steps import What
from qatdp.core.reasons import Defect, Reason, defect
from qatdp.core.release.protocol import LEAVING, MAYBE_IN_USE, OUT_OF_LIST, Ledger, LedgerEntry


@dataclass(frozen=True, slots=True)
class ReconcileInput:
    """A node at one moment. `claims` are VFs that somebody may have beyond the ledger, with the reason; `changing` are
    PFs whose VFs are on their way out already, `resting` those with which it has just failed, `given_back` those that
    are not to be drained any more. `failed` are those whose last change has failed."""

    snapshot: Snapshot
    config: Config
    spec: ProvisionSpec
    ledger: Ledger
    claims: Mapping[PciAddress, Defect]
    changing: Collection[PciAddress] = frozenset()
    resting: Collection[PciAddress] = frozenset()
    given_back: Collection[PciAddress] = frozenset()
    failed: Collection[PciAddress] = frozenset()


@dataclass(frozen=True, slots=True)
class ReconcilePlan:
    """`changing` are PFs whose VFs have to leave their lists, with what becomes of them; `ready` can be changed now;
    `blocked` are PFs that are waited for, as pods use them; `given_back` those of them that were drained for
    nothing."""

    plan: Plan
    changing: Mapping[PciAddress, str]
    ready: tuple[PfPlan, ...]
    blocked: frozenset[PciAddress]
    given_back: tuple[PciAddress, ...] = ()


def repartition(now: ReconcileInput) -> ReconcilePlan:
    """Return what is to be done now."""
    found = plan(
        now.snapshot, now.config, now.spec, {**in_use(now.snapshot, Evidence(_held(now.ledger))), **now.claims}
    )
    able = [one for one in found.pfs if one.steps and one.address not in now.resting]
    non_disruptive = [one for one in able if not _disturbs(one)]
    left, listed = _available(now), _listed(now)
    # One that fails, or hangs, holds up no other. Where more have failed than may be away it is not them, but the spec.
    lost = sum(1 for one in found.pfs if one.steps and one.address in now.failed and not listed[one.address])
    away = lost if lost > now.spec.max_unavailable else 0
    taken = sorted(_taken([one for one in able if _disturbs(one)], now, left, away), key=lambda one: one.address)
    drained = _taken(list(_to_drain(found, now)), now, left, 0)
    return ReconcilePlan(
        plan=found,
        changing={one.address: becomes(one) for one in (*taken, *drained)},
        ready=tuple(one for one in (*non_disruptive, *taken) if one in non_disruptive or not listed[one.address]),
        blocked=frozenset(one.address for one in found.pfs if one.later),
        given_back=tuple(one.address for one in found.pfs if one.later and one.address in now.given_back),
    )


def _held(ledger: Ledger) -> Mapping[PciAddress, Defect]:
    return {
        address: defect(Reason.MAYBE_HELD, resource=entry.resource)
        for address, entry in ledger.items()
        if entry.step in MAYBE_IN_USE
    }


def _disturbs(one: PfPlan) -> bool:
    return any(step.what is What.DOWN for step in one.steps)


def becomes(one: PfPlan) -> str:
    """Return what a PF is to become."""
    services = one.goal.services if one.goal else None
    return ";".join(sorted(services)) if services else "what the configuration says"


def _listed(now: ReconcileInput) -> Counter[PciAddress]:
    """Count the VFs of each PF that are in the ledger: a list may still have them. A VF that has gone is in no way."""
    present = (now.snapshot.vf(address) for address in now.ledger)
    return Counter(vf.pf for vf in present if vf and vf.pf)


def _to_drain(found: Plan, now: ReconcileInput) -> Iterator[PfPlan]:
    """Yield the PFs that pods use and that may be drained. They keep no idle ones waiting, as a drain may last."""
    for one in found.pfs:
        spared = one.address in now.given_back or one.address in now.resting
        if now.spec.when is When.CORDON and one.later and not spared:
            yield one


def _taken(able: list[PfPlan], now: ReconcileInput, left: Counter[str], away: int) -> Iterator[PfPlan]:
    """Yield the PFs that may be away at this time: those on their way first, and in any case. `left` is what remains,
    by resource."""
    losses = _losses(now)
    able.sort(key=lambda one: (one.address not in now.changing, one.address))
    for one in able:
        loses, on_its_way = losses.get(one.address, Counter[str]()), one.address in now.changing
        may_go = away < now.spec.max_unavailable and _enough(left - loses, loses, now.spec)
        if loses and not (may_go or on_its_way):
            continue
        away += bool(loses) or on_its_way
        left -= loses
        yield one


def _available(now: ReconcileInput) -> Counter[str]:
    """Count the VFs of each resource, but those on their way out for another reason."""
    return Counter(
        entry.resource
        for entry in now.ledger.values()
        if entry.step not in OUT_OF_LIST and (entry.step not in LEAVING or _pf(entry) in now.changing)
    )


def _pf(entry: LedgerEntry) -> PciAddress | None:
    return entry.vf.pf if entry.vf else None


def _losses(now: ReconcileInput) -> Mapping[PciAddress, Counter[str]]:
    """Return what pods could use of each PF, or have: VFs by resource."""
    found: dict[PciAddress, Counter[str]] = {}
    for entry in now.ledger.values():
        if pf := _pf(entry):
            found.setdefault(pf, Counter())[entry.resource] += 1
    return found


def _enough(left: Counter[str], loses: Counter[str], spec: ProvisionSpec) -> bool:
    least = {full_name(name): count for name, count in spec.min_available.items()}
    return all(left[resource] >= least.get(resource, 0) for resource in loses)
