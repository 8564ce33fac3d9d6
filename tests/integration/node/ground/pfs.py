"""The PFs: configured by plain sysfs writes, as an administrator would before any plugin runs."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

DEVICES = Path("/sys/bus/pci/devices")
DRIVERS_PROBE = Path("/sys/bus/pci/drivers_probe")
RESCAN = Path("/sys/bus/pci/rescan")
DRIVER = Path("/sys/bus/pci/drivers/4xxx")


def pf_addresses() -> Sequence[str]:
    return sorted(path.name for path in DRIVER.glob("0000:*"))


def configure(services: Mapping[str, str]) -> None:
    """Give each PF its services and enable its VFs. The order is the kernel's: services only while down."""
    for address, wanted in services.items():
        bring_down(address)
        (DEVICES / address / "qat/cfg_services").write_text(wanted)
        bring_up(address)


def bring_down(address: str) -> None:
    """Take a PF down, and with it all its VFs."""
    (DEVICES / address / "qat/state").write_text("down")


def bring_up(address: str) -> None:
    """Bring a PF up, and enable its VFs."""
    (DEVICES / address / "qat/state").write_text("up")
    set_vfs(address, enabled=True)


def remove(address: str) -> None:
    """Take a device away, as if it were pulled out: a PF goes with all its VFs."""
    (DEVICES / address / "remove").write_text("1")


def rescan() -> None:
    """Look for devices again: one that was removed comes back as it is without any VFs."""
    RESCAN.write_text("1")


def set_vfs(address: str, *, enabled: bool) -> None:
    pf = DEVICES / address
    (pf / "sriov_numvfs").write_text((pf / "sriov_totalvfs").read_text() if enabled else "0")


def bring_to_default(address: str) -> None:
    """Make a PF what it is after its driver has come, without VFs."""
    pf = DEVICES / address
    bring_down(address)
    (pf / "qat/cfg_services").write_text("sym;asym")
    (pf / "qat/state").write_text("up")
    if (pf / "qat/auto_reset").exists():  # since 6.9
        (pf / "qat/auto_reset").write_text("off")
    (pf / "sriov_drivers_autoprobe").write_text("1")


def services_of(address: str) -> str:
    return (DEVICES / address / "qat/cfg_services").read_text().strip()


def unbind(vf: str) -> None:
    (DEVICES / vf / "driver/unbind").write_text(vf)


def bind(vf: str, driver: str) -> None:
    """Give a VF to a driver, which modprobe can load, whatever has it now, if anything does."""
    subprocess.run(["modprobe", driver], check=True)
    give(vf, driver)


def give(vf: str, driver: str) -> None:
    """Give a VF to a driver that is loaded."""
    (DEVICES / vf / "driver_override").write_text(driver)
    if driver_of(vf):
        unbind(vf)
    DRIVERS_PROBE.write_text(vf)


def vf_addresses(pf: str) -> Sequence[str]:
    return sorted(filter(None, map(_target, (DEVICES / pf).glob("virtfn*"))))


def _target(link: Path) -> str | None:
    try:
        return link.readlink().name
    except FileNotFoundError:  # it went after it was listed
        return None


def pf_of(vf: str) -> str:
    return (DEVICES / vf / "physfn").resolve().name


def group_node(vf: str) -> Path:
    """Return where VFIO's node of the VF's group is, if there is one."""
    return Path("/dev/vfio") / (DEVICES / vf / "iommu_group").resolve().name


def device_node(vf: str) -> Path | None:
    """Return where VFIO's node of the VF itself is, where the kernel makes such (CONFIG_VFIO_DEVICE_CDEV)."""
    found = [Path("/dev/vfio/devices", path.parent.name) for path in (DEVICES / vf / "vfio-dev").glob("vfio*/dev")]
    return found[0] if found else None


def driver_of(address: str) -> str | None:
    link = DEVICES / address / "driver"
    return link.resolve().name if link.exists() else None
