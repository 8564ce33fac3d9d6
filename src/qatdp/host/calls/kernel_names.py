"""How the kernel writes what a scan decides by. csrc/names.c says the same: what is asked next depends on it."""

import re
from functools import lru_cache

from qatdp.core.model.pci import PciAddress

ADDRESS = re.compile(r"(?:[1-9a-f][0-9a-f]{4,7}|[0-9a-f]{4}):[0-9a-f]{2}:[01][0-9a-f]\.[0-7]")
DECIMAL = re.compile(r"0|[1-9][0-9]{0,8}")
VIRTFN = re.compile(rf"virtfn({DECIMAL.pattern})")
NUMBER = re.compile(r"0x[0-9a-f]{1,8}|-?[0-9]{1,9}")
BLANKS = "\0 \n\t"  # debugfs writes a NUL behind some lines


@lru_cache(maxsize=1 << 14)  # each comes several times a scan, and again in the next
def address(name: str) -> PciAddress | None:
    """Return the address that a name is, in the one spelling of the kernel's (drivers/pci/probe.c)."""
    return PciAddress.parse(name) if ADDRESS.fullmatch(name) else None


def virtfn(name: str) -> int | None:
    """Return the n of virtfn<n>, the link from a PF to its VF (drivers/pci/iov.c)."""
    match = VIRTFN.fullmatch(name)
    return int(match[1]) if match else None


def decimal(name: str) -> int | None:
    """Return a number such as an IOMMU group's."""
    return int(name) if DECIMAL.fullmatch(name) else None


def number(text: str) -> int | None:
    """Return the number that an attribute holds."""
    digits = text.strip(BLANKS)
    if not NUMBER.fullmatch(digits):
        return None
    return int(digits, 16 if digits.startswith("0x") else 10)
