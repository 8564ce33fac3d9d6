"""What became of a PF that was to be configured."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from qatdp.core.model.pci import PciAddress
from qatdp.core.provision.planner import PfPlan, Plan
from qatdp.core.provision.steps import Step
from qatdp.core.reasons import Defect, Reason, defect


class Status(StrEnum):
    """For the table, and for --strict: the latter two fail it."""

    UNCHANGED = "Unchanged"  # it was that already
    CHANGED = "Changed"
    PLANNED = "Planned"  # nothing was done, as nothing was to be
    SKIPPED = "Skipped"
    BUSY = "Busy"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True)
class PfResult:
    """`steps` are those that were taken, or would be; `also` is a second reason why a PF is busy."""

    pf: PciAddress
    status: Status
    why: Defect | None = None  # None where there is nothing to explain
    steps: tuple[Step, ...] = ()
    also: Defect | None = None

    @property
    def message(self) -> str | None:
        """The outcome in words; None where there is nothing to explain."""
        if self.why:
            return "; ".join(str(why) for why in (self.why, self.also) if why)
        return ", ".join(map(str, self.steps)) or None


def verified(written: Iterable[PfResult], after: Plan) -> tuple[PfResult, ...]:
    """Hold what writers say against the plan that is made of what the node shows afterwards."""
    left = {one.address: one for one in after.pfs}
    return tuple(_verified(outcome, left.get(outcome.pf)) for outcome in written)


def _verified(outcome: PfResult, left: PfPlan | None) -> PfResult:
    if outcome.status is not Status.CHANGED or (left and left.goal and not left.steps and not left.later):
        return outcome
    shows = ", ".join(map(str, (*left.steps, *left.later))) if left else "it has gone"
    return PfResult(outcome.pf, Status.FAILED, defect(Reason.NOT_AS_WRITTEN, steps=shows))
