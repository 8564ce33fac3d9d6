"""What keeps a PF from having VFs of use: it is not on its own driver, or it can have none.

One answer for all who ask: what is offered, what is planned, what is bound, and what people are told.
"""

from qatdp.core.qat import VFIO_DRIVERS
from qatdp.core.snapshot import PhysicalFunction, Snapshot

NO_SRIOV = "SR-IOV is off in the BIOS, or this PF was passed into a virtual machine without it"


def driver_defect(pf: PhysicalFunction, snapshot: Snapshot) -> str | None:
    """Tell why a PF is not on its family's PF driver; None where it is, or where the driver could not be read."""
    own, module = pf.family.pf_driver, pf.family.module
    if pf.on_own_driver or (pf.driver is None and snapshot.problem(pf.address)):
        return None
    if pf.driver in VFIO_DRIVERS:  # given to a virtual machine, or to a program: that is its user's
        return f"driver {pf.driver} has it, so it belongs to whoever uses that (its own is {own})"
    if pf.driver:
        return f"driver {pf.driver} has it, which is not its own (unbind it there, then bind it to {own})"
    if own in snapshot.drivers:  # its probe failed, or somebody took it away
        return f"has no driver, though {own} is loaded (see the kernel's log, or bind it to {own} again)"
    return f"has no driver (modprobe {module}; where it is not loaded at boot, see blacklists in /etc/modprobe.d)"


def sriov_defect(pf: PhysicalFunction) -> str | None:
    """Tell why a PF can have no VFs; None where it can.

    The kernel makes no sriov_totalvfs where a function has no usable SR-IOV capability (drivers/pci/pci-sysfs.c): VFIO
    hides it from a virtual machine, and the kernel drops it where the BIOS has left no room.
    """
    if pf.total_vfs:
        return None
    text = "is not there" if pf.total_vfs is None else "is 0"
    return f"can have no VFs: sriov_totalvfs {text} ({NO_SRIOV})"


def why_no_vfs(pf: PhysicalFunction, snapshot: Snapshot) -> str:
    """Tell why a PF that has no VFs has none, and what to do."""
    if problem := snapshot.problem(pf.address):
        return problem
    if defect := driver_defect(pf, snapshot) or sriov_defect(pf):
        return defect
    state = f"is {pf.state} and " if pf.state else ""
    return f"{state}has no VFs (qatdp provision makes them, or a write to its sriov_numvfs)"
