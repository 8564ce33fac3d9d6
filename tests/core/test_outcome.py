"""A PF counts as changed only if the node shows it; what was not written is told as it is."""

import pytest

from qatdp.core.outcome import Outcome, Status, verified
from qatdp.core.pci import PciAddress
from qatdp.core.split import PfPlan, Plan
from qatdp.core.steps import Goal, Step, What

PF, OTHER = PciAddress.parse("0000:6b:00.0"), PciAddress.parse("0000:70:00.0")
GOAL = Goal(services=None)
DOWN, UP = Step(What.DOWN), Step(What.UP)
CHANGED = Outcome(PF, Status.CHANGED)


def shown(plan: PfPlan) -> Outcome:
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
    reason = f"written, but the node shows that this is still to be done: {text}"
    assert shown(PfPlan(PF, GOAL, steps, later)) == Outcome(PF, Status.FAILED, reason)


def test_a_pf_that_no_part_takes_any_more_was_not_done() -> None:
    assert shown(PfPlan(PF, None)).status is Status.FAILED


def test_a_pf_that_is_not_there_afterwards_has_gone() -> None:
    reason = "written, but the node shows that this is still to be done: it has gone"
    assert shown(PfPlan(OTHER, GOAL)) == Outcome(PF, Status.FAILED, reason)


@pytest.mark.parametrize("status", sorted(set(Status) - {Status.CHANGED}))
def test_what_was_not_changed_is_told_as_it_is(status: Status) -> None:
    outcome = Outcome(PF, status, "a reason")
    assert verified([outcome], Plan((PfPlan(PF, GOAL, (DOWN,)),))) == (outcome,)
