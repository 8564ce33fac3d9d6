"""Which VFs somebody has, or may be given at any moment: on their PFs nothing is done.

Without a stream of its own nobody can make the kubelet forget: what its checkpoint names is in use, and so is what it
still offers. Where no kubelet ever ran, the VF itself decides.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from qatdp.core.model.pci import PciAddress
from qatdp.core.model.snapshot import Snapshot
from qatdp.core.provision.steps import may_take
from qatdp.core.reasons import Defect, Reason, defect
from qatdp.core.release.protocol import LEAVING, MAYBE_IN_USE, Ledger, Step

# Of what is to leave, the steps at which it matters whom the checkpoint names.
NAMED_BY_WHOM = LEAVING - {Step.WITHDRAWN, Step.SENT, Step.SEEN_BY_KUBELET}


@dataclass(frozen=True, slots=True)
class Evidence:
    """`named` are devices in the kubelet's state, with what they say of them; `unread` why a book is not known.

    `enabled` are VFs that VFIO has enabled, which it does while one is open (drivers/vfio/pci/vfio_pci_core.c).
    """

    named: Mapping[PciAddress, Defect]
    enabled: frozenset[PciAddress] = frozenset()
    unread: str | None = None


def in_use(snapshot: Snapshot, evidence: Evidence) -> Mapping[PciAddress, Defect]:
    """Return why VFs are in use, by their addresses."""
    found: dict[PciAddress, Defect] = {}
    for vf in snapshot.vfs:
        if vf.address in evidence.named:
            found[vf.address] = evidence.named[vf.address]
        elif vf.on_vfio and vf.address in evidence.enabled:
            found[vf.address] = defect(Reason.IN_USE)
        elif not may_take(vf.driver, vf.family.vf_driver):
            found[vf.address] = defect(Reason.OTHER_DRIVER, driver=vf.driver)
        elif evidence.unread:
            found[vf.address] = defect(Reason.MAYBE_IN_USE, problem=evidence.unread)
    return found


def named(
    written_down: Iterable[tuple[PciAddress, str]], offered: Iterable[tuple[PciAddress, str]]
) -> Mapping[PciAddress, Defect]:
    """Return what the checkpoint and GetAllocatableResources say of devices, each with its resource."""
    found = {address: defect(Reason.OFFERED, resource=resource) for address, resource in offered}
    found.update({address: defect(Reason.HELD_BY_POD, resource=resource) for address, resource in written_down})
    return found


def looked_for(ledger: Ledger, sought: Collection[PciAddress]) -> tuple[PciAddress, ...]:
    """Return the VFs that somebody may have and that are waited for: they are to leave, or their PF is `sought`."""
    return tuple(
        sorted(
            address
            for address, entry in ledger.items()
            if entry.step in MAYBE_IN_USE and (entry.step in LEAVING or (entry.vf and entry.vf.pf in sought))
        )
    )


def may_be_over(ledger: Ledger, sought: Collection[PciAddress], opened: Collection[PciAddress]) -> bool:
    """Return whether a wait may be over, so that it is worth asking who has what: whoever has a VF open still has it.

    A VF is waited for by itself, a PF as a whole.
    """
    have, kept = _open(ledger, opened)
    leaving = (address for address, entry in ledger.items() if entry.step in LEAVING)
    return not kept.issuperset(sought) or any(address not in have for address in leaving)


def ended_perhaps(
    ledger: Ledger, sought: Collection[PciAddress], opened: Collection[PciAddress], named: Collection[PciAddress]
) -> frozenset[PciAddress]:
    """Return the VFs that keep a wait from being over because the checkpoint names them, and that nobody has open.

    Only for these it is worth having the kubelet forget pods that have ended.
    """
    have, kept = _open(ledger, opened)
    waited_for = (
        address
        for address, entry in ledger.items()
        if (entry.step in NAMED_BY_WHOM and address not in have)
        or (entry.step in MAYBE_IN_USE and entry.vf and entry.vf.pf in sought and entry.vf.pf not in kept)
    )
    return frozenset(waited_for).intersection(named)


def _open(
    ledger: Ledger, opened: Collection[PciAddress]
) -> tuple[Collection[PciAddress], frozenset[PciAddress | None]]:
    """Return the VFs that somebody has open by VFIO, and their PFs."""
    have = {at: entry.vf for at in opened if (entry := ledger.get(at)) and entry.vf and entry.vf.on_vfio}
    return have, frozenset(vf.pf for vf in have.values())
