"""What goes over the wire is what the pool says, in the form the kubelet can live with."""

from dataclasses import replace

import pytest

from qatdp.api import deviceplugin_v1beta1_pb2 as api
from qatdp.core.model.pci import PciAddress
from qatdp.core.pools.allocation import Allocation, allocate
from qatdp.core.pools.pools import PoolDevice, ResourcePool
from qatdp.core.reasons import Reason, defect
from qatdp.core.release.protocol import Step
from qatdp.kubelet.convert import nodes_of_answer, to_allocation, to_list, to_options, to_preference

VFS = tuple(map(PciAddress.parse, ("0000:6b:00.1", "0000:6b:00.2", "0000:70:00.1")))
POOL = ResourcePool(
    "qat.intel.com/cy",
    tuple(PoolDevice(at, numa_node=n // 2, nodes=(f"/dev/vfio/{n}", "/dev/vfio/vfio")) for n, at in enumerate(VFS)),
)


def pool(*changed: PoolDevice) -> ResourcePool:
    """Return the pool with other devices in the place of those with the same address."""
    by_address = {device.address: device for device in changed}
    return replace(POOL, devices=tuple(by_address.get(device.address, device) for device in POOL.devices))


def nodes(of: ResourcePool) -> list[list[int] | None]:
    """Return the NUMA nodes of each device of a list; None for a device without topology."""
    return [
        [node.ID for node in device.topology.nodes] if device.HasField("topology") else None
        for device in to_list(of).devices
    ]


def test_a_list_has_each_device_with_its_health_in_the_order_of_addresses() -> None:
    sick = replace(POOL.devices[1], vf_defect=defect(Reason.PF_DOWN, evidence="is down", pf="0000:6b:00.0"))
    leaving = replace(POOL.devices[2], withdrawn=True)
    assert [(one.ID, one.health) for one in to_list(pool(sick, leaving)).devices] == [
        ("0000:6b:00.1", "Healthy"),
        ("0000:6b:00.2", "Unhealthy"),
        ("0000:70:00.1", "Unhealthy"),
    ]


def test_numa_nodes_are_told_where_all_are_known() -> None:
    assert nodes(POOL) == [[0], [0], [1]]


def test_no_numa_node_is_told_where_one_is_not_known() -> None:
    assert nodes(pool(replace(POOL.devices[0], numa_node=None))) == [None, None, None]


def test_an_unhealthy_device_without_a_numa_node_costs_the_others_nothing() -> None:
    assert nodes(
        pool(
            replace(
                POOL.devices[0], numa_node=None, vf_defect=defect(Reason.PF_DOWN, evidence="is down", pf="0000:6b:00.0")
            )
        )
    ) == [None, [0], [1]]


def test_an_empty_pool_is_an_empty_list() -> None:
    assert to_list(ResourcePool("qat.intel.com/cy")) == api.ListAndWatchResponse()


def test_an_allocation_has_the_same_path_on_both_sides_and_no_right_to_make_nodes() -> None:
    answer = to_allocation(Allocation(VFS[:1], ("/dev/vfio/0", "/dev/vfio/vfio"), {"QAT1": "0000:6b:00.1"}))
    specs = [(spec.host_path, spec.container_path, spec.permissions) for spec in answer.devices]
    assert specs == [("/dev/vfio/0", "/dev/vfio/0", "rw"), ("/dev/vfio/vfio", "/dev/vfio/vfio", "rw")]
    assert dict(answer.envs) == {"QAT1": "0000:6b:00.1"}


def test_a_node_that_resources_share_is_the_same_to_the_byte_in_their_answers() -> None:
    # In a container of both the kubelet keeps whichever comes first.
    other = replace(POOL, resource="qat.intel.com/dc")
    shared = [
        spec.SerializeToString()
        for of in (POOL, other)
        for spec in to_allocation(allocate(of, [str(VFS[0])], lambda _: Step.AVAILABLE)).devices
        if spec.host_path == "/dev/vfio/vfio"
    ]
    assert len(shared) == 2
    assert shared[0] == shared[1]


def test_a_preference_keeps_its_order() -> None:
    assert list(to_preference(("b", "a")).deviceIDs) == ["b", "a"]


def test_the_nodes_of_an_answer_are_read_back() -> None:
    answer = to_allocation(allocate(POOL, map(str, VFS), lambda _: Step.AVAILABLE))
    wanted = {"/dev/vfio/0", "/dev/vfio/1", "/dev/vfio/2", "/dev/vfio/vfio"}
    assert nodes_of_answer(answer.SerializeToString()) == wanted
    assert nodes_of_answer(b"") == frozenset()


def test_what_is_no_answer_has_no_nodes() -> None:
    with pytest.raises(ValueError, match="no Allocate answer"):
        nodes_of_answer(b"\xff")


def test_a_resource_is_asked_for_its_preference_and_before_starts_only_where_an_answer_is_outdated() -> None:
    assert to_options(POOL) == api.DevicePluginOptions(get_preferred_allocation_available=True)
    outdated = pool(replace(POOL.devices[0], outdated=True))
    both = api.DevicePluginOptions(get_preferred_allocation_available=True, pre_start_required=True)
    assert to_options(outdated) == both
