"""An open VF that no record names counts after a hold, until it is closed; each VF is polled in its turn."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from support.strategies import a_pf, a_snapshot, addresses, its_vfs

from qatdp.core.model.pci import PciAddress
from qatdp.core.model.snapshot import GroupMember
from qatdp.core.pools.open_vfs import (
    HOLD_S,
    SLICE,
    OpenVfs,
    functions_of,
    named_devices,
    next_slice,
    polled,
    shared_devices,
    without,
)
from qatdp.core.pools.stale import CheckpointEntry

PF = a_pf("0000:6b:00.0")
ONE, TWO, THREE = its_vfs(PF, 3)
A, B = ONE.address, TWO.address
CY = "qat.intel.com/cy"


def test_polled_confirms_vf_that_stays_open_for_the_hold() -> None:
    state = OpenVfs()
    seen = []
    for now_s in (10.0, 11.0, 12.0, 13.0):
        state = polled(state, {A}, now_s)
        seen.append(set(state.confirmed))
    assert seen == [set(), set(), {A}, {A}]


def test_polled_forgets_vf_that_was_closed_meanwhile() -> None:
    state = polled(OpenVfs(), {A}, 10.0)
    state = polled(state, set(), 11.0)
    assert polled(state, {A}, 12.0).confirmed == frozenset()


def test_polled_needs_two_polls_whatever_the_hold() -> None:
    assert polled(OpenVfs(), {A}, 10.0, hold_s=0).confirmed == frozenset()


@given(st.lists(st.tuples(st.sets(st.sampled_from([A, B])), st.floats(0.01, 3)), max_size=12))
def test_polled_confirms_only_what_was_open_at_each_poll(polls: list[tuple[set[PciAddress], float]]) -> None:
    state, now_s, open_since = OpenVfs(), 0.0, dict[PciAddress, float]()
    for opened, pause_s in polls:
        now_s += pause_s
        open_since = {vf: open_since.get(vf, now_s) for vf in opened}
        state = polled(state, opened, now_s)
        assert state.since_s == open_since
        assert state.confirmed == {vf for vf, at_s in open_since.items() if now_s - at_s >= HOLD_S}


def test_without_drops_vfs_that_a_record_names() -> None:
    state = OpenVfs({A: 1.0, B: 1.0}, frozenset({A, B}))
    assert without(state, {A}) == OpenVfs({B: 1.0}, frozenset({B}))


@given(st.sets(addresses(), max_size=30).map(sorted), st.integers(1, 8), addresses())
def test_next_slice_comes_to_each_vf_in_turn(vfs: list[PciAddress], count: int, after: PciAddress) -> None:
    seen: list[PciAddress] = []
    at: PciAddress | None = after
    for _ in range(-(-len(vfs) // count)):
        part = next_slice(vfs, at, count)
        assert len(part) == min(count, len(vfs)) == len(set(part))
        seen += part
        at = part[-1]
    assert set(seen) == set(vfs)


def test_next_slice_of_small_node_is_always_the_same() -> None:
    vfs = [vf.address for vf in its_vfs(PF, SLICE)]
    assert next_slice(vfs, vfs[3]) == tuple(vfs)


def test_named_devices_include_those_of_other_resources() -> None:
    assert named_devices([CheckpointEntry(CY, (A,)), CheckpointEntry("example.com/vf", (B,))]) == {A, B}


def test_shared_devices_are_those_that_two_pods_have() -> None:
    first = CheckpointEntry(CY, (A, B), uid="one")
    again = CheckpointEntry(CY, (A,), uid="one")  # an app container has what the pod's init container had
    assert shared_devices([first, again]) == frozenset()
    assert shared_devices([first, again, CheckpointEntry(CY, (B,), uid="two")]) == {B}


def test_functions_of_vf_are_those_of_its_group_on_vfio() -> None:
    shared = [replace(vf, iommu_group=7) for vf in (ONE, TWO)]
    bridge = GroupMember(PciAddress.parse("0000:00:01.0"), "pcieport", qat_vf=False)
    card = GroupMember(PciAddress.parse("0000:00:02.0"), "vfio-pci", qat_vf=False)
    node = a_snapshot([PF], [*shared, THREE], others={7: [bridge, card]})
    assert functions_of(A, node) == (card.address, A, B)
    assert functions_of(THREE.address, node) == (THREE.address,)


def test_functions_of_vf_on_another_driver_are_none() -> None:
    node = a_snapshot([PF], [replace(ONE, driver="4xxxvf", nodes=())])
    assert functions_of(A, node) == ()
    assert functions_of(B, node) == ()
