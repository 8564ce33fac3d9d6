"""Why the kernel refuses a step on a PF or a VF, and how to mend it: a table by step and errno.

One for all who write: `run --bind`, `provision` and `run --provision`. An errno says little by itself: EINVAL of
sriov_numvfs is an IOMMU that is off, EINVAL of a bind is a denylist.

Sources: drivers/crypto/intel/qat/qat_common/adf_sysfs.c, adf_sriov.c, adf_init.c; drivers/pci/iov.c;
drivers/vfio/pci/vfio_pci.c, drivers/vfio/group.c, drivers/vfio/pci/qat/main.c.
"""

import errno as e
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from qatdp.core.model.qat import QAT_VFIO_PCI_FAMILIES, Family
from qatdp.core.provision.steps import What


@dataclass(frozen=True, slots=True)
class Remedy:
    """Why a step is refused, and what to do."""

    cause: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.cause}: {self.remedy}"


@dataclass(frozen=True, slots=True)
class Refused:
    """What came back of a try to bind; `errno` where the kernel gave one."""

    text: str
    errno: int | None = None


_LOG = "see the kernel's log"
_IN_USE = Remedy("the kernel itself uses it", "stop what does, such as dm-crypt, IPsec or zswap with QAT")
# adf_aer.c: it is down while it is reset, and stays in reset where it could not be restarted.
_IN_RESET = Remedy("a reset does not end", "bind the PF to its driver again, or reboot")
_NO_IOMMU = Remedy("the IOMMU is off", "switch VT-d on in the BIOS, and boot with intel_iommu=on")

# None: any step that has no entry of its own.
TABLE: Mapping[tuple[What | None, int], Remedy] = MappingProxyType(
    {
        (None, e.EACCES): Remedy("permission denied", "run it as root; as root, see AppArmor or SELinux"),
        (None, e.EPERM): Remedy(
            "not permitted", "see the container's capabilities, and /sys/kernel/security/lockdown of the kernel"
        ),
        (None, e.EROFS): Remedy("/sys is mounted read-only", "mount the host's /sys into the container to be written"),
        (None, e.ENOENT): Remedy("no such attribute", "see which driver has the PF (qatdp devices), and its version"),
        (None, e.ENODEV): Remedy("the device has gone, or its driver has left it", _LOG),
        (None, e.ENXIO): Remedy("the device has gone, or its driver has left it", _LOG),
        (None, e.EIO): Remedy("the device does not answer", f"{_LOG}; bind it to its driver again, or reboot"),
        (None, e.ETIMEDOUT): Remedy("the device does not answer", f"{_LOG}; bind it to its driver again, or reboot"),
        (None, e.EFAULT): Remedy("its firmware does not answer, or was not loaded", f"{_LOG}; see linux-firmware"),
        (None, e.ENOMEM): Remedy("the kernel has no memory left for it", _LOG),
        (None, e.EINVAL): Remedy("its driver refuses that, or does not know the PF any more", _LOG),
        (None, e.EBUSY): _IN_USE,
        (What.UP, e.EFAULT): Remedy("its firmware could not be started", f"install linux-firmware (qat_*); {_LOG}"),
        (What.UP, e.EINVAL): Remedy("its driver could not start it with these services", f"choose others; {_LOG}"),
        # Also where it is not down, which the step before has read back.
        (What.SERVICES, e.EINVAL): Remedy(
            "this kernel does not know these services",
            "choose others, or a newer kernel (6.17 for decomp, 6.16 for three services, 6.5 for most pairs)",
        ),
        (What.VFS, e.EINVAL): _NO_IOMMU,
        (What.VFS, e.ENOMEM): Remedy(
            "the BIOS has left no MMIO space or no bus numbers for the VFs",
            "switch SR-IOV and MMIO above 4 GB on in the BIOS, or boot with pci=realloc",
        ),
        (What.VFS, e.ENOENT): Remedy("no driver has the PF, or one without SR-IOV", "bind the PF to its own driver"),
        (What.VFS, e.ERANGE): Remedy("the PF takes fewer VFs than sriov_totalvfs said", "run it again"),
        (What.BIND, e.ENODEV): Remedy("that driver does not take this device", "see vfioDriver of the configuration"),
        (What.BIND, e.EBUSY): Remedy("another driver has its IOMMU group", "see what else is in the group"),
        (What.BIND, e.EINVAL): _NO_IOMMU,
    }
)


def remedy(what: What, number: int, state: str | None = None) -> Remedy | None:
    """Return why a step was refused; `state` is the PF's, which tells a reset from a user. None: not known."""
    if number == e.EBUSY and what is not What.BIND:
        return _IN_RESET if state == "down" else _IN_USE
    return TABLE.get((what, number)) or TABLE.get((None, number))


def bind_refusal(family: Family, driver: str, refused: Refused, *, loaded: bool, has_group: bool) -> str:
    """Return why a VF could not be bound to a VFIO driver."""
    if not loaded:
        return f"{driver} is not loaded (modprobe {driver})"
    why = _bind_remedy(family, driver, refused.errno, has_group=has_group)
    return f"{driver} refused it: {refused.text} ({why or _LOG})"


def _bind_remedy(family: Family, driver: str, number: int | None, *, has_group: bool) -> Remedy | None:
    if number in (e.EINVAL, e.ENODEV, e.EOPNOTSUPP) and driver == "qat_vfio_pci":
        return _qat_vfio_pci(family)
    if number == e.EINVAL and family.denylisted:
        option = "load it with disable_denylist=1 (modprobe -r vfio-pci; modprobe vfio-pci disable_denylist=1)"
        return Remedy(f"VFs of {family.name} are on its denylist", option)
    if number == e.EINVAL and has_group:  # then it is not the IOMMU
        return None
    return remedy(What.BIND, number) if number else None


def _qat_vfio_pci(family: Family) -> Remedy:
    if family.name in QAT_VFIO_PCI_FAMILIES:
        return Remedy("it needs the PF on this machine, on its in-tree driver", _LOG)
    option = " loaded with disable_denylist=1" if family.denylisted else ""
    return Remedy(f"it is not made for VFs of {family.name}", f"use vfioDriver: vfio-pci{option}")
