"""A PF is changed once nobody can get its VFs and nobody has them, and no more PFs are away than may be."""

from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.strategies import SLOTS, VANISHED, a_pf, a_snapshot, its_vfs

from qatdp.core.config.model import parse_config
from qatdp.core.model.pci import PciAddress
from qatdp.core.model.snapshot import Snapshot
from qatdp.core.provision.reconcile import ReconcileInput, ReconcilePlan, becomes, repartition
from qatdp.core.provision.steps import Goal
from qatdp.core.reasons import Reason
from qatdp.core.release.protocol import MAYBE_IN_USE, Ledger, LedgerEntry, Step

PFS = tuple(a_pf(str(slot)) for slot in SLOTS[:4])
CY = "qat.intel.com/cy"
VFS = {pf.address: its_vfs(pf, 2) for pf in PFS}
NODE = a_snapshot(PFS, [vf for vfs in VFS.values() for vf in vfs])


def at(step: Step, *pfs: int) -> Ledger:
    return {vf.address: LedgerEntry(CY, step, 1, vf) for pf in pfs for vf in VFS[PFS[pf].address]}


def todo(
    ledger: Ledger,
    changing: Iterable[int] = (),
    resting: Iterable[int] = (),
    given_back: Iterable[int] = (),
    failed: Iterable[int] = (),
    *,
    dc: int = 2,
    node: Snapshot = NODE,
    **spec: object,
) -> ReconcilePlan:
    """Return what is to be done on a node of crypto, of which so many PFs are desired for compression."""
    split = [{"services": ["dc"], "count": dc}, {"services": ["sym", "asym"]}]
    config = parse_config({"version": 1, "provision": [{"split": split, **spec}]})
    (of_this_node,) = config.provision
    of = ({PFS[index].address for index in some} for some in (changing, resting, given_back, failed))
    return repartition(ReconcileInput(node, config, of_this_node, ledger, {}, *of))


def numbers(addresses: Iterable[PciAddress]) -> list[int]:
    found = [pf.address for pf in PFS]
    return [found.index(address) for address in addresses]


def ready(found: ReconcilePlan) -> list[int]:
    return numbers(one.address for one in found.ready)


EVERYTHING = (0, 1, 2, 3)


def test_vfs_leave_their_list_first_one_pf_at_a_time() -> None:
    found = todo(at(Step.AVAILABLE, *EVERYTHING))
    assert (numbers(found.changing), ready(found), numbers(found.blocked)) == ([0], [], [])
    assert found.changing[PFS[0].address] == "dc"
    assert numbers(todo(at(Step.AVAILABLE, *EVERYTHING), maxUnavailable=2).changing) == [0, 1]


def test_a_pf_whose_vfs_are_in_no_list_is_ready() -> None:
    assert ready(todo(at(Step.AVAILABLE, 1, 2, 3), changing=[0])) == [0]


@pytest.mark.parametrize("step", sorted(set(Step) - {Step.GONE}, key=str))
def test_a_pf_with_a_vf_in_the_books_is_not_ready(step: Step) -> None:
    assert 0 not in ready(todo({**at(step, 0), **at(Step.AVAILABLE, 1, 2, 3)}, changing=[0]))


def test_pfs_that_pods_use_are_waited_for_and_idle_ones_taken() -> None:
    found = todo({**at(Step.HELD, 0, 1), **at(Step.AVAILABLE, 2, 3)})
    assert (numbers(found.changing), numbers(found.blocked)) == ([2], [])
    found = todo({**at(Step.HELD, 0, 1, 2), **at(Step.AVAILABLE, 3)})
    assert (numbers(found.changing), len(found.blocked)) == ([3], 1)
    assert {one.why.reason for one in found.plan.pfs if one.later and one.why} == {Reason.MAYBE_HELD}


def test_with_drain_the_free_vfs_of_pfs_in_use_leave_as_well() -> None:
    found = todo({**at(Step.HELD, 0, 1, 2), **at(Step.AVAILABLE, 3)}, when="cordon")
    one, idle = sorted(numbers(found.changing))
    assert (one in {0, 1, 2}, idle, ready(found)) == (True, 3, [])


def test_no_more_pfs_are_drained_than_may_be_away_and_what_must_stay_stays() -> None:
    held = at(Step.HELD, *EVERYTHING)
    assert numbers(todo(held, dc=4, when="cordon").changing) == [0]
    assert numbers(todo(held, dc=4, when="cordon", maxUnavailable=3).changing) == [0, 1, 2]
    assert numbers(todo(held, dc=4, when="cordon", maxUnavailable=3, minAvailable={"cy": 3}).changing) == [0, 1]
    assert numbers(todo(held, changing=[2], dc=4, when="cordon").changing) == [2]


def test_one_that_is_given_back_is_waited_for_and_another_is_drained() -> None:
    found = todo(at(Step.HELD, *EVERYTHING), changing=[0], given_back=[0], dc=4, when="cordon")
    assert (numbers(found.changing), numbers(found.given_back)) == ([1], [0])
    assert sorted(numbers(found.blocked)) == [0, 1, 2, 3]


def test_a_resource_keeps_what_it_must_keep() -> None:
    assert numbers(todo(at(Step.AVAILABLE, *EVERYTHING), maxUnavailable=4, minAvailable={"cy": 5}).changing) == [0]
    assert numbers(todo(at(Step.AVAILABLE, *EVERYTHING), maxUnavailable=4, minAvailable={"cy": 8}).changing) == []


