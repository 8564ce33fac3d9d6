"""Core values back and forthm protobuf: the only place that knows both."""

from collections.abc import Iterable

from qatdp.api import deviceplugin_v1beta1_pb2 as api
from qatdp.core.pools.allocation import PERMISSIONS, Allocation
from qatdp.core.pools.pools import Health, PoolDevice, ResourcePool


def to_list(pool: ResourcePool) -> api.ListAndWatchResponse:
    """Return the list of a pool, in the order of addresses.

    Either all of its devices carry their NUMA node or none does: to the topology manager a device without one can
    satisfy no hint (dm/topology_hints.go), so a mixed list would refuse pods for nothing. Devices that are not healthy
    are never handed out, so it does not matter what is not known of them.
    """
    usable = [device for device in pool.devices if device.health is Health.HEALTHY]
    with_topology = all(device.numa_node is not None for device in usable)
    return api.ListAndWatchResponse(
        devices=[_to_device(device, device.numa_node if with_topology else None) for device in pool.devices]
    )


def _to_device(device: PoolDevice, numa_node: int | None) -> api.Device:
    topology = None if numa_node is None else api.TopologyInfo(nodes=[api.NUMANode(ID=numa_node)])
    return api.Device(ID=str(device.address), health=device.health, topology=topology)


def to_options(pool: ResourcePool) -> api.DevicePluginOptions:
    return api.DevicePluginOptions(pre_start_required=pool.pre_start_required, get_preferred_allocation_available=True)


def to_allocation(allocation: Allocation) -> api.ContainerAllocateResponse:
    nodes = [api.DeviceSpec(container_path=path, host_path=path, permissions=PERMISSIONS) for path in allocation.nodes]
    return api.ContainerAllocateResponse(envs=allocation.env, devices=nodes)


def to_preference(ids: Iterable[str]) -> api.ContainerPreferredAllocationResponse:
    return api.ContainerPreferredAllocationResponse(deviceIDs=ids)


def nodes_of_answer(answer: bytes) -> frozenset[str]:
    """Return the nodes on the host that a stored Allocate answer names; raises ValueError where it is none."""
    try:
        response = api.ContainerAllocateResponse.FromString(answer)
    except Exception as error:
        raise ValueError(f"no Allocate answer: {error}") from error
    return frozenset(spec.host_path for spec in response.devices)
