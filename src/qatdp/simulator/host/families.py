"""What the makes of QAT are like, as far as a simulated node has to know it."""

from qatdp.core.model.pci import PciAddress
from qatdp.core.model.qat import Family, Service, Services

TOTAL_VFS = {"dh895xcc": 32, "c4xxx": 128}  # all others have 16
GEN6 = 6


def vf_offset(family: Family) -> int:
    """Return how far a PF's first VF is from it; the others follow without a gap."""
    return 1 if family.selectable else 8


def functions_after(address: PciAddress, functions: int) -> PciAddress:
    number = address.number + functions
    return PciAddress(number >> 16, number >> 8 & 0xFF, number >> 3 & 0x1F, number & 7)


def aer_text(severity: str, count: int) -> str:
    """Return the text of aer_dev_* (drivers/pci/pcie/aer.c)."""
    short = {"correctable": "COR", "nonfatal": "NONFATAL", "fatal": "FATAL"}[severity]
    return f"RxErr {count}\nBadTLP 0\nTOTAL_ERR_{short} {count}"


def takes(family: Family, services: Services) -> bool:
    """Return whether the PF's driver takes them: dcc alone, two of three, gen6 three of four (adf_cfg_services.c)."""
    if Service.DCC in services:
        return len(services) == 1
    gen6 = family.generation >= GEN6
    return len(services) <= (3 if gen6 else 2) and (gen6 or Service.DECOMP not in services)
