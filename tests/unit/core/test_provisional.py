"""Provisional lists: all that the kubelet may know, or nothing with a reason."""

from hypothesis import given
from hypothesis import strategies as st
from support.strategies import addresses

from qatdp.core.model.pci import PciAddress
from qatdp.core.pools.pools import Health, ResourcePool
from qatdp.core.pools.provisional import Lists, never_fewer, provisional, provisional_pools
from qatdp.core.reasons import Reason, defect

CY, DC, FOREIGN = "qat.intel.com/cy", "qat.intel.com/dc", "example.com/cy"
ONE = PciAddress.parse("0000:6b:00.1")

ids = st.frozensets(st.one_of(addresses().map(str), st.sampled_from(["cy1-0", "", "0000:6B:00.1"])), max_size=4)
by_resource = st.dictionaries(st.sampled_from([CY, DC, FOREIGN]), ids, max_size=3)
lists = st.dictionaries(st.sampled_from([CY, DC]), st.frozensets(addresses(), max_size=4))


@given(by_resource, by_resource)
def test_provisional_lists_all_that_is_known_or_refuses(
    known: dict[str, frozenset[str]], healthy: dict[str, frozenset[str]]
) -> None:
    found = provisional(known, healthy)
    assert found.lists.keys() | found.refused.keys() == known.keys() - {FOREIGN}
    assert not found.lists.keys() & found.refused.keys()
    for resource, listed in found.lists.items():
        assert {str(address) for address in listed} == known[resource]
        assert not healthy.get(resource)


def test_provisional_refuses_what_another_plugin_serves() -> None:
    found = provisional({CY: ["0000:6b:00.1"], DC: ["0000:70:00.1"]}, {CY: ["0000:6b:00.2"], DC: []})
    assert found.lists == {DC: {PciAddress.parse("0000:70:00.1")}}
    assert "another plugin serves it" in found.refused[CY]


def test_provisional_refuses_ids_that_are_none_of_ours() -> None:
    found = provisional({CY: ["0000:6b:00.1", "cy1-0"], DC: ["0000:6B:00.1"]}, {})
    assert found.lists == {}
    assert found.refused[CY].endswith(": cy1-0") and found.refused[DC].endswith(": 0000:6B:00.1")


def test_provisional_registers_a_name_without_devices() -> None:
    assert provisional({CY: []}, {}).lists == {CY: frozenset()}


@given(lists)
def test_provisional_pools_have_nothing_that_can_be_used(listed: Lists) -> None:
    why = defect(Reason.PLUGIN_NOT_READY, problem="why")
    pools = provisional_pools(listed, why).pools
    assert {name: {device.address for device in pool.devices} for name, pool in pools.items()} == listed
    for device in (device for pool in pools.values() for device in pool.devices):
        assert (device.health, device.defect, device.nodes) == (Health.UNHEALTHY, why, ())


@given(lists, lists)
def test_never_fewer_drops_nothing(now: Lists, before: Lists) -> None:
    pools = provisional_pools(before, defect(Reason.PLUGIN_NOT_READY, problem="why")).pools.values()
    after = never_fewer(now, pools)
    for each in (now, before):
        assert all(ids <= after[name] for name, ids in each.items())
    assert never_fewer({}, [ResourcePool(CY)]) == {CY: frozenset()}
