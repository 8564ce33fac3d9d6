"""What goes over the wire has the names and numbers of Kubernetes' own two APIs."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TypeAlias

import grpc
import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor, FileDescriptor

from qatdp.api import deviceplugin_v1beta1_pb2 as plugin
from qatdp.api import podresources_v1_pb2 as ledger
from qatdp.api.deviceplugin_v1beta1_pb2_grpc import DevicePluginStub, RegistrationStub
from qatdp.api.podresources_v1_pb2_grpc import PodResourcesListerStub

Shape: TypeAlias = tuple[str, ...]

# k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1/api.proto, Kubernetes 1.37
PLUGIN: dict[str, Shape] = {
    "DevicePluginOptions": ("1 pre_start_required bool", "2 get_preferred_allocation_available bool"),
    "RegisterRequest": (
        "1 version string",
        "2 endpoint string",
        "3 resource_name string",
        "4 options DevicePluginOptions",
    ),
    "Empty": (),
    "ListAndWatchResponse": ("1 devices repeated Device",),
    "TopologyInfo": ("1 nodes repeated NUMANode",),
    "NUMANode": ("1 ID int64",),
    "Device": ("1 ID string", "2 health string", "3 topology TopologyInfo"),
    "PreStartContainerRequest": ("1 devices_ids repeated string",),
    "PreStartContainerResponse": (),
    "PreferredAllocationRequest": ("1 container_requests repeated ContainerPreferredAllocationRequest",),
    "ContainerPreferredAllocationRequest": (
        "1 available_deviceIDs repeated string",
        "2 must_include_deviceIDs repeated string",
        "3 allocation_size int32",
    ),
    "PreferredAllocationResponse": ("1 container_responses repeated ContainerPreferredAllocationResponse",),
    "ContainerPreferredAllocationResponse": ("1 deviceIDs repeated string",),
    "AllocateRequest": ("1 container_requests repeated ContainerAllocateRequest",),
    "ContainerAllocateRequest": ("1 devices_ids repeated string",),
    "CDIDevice": ("1 name string",),
    "AllocateResponse": ("1 container_responses repeated ContainerAllocateResponse",),
    "ContainerAllocateResponse": (
        "1 envs map<string,string>",
        "2 mounts repeated Mount",
        "3 devices repeated DeviceSpec",
        "4 annotations map<string,string>",
        "5 cdi_devices repeated CDIDevice",
    ),
    "Mount": ("1 container_path string", "2 host_path string", "3 read_only bool"),
    "DeviceSpec": ("1 container_path string", "2 host_path string", "3 permissions string"),
}

# k8s.io/kubelet/pkg/apis/podresources/v1/api.proto, Kubernetes 1.37
BOOKS: dict[str, Shape] = {
    "AllocatableResourcesRequest": (),
    "AllocatableResourcesResponse": (
        "1 devices repeated ContainerDevices",
        "2 cpu_ids repeated int64",
        "3 memory repeated ContainerMemory",
    ),
    "ListPodResourcesRequest": (),
    "ListPodResourcesResponse": ("1 pod_resources repeated PodResources",),
    "PodResources": (
        "1 name string",
        "2 namespace string",
        "3 containers repeated ContainerResources",
        "4 cpu_ids repeated int64",
        "5 memory repeated ContainerMemory",
    ),
    "ContainerResources": (
        "1 name string",
        "2 devices repeated ContainerDevices",
        "3 cpu_ids repeated int64",
        "4 memory repeated ContainerMemory",
        "5 dynamic_resources repeated DynamicResource",
    ),
    "ContainerMemory": ("1 memory_type string", "2 size uint64", "3 topology TopologyInfo"),
    "ContainerDevices": ("1 resource_name string", "2 device_ids repeated string", "3 topology TopologyInfo"),
    "TopologyInfo": ("1 nodes repeated NUMANode",),
    "NUMANode": ("1 ID int64",),
    "DynamicResource": (
        "2 claim_name string",
        "3 claim_namespace string",
        "4 claim_resources repeated ClaimResource",
    ),
    "ClaimResource": (
        "1 cdi_devices repeated CDIDevice",
        "2 driver_name string",
        "3 pool_name string",
        "4 device_name string",
        "5 share_id string",
    ),
    "CDIDevice": ("1 name string",),
    "GetPodResourcesRequest": ("1 pod_name string", "2 pod_namespace string"),
    "GetPodResourcesResponse": ("1 pod_resources PodResources",),
}

SCALARS = {
    FieldDescriptor.TYPE_BOOL: "bool",
    FieldDescriptor.TYPE_INT32: "int32",
    FieldDescriptor.TYPE_INT64: "int64",
    FieldDescriptor.TYPE_STRING: "string",
    FieldDescriptor.TYPE_UINT64: "uint64",
}


def shape(message: Descriptor) -> Shape:
    """Return the fields of a message, in the order of their numbers, written as in the tables above."""
    return tuple(f"{field.number} {field.name} {_type(field)}" for field in sorted(message.fields, key=_number))


def _number(field: FieldDescriptor) -> int:
    return field.number


def _type(field: FieldDescriptor) -> str:
    message = field.message_type
    if message and message.GetOptions().map_entry:
        return f"map<{','.join(_type(part) for part in sorted(message.fields, key=_number))}>"
    return ("repeated " if field.is_repeated else "") + (message.name if message else SCALARS[field.type])


@pytest.mark.parametrize(
    ("file", "table"),
    [pytest.param(plugin.DESCRIPTOR, PLUGIN, id="v1beta1"), pytest.param(ledger.DESCRIPTOR, BOOKS, id="v1")],
)
def test_every_message_has_the_fields_of_kubernetes(file: FileDescriptor, table: dict[str, Shape]) -> None:
    assert {name: shape(message) for name, message in file.message_types_by_name.items()} == table


def test_the_two_apis_live_in_one_process_with_messages_of_the_same_name() -> None:
    assert plugin.TopologyInfo.DESCRIPTOR.full_name == "v1beta1.TopologyInfo"
    assert ledger.TopologyInfo.DESCRIPTOR.full_name == "v1.TopologyInfo"


def test_share_id_can_be_absent() -> None:
    assert not ledger.ClaimResource().HasField("share_id")
    assert ledger.ClaimResource(share_id="").HasField("share_id")


class Listener(grpc.GenericRpcHandler):
    """A server that serves nothing, and writes down what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> None:
        self.asked.append(handler_call_details.method)


