"""The PFs: configured by plain sysfs writes, as an administrator would before any plugin runs."""

from collections.abc import Mapping, Sequence
from pathlib import Path

DEVICES = Path("/sys/bus/pci/devices")
DRIVER = Path("/sys/bus/pci/drivers/4xxx")


def pf_addresses() -> Sequence[str]:
    return sorted(path.name for path in DRIVER.glob("0000:*"))


def configure(services: Mapping[str, str]) -> None:
    """Give each PF its services and enable its VFs. The order is the kernel's: services only while down."""
    for address, wanted in services.items():
        pf = DEVICES / address
        (pf / "qat/state").write_text("down")
        (pf / "qat/cfg_services").write_text(wanted)
        (pf / "qat/state").write_text("up")
        (pf / "sriov_numvfs").write_text((pf / "sriov_totalvfs").read_text())


def vf_addresses(pf: str) -> Sequence[str]:
    return sorted(link.resolve().name for link in (DEVICES / pf).glob("virtfn*"))


def pf_of(vf: str) -> str:
    return (DEVICES / vf / "physfn").resolve().name


def driver_of(address: str) -> str | None:
    link = DEVICES / address / "driver"
    return link.resolve().name if link.exists() else None
