"""A PF counts as changed only if the node shows it; what was not written is told as it is."""

import pytest

from qatdp.core.model.pci import PciAddress
from qatdp.core.provision.outcome import PfResult, Status, verified
from qatdp.core.provision.planner import PfPlan, Plan
from qatdp.core.provision.steps import Goal, Step, What
from qatdp.core.reasons import Reason, defect

PF, OTHER = PciAddress.parse("0000:6b:00.0"), PciAddress.parse("0000:70:00.0")
GOAL = Goal(services=None)
DOWN, UP = Step(What.DOWN), Step(What.UP)
CHANGED = PfResult(PF, Status.CHANGED)


def shown(plan: PfPlan) -> PfResult:
    (outcome,) = verified([CHANGED], Plan((plan,)))
    return outcome


def test_what_the_node_shows_as_it_should_be_has_changed() -> None:
    assert shown(PfPlan(PF, GOAL)) is CHANGED


@pytest.mark.parametrize(
    ("steps", "later", "text"),
    [((DOWN,), (), f"{DOWN}"), ((), (UP,), f"{UP}"), ((DOWN,), (UP,), f"{DOWN}, {UP}")],
)
def test_what_is_still_to_be_done_now_or_later_was_not_done(
    steps: tuple[Step, ...], later: tuple[Step, ...], text: str
) -> None:
    why = defect(Reason.NOT_AS_WRITTEN, steps=text)
    assert shown(PfPlan(PF, GOAL, steps, later)) == PfResult(PF, Status.FAILED, why)


def test_a_pf_that_no_part_takes_any_more_was_not_done() -> None:
    assert shown(PfPlan(PF, None)).status is Status.FAILED


def test_a_pf_that_is_not_there_afterwards_has_gone() -> None:
    why = defect(Reason.NOT_AS_WRITTEN, steps="it has gone")
    assert shown(PfPlan(OTHER, GOAL)) == PfResult(PF, Status.FAILED, why)


@pytest.mark.parametrize("status", sorted(set(Status) - {Status.CHANGED}))
def test_what_was_not_changed_is_told_as_it_is(status: Status) -> None:
    outcome = PfResult(PF, status, defect(Reason.PF_EXCLUDED))
    assert verified([outcome], Plan((PfPlan(PF, GOAL, (DOWN,)),))) == (outcome,)


def test_outcome_says_its_reasons_or_its_steps() -> None:
    held, locked = defect(Reason.IN_USE).of_user("0000:6b:00.1"), defect(Reason.PF_LOCKED, problem="somebody has it")
    assert (
        PfResult(PF, Status.BUSY, held, also=locked).message
        == "0000:6b:00.1 is open: somebody uses it; somebody has it"
    )
    assert PfResult(PF, Status.CHANGED, steps=(DOWN, UP)).message == "down, up"
    assert PfResult(PF, Status.UNCHANGED).message is None
