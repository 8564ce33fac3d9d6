"""What changed between two pools is one line per device, and nothing where the kubelet is told nothing new."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from qatdp.core.changes import Change, changes
from qatdp.core.pci import PciAddress
from qatdp.core.pools import PoolDevice, ResourcePool
from qatdp.testing.strategies import addresses

FIRST, SECOND = PciAddress(0, 0x6B, 0, 1), PciAddress(0, 0x6B, 0, 2)


def a_pool(*devices: PoolDevice) -> ResourcePool:
    return ResourcePool("qat.intel.com/cy", devices)


def pools() -> st.SearchStrategy[ResourcePool]:
    some = st.dictionaries(addresses(), st.tuples(st.sampled_from((None, "down", "gone")), st.booleans()), max_size=4)
    return some.map(lambda of: a_pool(*(PoolDevice(at, sick=of[at][0], withdrawn=of[at][1]) for at in sorted(of))))


@given(pools(), pools())
def test_each_device_that_differs_has_one_change_in_the_order_of_addresses(
    old: ResourcePool, new: ResourcePool
) -> None:
    before = {one.address: (one.health, one.reason) for one in old.devices}
    after = {one.address: (one.health, one.reason) for one in new.devices}
    differ = sorted(at for at in before.keys() | after.keys() if before.get(at) != after.get(at))
    assert [change.address for change in changes(old, new)] == differ


@given(pools())
def test_equal_pools_have_no_changes(pool: ResourcePool) -> None:
    assert list(changes(pool, pool)) == []


def test_a_device_that_came_is_added_and_one_that_left_is_removed() -> None:
    sick = PoolDevice(SECOND, sick="is not there")
    assert list(changes(a_pool(), a_pool(PoolDevice(FIRST), sick))) == [
        Change(FIRST, "added"),
        Change(SECOND, "added, Unhealthy", "is not there"),
    ]
    assert list(changes(a_pool(sick), a_pool())) == [Change(SECOND, "removed")]


def test_health_is_told_with_its_reason() -> None:
    good, down = PoolDevice(FIRST), PoolDevice(FIRST, sick="its PF is down")
    assert list(changes(a_pool(good), a_pool(down))) == [Change(FIRST, "Unhealthy", "its PF is down")]
    assert list(changes(a_pool(down), a_pool(good))) == [Change(FIRST, "Healthy")]
    withdrawn = replace(good, withdrawn=True)
    assert list(changes(a_pool(good), a_pool(withdrawn))) == [
        Change(FIRST, "Unhealthy", "being withdrawn from this resource")
    ]


def test_another_reason_is_a_change() -> None:
    before, after = PoolDevice(FIRST, sick="its PF is down"), PoolDevice(FIRST, sick="is not there")
    assert list(changes(a_pool(before), a_pool(after))) == [Change(FIRST, "Unhealthy", "is not there")]


def test_who_has_a_device_is_no_change() -> None:
    assert list(changes(a_pool(PoolDevice(FIRST)), a_pool(PoolDevice(FIRST, held=True)))) == []