def test_a_resource_may_come_down_to_just_what_it_must_keep_or_to_nothing() -> None:
    offered = at(Step.AVAILABLE, *EVERYTHING)
    assert numbers(todo(offered, dc=4, maxUnavailable=4, minAvailable={"cy": 6}).changing) == [0]
    assert numbers(todo(offered, dc=4, maxUnavailable=4).changing) == [0, 1, 2, 3]


def test_what_has_left_or_leaves_for_another_reason_keeps_nothing_up() -> None:
    def taken(step: Step, changing: Iterable[int] = (), least: int = 5) -> list[int]:
        ledger = {**at(step, 0), **at(Step.AVAILABLE, 1, 2, 3)}
        return numbers(todo(ledger, changing, dc=4, maxUnavailable=2, minAvailable={"cy": least}).changing)

    assert taken(Step.WITHDRAWN, changing=[0], least=4) == [0, 1]
    assert taken(Step.WITHDRAWN) == taken(Step.RELEASED) == []


def test_one_that_has_to_stay_for_its_resource_keeps_none_of_another_resource() -> None:
    other = {vf.address: LedgerEntry("qat.intel.com/other", Step.AVAILABLE, 1, vf) for vf in VFS[PFS[1].address]}
    ledger = {**at(Step.AVAILABLE, 0, 2, 3), **other}
    assert numbers(todo(ledger, dc=4, maxUnavailable=4, minAvailable={"cy": 6}).changing) == [1]


def test_a_vf_in_the_books_that_has_gone_or_was_never_seen_keeps_no_pf_waiting() -> None:
    gone = its_vfs(PFS[0], 3)[2]
    ledger = {gone.address: LedgerEntry(CY, Step.AVAILABLE, 1, gone), VANISHED[1]: LedgerEntry(CY, Step.AVAILABLE, 1)}
    assert ready(todo(ledger, changing=[0], dc=1)) == [0]


def test_what_takes_no_vf_away_is_done_at_once_however_many_it_is_of_and_whoever_waits() -> None:
    vfs = [replace(vf, driver=None, nodes=()) for vf in NODE.vfs]
    found = todo(at(Step.AVAILABLE, *EVERYTHING), dc=0, node=a_snapshot(PFS, vfs))
    assert (ready(found), found.changing) == ([0, 1, 2, 3], {})


def test_what_a_pf_becomes_is_told() -> None:
    found = todo(at(Step.AVAILABLE, *EVERYTHING))
    assert sorted(map(becomes, found.plan.pfs)) == ["asym;sym", "asym;sym", "dc", "dc"]
    (one, *_) = found.plan.pfs
    assert becomes(replace(one, goal=None)) == becomes(replace(one, goal=Goal(None))) == "what the configuration says"


def test_one_that_is_on_its_way_is_not_given_up_for_another() -> None:
    assert numbers(todo(at(Step.AVAILABLE, *EVERYTHING), changing=[1]).changing) == [1]


def test_one_that_has_failed_rests_and_another_is_taken() -> None:
    assert numbers(todo(at(Step.AVAILABLE, *EVERYTHING), resting=[0]).changing) == [1]


@pytest.mark.parametrize("resting", [(), (0,)])
def test_where_more_have_failed_and_lost_their_vfs_than_may_be_away_no_more_is_taken(resting: tuple[int, ...]) -> None:
    one, two = at(Step.AVAILABLE, 1, 2, 3), at(Step.AVAILABLE, 2, 3)
    assert 1 in numbers(todo(one, resting=resting, failed=[0], dc=4).changing)
    assert 2 not in numbers(todo(two, resting=resting, failed=[0, 1], dc=4).changing)
    assert 2 in numbers(todo(two, resting=resting, failed=[0, 1], dc=4, maxUnavailable=2).changing)
    assert 2 in numbers(todo({**two, **at(Step.AVAILABLE, 1)}, resting=[0, 1], failed=[0, 1], dc=4).changing)


def test_a_wish_that_is_met_or_taken_back_leaves_nothing_to_do() -> None:
    found = todo(at(Step.AVAILABLE, *EVERYTHING), changing=[0], dc=0)
    assert (found.changing, found.ready, found.blocked) == ({}, (), frozenset())


STEPS = st.sampled_from(Step).filter(lambda step: step is not Step.GONE)


@given(
    st.dictionaries(st.sampled_from(sorted(vf.address for vf in NODE.vfs)), STEPS),
    st.sets(st.sampled_from(EVERYTHING)),
    st.sets(st.sampled_from(EVERYTHING)),
    st.sets(st.sampled_from(EVERYTHING)),
    st.integers(0, 4),
    st.sampled_from(["idle", "cordon"]),
)
def test_no_pf_is_ready_that_anybody_has_or_can_get_and_none_that_pods_have_withdrawn_after_it_was_given_back(
    steps: dict[PciAddress, Step], changing: set[int], resting: set[int], given_back: set[int], dc: int, when: str
) -> None:
    ledger = {address: LedgerEntry(CY, step, 1, NODE.vf(address)) for address, step in steps.items()}
    found = todo(ledger, changing, resting, given_back, dc=dc, when=when)
    listed = {entry.vf.pf for entry in ledger.values() if entry.vf}
    held = {entry.vf.pf for entry in ledger.values() if entry.vf and entry.step in MAYBE_IN_USE}
    assert not {one.address for one in found.ready} & (listed | {PFS[index].address for index in resting})
    assert when == "cordon" or not found.changing.keys() & held
    assert not found.changing.keys() & held & {PFS[index].address for index in given_back}
    assert not found.changing.keys() & {PFS[index].address for index in resting}
    again = todo(ledger, numbers(found.changing), resting, given_back, dc=dc, when=when)
    assert again == found