@pytest.fixture
def listener() -> Listener:
    return Listener()


@pytest.fixture
async def channel(listener: Listener, tmp_path: Path) -> AsyncIterator[grpc.aio.Channel]:
    address = f"unix:{tmp_path}/socket"
    server = grpc.aio.server(handlers=(listener,))
    server.add_insecure_port(address)
    await server.start()
    async with grpc.aio.insecure_channel(address) as channel:
        yield channel
    await server.stop(grace=None)


def calls(channel: grpc.aio.Channel) -> Iterator[tuple[str, grpc.aio.Call]]:
    """Make each call of the two APIs: under which name it should arrive, and the call."""
    registration, lister, device_plugin = (
        RegistrationStub(channel),
        PodResourcesListerStub(channel),
        DevicePluginStub(channel),
    )
    yield "/v1beta1.Registration/Register", registration.Register(plugin.RegisterRequest())
    yield "/v1beta1.DevicePlugin/GetDevicePluginOptions", device_plugin.GetDevicePluginOptions(plugin.Empty())
    yield "/v1beta1.DevicePlugin/ListAndWatch", device_plugin.ListAndWatch(plugin.Empty())
    preferred = plugin.PreferredAllocationRequest()
    yield "/v1beta1.DevicePlugin/GetPreferredAllocation", device_plugin.GetPreferredAllocation(preferred)
    yield "/v1beta1.DevicePlugin/Allocate", device_plugin.Allocate(plugin.AllocateRequest())
    yield "/v1beta1.DevicePlugin/PreStartContainer", device_plugin.PreStartContainer(plugin.PreStartContainerRequest())
    yield "/v1.PodResourcesLister/List", lister.List(ledger.ListPodResourcesRequest())
    allocatable = ledger.AllocatableResourcesRequest()
    yield "/v1.PodResourcesLister/GetAllocatableResources", lister.GetAllocatableResources(allocatable)
    yield "/v1.PodResourcesLister/Get", lister.Get(ledger.GetPodResourcesRequest())


async def test_every_call_goes_by_the_name_that_kubernetes_knows(listener: Listener, channel: grpc.aio.Channel) -> None:
    named = []
    for name, call in calls(channel):
        named.append(name)
        assert await call.code() is grpc.StatusCode.UNIMPLEMENTED
    assert listener.asked == named
