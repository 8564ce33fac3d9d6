"""PCI addresses: the name of a function on its node, stable over reboots, and so the device ID the kubelet knows."""

import re
from typing import NamedTuple

from qatdp.core.text import shown
from qatdp.errors import AddressError

# The domain has four digits, but more where a bridge makes domains of its own (Intel VMD: 10000 and up).
SHAPE = re.compile(r"([0-9a-fA-F]{4,8}):([0-9a-fA-F]{2}):([01][0-9a-fA-F])\.([0-7])")


class PciAddress(NamedTuple):
    """Domain, bus, device and function; ordered as the kernel enumerates.

    A tuple, since every list and every fact is looked up by it: C hashes and compares tuples.
    """

    domain: int
    bus: int
    device: int
    function: int

    @classmethod
    def parse(cls, text: str) -> "PciAddress":
        """Return the address that a text such as `0000:6b:00.1` writes; raises AddressError."""
        match = SHAPE.fullmatch(text)
        if not match:
            raise AddressError(f"{shown(text)} is not a valid PCI address", hint="expected one such as 0000:6b:00.1")
        return cls(*(int(digits, 16) for digits in match.groups()))

    @classmethod
    def parse_or_none(cls, text: str) -> "PciAddress | None":
        """Return the address, None where the text is none."""
        return cls.parse(text) if SHAPE.fullmatch(text) else None

    def __str__(self) -> str:
        return f"{self.domain:04x}:{self.bus:02x}:{self.device:02x}.{self.function}"

    @property
    def number(self) -> int:
        """One number per address: domain << 16 | bus << 8 | device << 3 | function, as the kernel packs the latter."""
        return self.domain << 16 | self.bus << 8 | self.device << 3 | self.function
