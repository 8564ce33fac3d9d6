"""Writes many addresses short, for logs, errors and the history: `0000:40:00.1-0000:40:02.0 (16)`.

A range holds the addresses of one PCI domain whose numbers follow one another, as the VFs of a PF usually do. Nothing
that is read from a range may be missing from it: an address stands in a range only if it was given.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from qatdp.core.model.pci import PciAddress

MOST_RANGES = 64  # in one text: the VFs of 64 PFs, more than is documented of any machine
MOST_LETTERS = 100  # of one text that somebody else wrote


@dataclass(frozen=True, slots=True)
class AddressRange:
    """The addresses from `first` to `last`, both included; `first` is `last` where it is one."""

    first: PciAddress
    last: PciAddress

    @property
    def count(self) -> int:
        return self.last.number - self.first.number + 1

    def __str__(self) -> str:
        return f"{self.first}-{self.last} ({self.count})" if self.count > 1 else str(self.first)


def ranges(addresses: Iterable[PciAddress]) -> Iterator[AddressRange]:
    """Yield the fewest ranges that hold just these addresses, in their order; one that is given twice counts once."""
    first = last = None
    for address in sorted(set(addresses)):
        if first is None or last is None or not _follows(last, address):
            if first and last:
                yield AddressRange(first, last)
            first = address
        last = address
    if first and last:
        yield AddressRange(first, last)


def _follows(last: PciAddress, address: PciAddress) -> bool:
    return last.domain == address.domain and last.number + 1 == address.number


def as_ranges(addresses: Iterable[PciAddress], most: int = MOST_RANGES) -> str:
    """Return the ranges as one text with commas between; of more than `most` only the number of the others is told."""
    found = list(ranges(addresses))
    shown, others = found[:most], found[most:]
    more = [f"and {sum(one.count for one in others)} more"] if others else []
    return ",".join([*map(str, shown), *more])


def cut(text: str, most: int = MOST_LETTERS) -> str:
    """Return a text that somebody else wrote, such as the ID of a request, with at most `most` letters of it."""
    return text if len(text) <= most else f"{text[:most]}... ({len(text)} letters)"
