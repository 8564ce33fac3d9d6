"""How many PFs each part of a spec gets: shares made whole numbers, and what was rounded told."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from qatdp.core.config.spec import WHOLE, Partition
from qatdp.core.model.pci import PciAddress


@dataclass(frozen=True, slots=True)
class Quota:
    """`pfs`: so many of the PFs that would do. `rounded`: what the share is exactly, where that is no whole number."""

    pfs: int
    asked: int  # may be more than there are
    rounded: Fraction | None = None


def quotas(parts: Sequence[Partition], able: Sequence[Sequence[PciAddress]]) -> tuple[Quota, ...]:
    """Return each part's; `able` are the PFs that each part selects and that can do its services."""
    shares = _whole_shares(parts, able)
    return tuple(_quota(part, len(able[index]), shares.get(index)) for index, part in enumerate(parts))


def _quota(part: Partition, able: int, share: int | None) -> Quota:
    if part.percent is not None and share is not None:
        exact = Fraction(part.percent * able, WHOLE)
        return Quota(share, share, None if exact == share else exact)
    if part.count is not None:
        return Quota(min(part.count, able), part.count)
    return Quota(able, 0)  # all that is left, or nothing


def _whole_shares(parts: Sequence[Partition], able: Sequence[Sequence[PciAddress]]) -> Mapping[int, int]:
    """Return the shares as numbers of PFs, by the part's index: parts that share the same PFs are rounded together."""
    together: dict[tuple[PciAddress, ...], list[int]] = {}
    for index, part in enumerate(parts):
        if part.percent is not None:
            together.setdefault(tuple(able[index]), []).append(index)
    found: dict[int, int] = {}
    for pfs, indices in together.items():
        exact = [Fraction((parts[index].percent or 0) * len(pfs), WHOLE) for index in indices]
        found.update(zip(indices, largest_remainder(exact), strict=True))
    return found


def largest_remainder(exact: Sequence[Fraction]) -> tuple[int, ...]:
    """Round numbers so that they add up to the rounded sum; the earlier one is rounded up where two are equal."""
    whole = [int(number) for number in exact]
    over = int(sum(exact) + Fraction(1, 2)) - sum(whole)
    by_fraction = sorted(range(len(exact)), key=lambda index: (whole[index] - exact[index], index))
    up = set(by_fraction[:over])
    return tuple(number + (index in up) for index, number in enumerate(whole))
