"""What keeps a PF from having VFs of use: it is not on its own driver, or it can have none.

One answer for all who ask: what is offered, what is planned, what is bound, and what people are told.
"""

from qatdp.core.model.qat import VFIO_DRIVERS
from qatdp.core.model.snapshot import PhysicalFunction, Snapshot
from qatdp.core.reasons import Defect, Reason, defect


def driver_defect(pf: PhysicalFunction, snapshot: Snapshot) -> Defect | None:
    """Return why a PF is not on its family's PF driver; None where it is, or where the driver could not be read."""
    own, module = pf.family.pf_driver, pf.family.module
    if pf.on_own_driver or (pf.driver is None and snapshot.problem(pf.address)):
        return None
    if pf.driver in VFIO_DRIVERS:  # given to a virtual machine, or to a program: that is its user's
        return defect(Reason.PF_GIVEN_AWAY, driver=pf.driver, own=own)
    if pf.driver:
        return defect(Reason.PF_FOREIGN_DRIVER, driver=pf.driver, own=own)
    if own in snapshot.drivers:  # its probe failed, or somebody took it away
        return defect(Reason.PF_UNBOUND, own=own)
    return defect(Reason.PF_NO_DRIVER, module=module)


def sriov_defect(pf: PhysicalFunction) -> Defect | None:
    """Return why a PF can have no VFs; None where it can.

    The kernel makes no sriov_totalvfs where a function has no usable SR-IOV capability (drivers/pci/pci-sysfs.c): VFIO
    hides it from a virtual machine, and the kernel drops it where the BIOS has left no room.
    """
    if pf.total_vfs:
        return None
    text = "is not there" if pf.total_vfs is None else "is 0"
    return defect(Reason.PF_NO_SRIOV, text=text)


def why_no_vfs(pf: PhysicalFunction, snapshot: Snapshot) -> Defect:
    """Return why a PF that has no VFs has none."""
    if problem := snapshot.problem(pf.address):
        return defect(Reason.PF_UNREADABLE, problem=problem)
    return driver_defect(pf, snapshot) or sriov_defect(pf) or defect(Reason.PF_NO_VFS)
