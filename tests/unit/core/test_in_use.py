"""What may be in use is in use; only what every book and the VF itself say is free is free."""

from dataclasses import replace

from hypothesis import given
from support.strategies import SLOTS, VANISHED, a_pf, a_snapshot, its_vfs, snapshots

from qatdp.core.model.snapshot import Snapshot, VirtualFunction
from qatdp.core.provision.in_use import Evidence, ended_perhaps, in_use, looked_for, may_be_over, named
from qatdp.core.reasons import Reason, defect
from qatdp.core.release.protocol import Ledger, LedgerEntry, Step

PF = a_pf(SLOTS[0])
VFS = its_vfs(PF, 3)
NODE = a_snapshot([PF], VFS)
ONE, TWO, THREE = (vf.address for vf in VFS)


def test_a_vf_of_which_nothing_is_known_is_free() -> None:
    assert in_use(NODE, Evidence({})) == {}


def test_what_a_book_names_is_in_use_a_pods_above_an_offer() -> None:
    ledger = named([(ONE, "cy"), (TWO, "dc")], [(ONE, "cy"), (TWO, "dc"), (THREE, "cy"), (VANISHED[0], "cy")])
    assert in_use(NODE, Evidence(ledger)) == {
        ONE: defect(Reason.HELD_BY_POD, resource="cy"),
        TWO: defect(Reason.HELD_BY_POD, resource="dc"),
        THREE: defect(Reason.OFFERED, resource="cy"),
    }


def test_a_vf_that_is_open_is_in_use_whoever_has_it() -> None:
    assert in_use(NODE, Evidence({}, frozenset({TWO}))) == {TWO: defect(Reason.IN_USE)}


def test_a_vf_that_the_hosts_driver_has_enabled_is_free_and_one_of_any_other_driver_is_not() -> None:
    vfs = (replace(VFS[0], driver="4xxxvf"), replace(VFS[1], driver="uio_pci_generic"))
    found = in_use(a_snapshot([PF], vfs), Evidence({}, frozenset({ONE, TWO})))
    assert found == {TWO: defect(Reason.OTHER_DRIVER, driver="uio_pci_generic")}


@given(snapshots())
def test_a_book_that_cannot_be_read_may_name_any(snapshot: Snapshot) -> None:
    found = in_use(snapshot, Evidence({}, unread="no format"))
    assert found.keys() == {vf.address for vf in snapshot.vfs}


def test_why_a_vf_may_be_in_use_is_told() -> None:
    found = in_use(NODE, Evidence({}, unread="no format"))
    assert set(found.values()) == {defect(Reason.MAYBE_IN_USE, problem="no format")}


def book(step: Step, *vfs: VirtualFunction) -> Ledger:
    return {vf.address: LedgerEntry("cy", step, 1, vf) for vf in vfs}


ONE_LEAVES = {**book(Step.CORDONED, VFS[0]), **book(Step.HELD, VFS[1]), **book(Step.AVAILABLE, VFS[2])}


def test_looked_for_are_vfs_that_are_to_leave_and_those_of_a_pf_that_is_waited_for() -> None:
    assert looked_for(ONE_LEAVES, ()) == (ONE,)
    assert looked_for(ONE_LEAVES, {PF.address}) == (ONE, TWO)
    assert looked_for(book(Step.WITHDRAWN, *VFS), ()) == (), "nobody is known to have them: the books alone decide"


def test_a_vf_that_is_to_leave_and_is_open_is_still_somebodys() -> None:
    assert may_be_over(ONE_LEAVES, (), ())
    assert not may_be_over(ONE_LEAVES, (), {ONE, TWO})
    assert may_be_over({**ONE_LEAVES, **book(Step.SENT, VFS[2])}, (), {ONE, TWO})


def test_a_pf_is_waited_for_as_a_whole() -> None:
    held = book(Step.HELD, *VFS)
    assert may_be_over(held, {PF.address}, ())
    assert not may_be_over(held, {PF.address}, {TWO})


def test_a_vf_that_another_driver_has_enabled_tells_nothing() -> None:
    assert may_be_over(book(Step.CORDONED, replace(VFS[0], driver="4xxxvf")), (), {ONE})


def test_where_nothing_is_waited_for_nothing_can_be_over() -> None:
    assert not may_be_over(book(Step.HELD, *VFS), (), ())


def test_ended_perhaps_is_what_the_checkpoint_names_and_nobody_has_open() -> None:
    both = {**book(Step.CORDONED, *VFS[:2]), **book(Step.HELD, VFS[2])}
    assert ended_perhaps(both, (), (), (ONE, TWO, THREE)) == {ONE, TWO}
    assert ended_perhaps(both, (), {ONE}, (ONE, TWO, THREE)) == {TWO}
    assert ended_perhaps(both, (), (), (THREE,)) == frozenset()


def test_ended_perhaps_takes_a_pf_as_a_whole() -> None:
    held = book(Step.HELD, *VFS)
    assert ended_perhaps(held, {PF.address}, (), (ONE,)) == {ONE}
    assert ended_perhaps(held, {PF.address}, {TWO}, (ONE,)) == frozenset()


def test_ended_perhaps_is_nothing_of_what_the_kubelet_may_still_choose() -> None:
    for step in (Step.WITHDRAWN, Step.SENT, Step.SEEN_BY_KUBELET, Step.AVAILABLE):
        assert ended_perhaps(book(step, VFS[0]), (), (), (ONE,)) == frozenset()
    assert ended_perhaps(book(Step.QUIET, VFS[0]), (), (), (ONE,)) == {ONE}
