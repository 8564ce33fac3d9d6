"""What became of a PF that was to be configured."""

from dataclasses import dataclass
from enum import StrEnum

from qatdp.core.pci import PciAddress


class Status(StrEnum):
    """For the table, and for --strict: the latter two fail it."""

    DONE = "done"  # it was that already
    CHANGED = "changed"
    PLANNED = "planned"  # nothing was done, as nothing was to be
    LEFT_ALONE = "left alone"
    BUSY = "busy"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """`reason` is for people; None where there is nothing to explain."""

    pf: PciAddress
    status: Status
    reason: str | None = None
