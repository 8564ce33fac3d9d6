"""What is to be written, and in which order, to make one PF what it should be.

The order is that of drivers/crypto/intel/qat/qat_common/adf_sysfs.c: services can be chosen while the PF is down only;
`down` takes all VFs away and `up` does not bring them back; enabling SR-IOV leaves the PF up.

VFs are not removed by `sriov_numvfs`: 6.1 refuses that (adf_sriov.c, adf_sriov_configure), and newer kernels have
pci_rescan_remove_lock over it (drivers/pci/iov.c, sriov_numvfs_store), so that all PFs would wait where one hangs.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from qatdp.core.model.qat import VFIO_DRIVERS, Services, as_written
from qatdp.core.model.snapshot import PhysicalFunction, VirtualFunction


class What(StrEnum):
    """What a step does to its PF."""

    DOWN = "down"
    SERVICES = "services"
    UP = "up"  # enabling SR-IOV would bring it up as well: apart, it shows a failure of the firmware before VFs exist
    AUTO_RESET = "auto_reset"
    NO_PROBE = "no_probe"  # sriov_drivers_autoprobe: else the host's VF drivers take each VF that appears
    VFS = "vfs"  # sriov_numvfs: all that the PF can have, as QAT's drivers enable all whatever is written
    BIND = "bind"


@dataclass(frozen=True, slots=True)
class Step:
    """`value` is what is written, or the driver that VFs are bound to, but the first `skip` of them."""

    what: What
    value: str = ""
    skip: int = 0

    def __str__(self) -> str:
        if self.what is What.SERVICES:
            return f"services {self.value}"
        if self.what is What.AUTO_RESET:
            return f"auto_reset {self.value}"
        return f"bind to {self.value}" if self.what is What.BIND else TEXTS[self.what]


TEXTS = {
    What.DOWN: "down",
    What.UP: "up",
    What.NO_PROBE: "autoprobe off",
    What.VFS: "enable VFs",
}


@dataclass(frozen=True, slots=True)
class Goal:
    """What a PF should be. `services` None: they cannot be chosen. `kept`: so many first VFs stay with the host."""

    services: Services | None
    auto_reset: bool | None = None  # None: as it is
    vfio_driver: str = "vfio-pci"
    kept: int = 0


def needed_steps(pf: PhysicalFunction, vfs: Sequence[VirtualFunction], goal: Goal) -> tuple[Step, ...]:
    """Return what makes a PF what it should be; nothing where it is that already."""
    return (*_services(pf, vfs, goal), *_auto_reset(pf, goal), *_vfs(pf, vfs, goal))


def _changes(pf: PhysicalFunction, goal: Goal) -> bool:
    return goal.services is not None and pf.services != goal.services


def _services(pf: PhysicalFunction, vfs: Sequence[VirtualFunction], goal: Goal) -> Iterator[Step]:
    if goal.services is not None and _changes(pf, goal):
        if vfs or not pf.is_down:
            yield Step(What.DOWN)
        yield Step(What.SERVICES, as_written(goal.services))
        yield Step(What.UP)
    elif pf.is_down:
        yield Step(What.UP)


def _auto_reset(pf: PhysicalFunction, goal: Goal) -> Iterator[Step]:
    # A kernel before 6.9 has none to set.
    if goal.auto_reset is not None and pf.auto_reset is not None and pf.auto_reset is not goal.auto_reset:
        yield Step(What.AUTO_RESET, "on" if goal.auto_reset else "off")


def _vfs(pf: PhysicalFunction, vfs: Sequence[VirtualFunction], goal: Goal) -> Iterator[Step]:
    if not vfs or pf.is_down or _changes(pf, goal):
        if not goal.kept:  # those that stay with the host are for its drivers
            yield Step(What.NO_PROBE)
        yield Step(What.VFS)
        yield Step(What.BIND, goal.vfio_driver, goal.kept)
    elif any(_to_bind(vf, goal) for vf in vfs):
        yield Step(What.BIND, goal.vfio_driver, goal.kept)


def _to_bind(vf: VirtualFunction, goal: Goal) -> bool:
    to_us = vf.index is None or vf.index >= goal.kept
    return to_us and vf.driver != goal.vfio_driver and may_take(vf.driver, vf.family.vf_driver)


def may_take(driver: str | None, vf_driver: str) -> bool:
    """Return whether a VF may be bound to another driver; any but these was put there by somebody on purpose."""
    return driver is None or driver in VFIO_DRIVERS or driver == vf_driver
