"""Which VFs are to be bound to VFIO: those that some resource wants, and that nobody else has."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from qatdp.core.config.model import Config
from qatdp.core.model.pci import PciAddress
from qatdp.core.model.snapshot import PhysicalFunction, Snapshot, VirtualFunction
from qatdp.core.pools.placement import Placement


class BindMode(StrEnum):
    """What `qatdp run --bind` may do: nothing, give drivers to VFs that have none, or take VFs from VF drivers too."""

    NEVER = "never"
    FREE = "free"
    TAKE = "take"


@dataclass(frozen=True, slots=True)
class Binding:
    """A VF to be bound. `release` names the driver that has it now; None where it has none."""

    address: PciAddress
    driver: str
    release: str | None = None


def plan_bindings(
    snapshot: Snapshot, config: Config, found: Mapping[PciAddress, Placement], mode: BindMode
) -> tuple[Binding, ...]:
    """Return what is to be bound, in the order of addresses."""
    if mode is BindMode.NEVER:
        return ()
    return tuple(
        Binding(vf.address, config.vfio_driver, vf.driver)
        for vf in snapshot.vfs
        if found[vf.address].resource is not None and _may_bind(vf, mode) and snapshot.problem(vf.address) is None
        if _is_ours(snapshot.pf(vf.pf))
    )


def _is_ours(pf: PhysicalFunction | None) -> bool:
    # A PF on another driver is somebody's, with all its VFs: of vfio-pci's own SR-IOV, or of its user's.
    return pf is None or pf.driver is None or pf.on_own_driver


def _may_bind(vf: VirtualFunction, mode: BindMode) -> bool:
    # Only the kernel's own VF drivers are taken from: any other driver was put there by somebody on purpose.
    return vf.driver is None or (mode is BindMode.TAKE and vf.driver == vf.family.vf_driver)
