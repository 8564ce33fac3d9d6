"""What changed between two pools is one line per device, and nothing where the kubelet is told nothing new."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from support.strategies import addresses

from qatdp.core.model.pci import PciAddress
from qatdp.core.pools.pools import PoolDevice, ResourcePool
from qatdp.core.reasons import Reason, defect
from qatdp.core.status.diff import Change, changes

FIRST, SECOND = PciAddress(0, 0x6B, 0, 1), PciAddress(0, 0x6B, 0, 2)


GONE, DOWN = defect(Reason.NOT_PRESENT), defect(Reason.PF_DOWN, evidence="is down", pf="0000:6b:00.0")


def a_pool(*devices: PoolDevice) -> ResourcePool:
    return ResourcePool("qat.intel.com/cy", devices)


def pools() -> st.SearchStrategy[ResourcePool]:
    some = st.dictionaries(addresses(), st.tuples(st.sampled_from((None, DOWN, GONE)), st.booleans()), max_size=4)
    return some.map(lambda of: a_pool(*(PoolDevice(at, vf_defect=of[at][0], withdrawn=of[at][1]) for at in sorted(of))))


@given(pools(), pools())
def test_each_device_that_differs_has_one_change_in_the_order_of_addresses(
    old: ResourcePool, new: ResourcePool
) -> None:
    before = {one.address: (one.health, one.defect) for one in old.devices}
    after = {one.address: (one.health, one.defect) for one in new.devices}
    differ = sorted(at for at in before.keys() | after.keys() if before.get(at) != after.get(at))
    assert [change.address for change in changes(old, new)] == differ


@given(pools())
def test_equal_pools_have_no_changes(pool: ResourcePool) -> None:
    assert list(changes(pool, pool)) == []


def test_a_device_that_came_is_added_and_one_that_left_is_removed() -> None:
    sick = PoolDevice(SECOND, vf_defect=GONE)
    assert list(changes(a_pool(), a_pool(PoolDevice(FIRST), sick))) == [
        Change(FIRST, "Added"),
        Change(SECOND, "AddedUnhealthy", GONE),
    ]
    assert list(changes(a_pool(sick), a_pool())) == [Change(SECOND, "Removed")]


def test_health_is_told_with_its_reason() -> None:
    good, down = PoolDevice(FIRST), PoolDevice(FIRST, vf_defect=DOWN)
    assert list(changes(a_pool(good), a_pool(down))) == [Change(FIRST, "Unhealthy", DOWN)]
    assert list(changes(a_pool(down), a_pool(good))) == [Change(FIRST, "Healthy")]
    withdrawn = replace(good, withdrawn=True)
    assert list(changes(a_pool(good), a_pool(withdrawn))) == [Change(FIRST, "Unhealthy", defect(Reason.WITHDRAWN))]


def test_another_reason_is_a_change() -> None:
    before, after = PoolDevice(FIRST, vf_defect=DOWN), PoolDevice(FIRST, vf_defect=GONE)
    assert list(changes(a_pool(before), a_pool(after))) == [Change(FIRST, "Unhealthy", GONE)]


def test_who_has_a_device_is_no_change() -> None:
    assert list(changes(a_pool(PoolDevice(FIRST)), a_pool(PoolDevice(FIRST, cordoned=True)))) == []
