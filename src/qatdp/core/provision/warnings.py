"""Tells people where a node cannot be quite what the spec says, and why: shares rounded, parts that get too little."""

from collections.abc import Iterator, Mapping, Sequence

from qatdp.core.config.spec import Partition, refusal
from qatdp.core.model.pci import PciAddress
from qatdp.core.model.qat import default_name
from qatdp.core.model.snapshot import PhysicalFunction
from qatdp.core.provision.apportion import Quota
from qatdp.core.reasons import Defect


def rounded(quota: Sequence[Quota], able: Sequence[Sequence[PciAddress]], scope: str) -> Iterator[str]:
    """Yield a line for each share that is no whole number of PFs."""
    for index, one in enumerate(quota):
        if one.rounded is not None:
            exact = f"{float(one.rounded):.2f}".rstrip("0").rstrip(".")
            yield f"split[{index}]: its share of {len(able[index])} PFs{scope} is {exact}: made {one.pfs}"


def too_few(
    parts: Sequence[Partition], pfs: Sequence[PhysicalFunction], quota: Sequence[Quota], got: Sequence[int], scope: str
) -> Iterator[str]:
    """Yield a line for each part that gets fewer PFs than it asks for."""
    for index, one in enumerate(quota):
        if got[index] < one.asked and _concerns(parts[index], pfs, scope):
            name = default_name(parts[index].services)
            yield f"split[{index}]: {one.asked} PFs{scope} are to be {name}, but {got[index]} can be"


def none_can(
    parts: Sequence[Partition], pfs: Sequence[PhysicalFunction], able: Sequence[Sequence[PciAddress]], scope: str
) -> Iterator[str]:
    """Yield a line for each part that asks for a share of PFs of which none can be what it wants."""
    for index, part in enumerate(parts):
        if part.percent and not able[index] and _concerns(part, pfs, scope):
            selected = [pf for pf in pfs if part.selects(pf)]
            reason = (refusal(selected[0].family, part.services) or UNCHOSEN) if selected else "it selects none"
            yield f"split[{index}]: no PF can be {default_name(part.services)}: {reason}"


def _concerns(part: Partition, pfs: Sequence[PhysicalFunction], scope: str) -> bool:
    """Return whether a part is about these PFs: one about NUMA node 0 asks for nothing of NUMA node 1."""
    return not scope or any(part.selects(pf) for pf in pfs)


UNCHOSEN = "this kernel has no services to choose (it takes 6.0)"


def named_in_vain(
    parts: Sequence[Partition], pfs: Sequence[PhysicalFunction], out: Mapping[PciAddress, Defect]
) -> Iterator[str]:
    """Yield a line for each PF that a part names, but that cannot be what it wants."""
    known = {pf.address: pf for pf in pfs}
    for index, part in enumerate(parts):
        for address in sorted(part.pfs or ()):
            pf = known.get(address)
            reason = out.get(address) or (refusal(pf.family, part.services) if pf else "no such PF")
            if reason:
                yield f"split[{index}]: {address} cannot be {default_name(part.services)}: {reason}"
