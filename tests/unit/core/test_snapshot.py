"""A snapshot answers by address and number, and compares by what it holds."""

from hypothesis import given
from support.strategies import VANISHED, a_pf, a_snapshot, its_vfs, snapshots

from qatdp.core.model.pci import PciAddress
from qatdp.core.model.snapshot import NodeKind, Problem, Snapshot


@given(snapshots())
def test_each_function_and_group_is_found(snapshot: Snapshot) -> None:
    assert all(snapshot.pf(pf.address) is pf for pf in snapshot.pfs)
    assert all(snapshot.vf(vf.address) is vf for vf in snapshot.vfs)
    assert all(snapshot.group(group.number) is group for group in snapshot.groups)


@given(snapshots())
def test_what_is_not_there_is_none(snapshot: Snapshot) -> None:
    assert snapshot.pf(None) is None
    assert snapshot.group(None) is None
    for address in VANISHED:
        assert (snapshot.pf(address), snapshot.vf(address), snapshot.problem(address)) == (None, None, None)


def test_the_first_of_a_devices_problems_is_told() -> None:
    first, second = Problem("0000:6b:00.0", "first"), Problem("0000:6b:00.0", "second")
    assert a_snapshot(problems=[second, first]).problem(PciAddress.parse("0000:6b:00.0")) == "first"


def test_snapshots_of_equal_content_are_equal() -> None:
    pf = a_pf("0000:6b:00.0")
    assert a_snapshot([pf], its_vfs(pf, 2)) == a_snapshot([pf], its_vfs(pf, 2))
    assert a_snapshot([pf], its_vfs(pf, 2)) != a_snapshot([pf], its_vfs(pf, 1))


def test_a_pf_is_down_only_where_the_kernel_says_so() -> None:
    assert a_pf("0000:6b:00.0", state="down").is_down
    assert not a_pf("0000:6b:00.0").is_down
    assert not a_pf("0000:6b:00.0", "c62x", state="down").is_down  # its kernel driver has no such attribute


def test_a_vf_has_the_node_that_is_asked_for_first() -> None:
    (vf,) = its_vfs(a_pf("0000:6b:00.0"), 1)
    group, cdev = vf.nodes
    assert vf.node(NodeKind.GROUP, NodeKind.CDEV) is group
    assert vf.node(NodeKind.NOIOMMU, NodeKind.CDEV) is cdev
    assert vf.node(NodeKind.NOIOMMU) is None
