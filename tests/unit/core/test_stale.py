"""An old Allocate answer that names another VF's node now keeps both VFs from being offered."""

from collections.abc import Mapping
from dataclasses import replace

from hypothesis import given
from support.strategies import VANISHED, a_pf, a_snapshot, its_vfs, snapshots

from qatdp.core.model.pci import PciAddress
from qatdp.core.model.snapshot import NodeKind, Snapshot, VfioNode, VirtualFunction
from qatdp.core.pools.stale import SHARED_NODES, CheckpointEntry, stale_allocations
from qatdp.core.reasons import Defect, Reason, defect

CY = "qat.intel.com/cy"
PF = a_pf("0000:6b:00.0")
A, B, C = its_vfs(PF, 3)
GONE = VANISHED[1]


def at_group(vf: VirtualFunction, number: int) -> VirtualFunction:
    node = VfioNode(NodeKind.GROUP, f"/dev/vfio/{number}", present=True)
    return replace(vf, iommu_group=number, nodes=(node,))


def pod_entry(*devices: PciAddress, groups: tuple[int, ...] = ()) -> CheckpointEntry:
    return CheckpointEntry(CY, devices, frozenset(f"/dev/vfio/{number}" for number in groups) | {"/dev/vfio/vfio"})


def why(pod_entries: list[CheckpointEntry], snapshot: Snapshot) -> Mapping[PciAddress, Defect]:
    return stale_allocations(pod_entries, snapshot).reasons


def node(*vfs: VirtualFunction) -> Snapshot:
    return a_snapshot([PF], vfs)


NOW = node(at_group(A, 10), at_group(B, 11), at_group(C, 12))


@given(snapshots())
def test_without_holdings_nothing_is_stale(snapshot: Snapshot) -> None:
    assert why([], snapshot) == {}


@given(snapshots())
def test_what_was_given_as_it_is_now_is_not_stale(snapshot: Snapshot) -> None:
    pod_entries = [
        CheckpointEntry(CY, (vf.address,), frozenset({one.path, *SHARED_NODES}))
        for vf in snapshot.vfs
        for one in vf.nodes
    ]
    together = CheckpointEntry(
        CY, tuple(vf.address for vf in snapshot.vfs), frozenset(one.path for vf in snapshot.vfs for one in vf.nodes)
    )
    assert why([*pod_entries, together], snapshot) == {}


def test_what_another_plugin_gave_is_taken_by_its_node_or_its_address() -> None:
    by_node = CheckpointEntry("example.com/a", (), frozenset({"/dev/vfio/10", "/dev/vfio/99"}))
    by_address = CheckpointEntry("example.com/b", (B.address, GONE))
    assert why([by_node, by_address], NOW) == {
        A.address: defect(Reason.OTHER_PLUGIN, resource="example.com/a"),
        B.address: defect(Reason.OTHER_PLUGIN, resource="example.com/b"),
    }


@given(snapshots())
def test_an_answer_without_nodes_is_not_stale(snapshot: Snapshot) -> None:
    # With CDI the runtime looks the node up again.
    assert why([CheckpointEntry(CY, tuple(vf.address for vf in snapshot.vfs))], snapshot) == {}


def test_a_group_number_that_moved_makes_the_device_and_the_nodes_new_owner_stale() -> None:
    reasons = why([pod_entry(A.address, groups=(11,))], NOW)
    assert reasons == {
        A.address: defect(Reason.STALE_ALLOCATION, nodes="/dev/vfio/11"),
        B.address: defect(Reason.NODE_CLAIMED, node="/dev/vfio/11"),
    }


def test_a_node_that_is_nobodys_by_now_makes_the_device_stale() -> None:
    assert why([pod_entry(A.address, groups=(99,))], NOW).keys() == {A.address}


def test_all_nodes_that_belong_to_others_by_now_are_told() -> None:
    reasons = why([pod_entry(A.address, groups=(12, 11, 10))], NOW)
    assert reasons[A.address] == defect(Reason.STALE_ALLOCATION, nodes="/dev/vfio/11 /dev/vfio/12")
    assert reasons.keys() == {A.address, B.address, C.address}


def test_two_that_changed_places_are_both_stale() -> None:
    reasons = why([pod_entry(A.address, groups=(11,)), pod_entry(B.address, groups=(10,))], NOW)
    assert reasons.keys() == {A.address, B.address}
    assert {found.reason for found in reasons.values()} == {Reason.STALE_ALLOCATION}


def test_the_nodes_of_one_answer_belong_to_all_its_devices() -> None:
    assert why([pod_entry(A.address, B.address, groups=(10, 11))], NOW) == {}
    assert why([pod_entry(A.address, B.address, groups=(11, 10))], NOW) == {}
    reasons = why([pod_entry(A.address, B.address, groups=(10, 12))], NOW)
    assert reasons.keys() == {A.address, B.address, C.address}


def test_a_vf_that_is_not_there_proves_nothing() -> None:
    assert why([pod_entry(GONE, groups=(99,))], NOW) == {}
    assert why([pod_entry(A.address, GONE, groups=(10, 99))], NOW) == {}


def test_a_vf_that_is_not_on_vfio_now_proves_nothing() -> None:
    unbound = replace(A, driver=None, nodes=())
    assert why([pod_entry(A.address, groups=(10,))], node(unbound)) == {}


def test_the_node_of_a_vf_that_is_not_there_can_be_anothers_by_now() -> None:
    assert why([pod_entry(GONE, groups=(11,))], NOW).keys() == {GONE, B.address}


def test_holdings_of_several_containers_are_judged_one_by_one() -> None:
    good, bad = pod_entry(A.address, groups=(10,)), pod_entry(B.address, groups=(12,))
    assert why([good, bad], NOW).keys() == {B.address, C.address}
    assert why([bad, good], NOW) == why([good, bad], NOW)


def test_taken_is_whose_node_somebody_has_and_not_who_only_has_an_old_answer() -> None:
    assert stale_allocations([pod_entry(A.address, groups=(11,))], NOW).taken == {B.address}
    both = [pod_entry(A.address, groups=(11,)), pod_entry(B.address, groups=(10,))]
    assert stale_allocations(both, NOW).taken == {A.address, B.address}
    assert stale_allocations([pod_entry(A.address, groups=(99,))], NOW).taken == frozenset()


def test_outdated_is_who_has_an_old_answer_and_not_whose_node_it_names() -> None:
    assert stale_allocations([pod_entry(A.address, groups=(11,))], NOW).outdated == {A.address}
    assert stale_allocations([pod_entry(A.address, groups=(99,))], NOW).outdated == {A.address}
    elsewhere = CheckpointEntry("example.com/a", (A.address,), frozenset({"/dev/vfio/10"}))
    assert stale_allocations([elsewhere], NOW).outdated == frozenset()


def test_stale_is_true_where_it_keeps_something_back() -> None:
    assert stale_allocations([pod_entry(A.address, groups=(11,))], NOW)
    assert not stale_allocations([pod_entry(A.address, groups=(10,))], NOW)
