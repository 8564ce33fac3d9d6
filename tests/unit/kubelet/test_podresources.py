"""The kubelet's answers about pods and devices are read as they are, and no answer is never taken for an empty one."""

import socket
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import grpc
import pytest

from qatdp.api import podresources_v1_pb2 as api
from qatdp.api.podresources_v1_pb2_grpc import PodResourcesListerServicer, add_PodResourcesListerServicer_to_server
from qatdp.core.model.pci import PciAddress
from qatdp.core.status.pod_names import ListedDevices, PodName
from qatdp.errors import KubeletStateError
from qatdp.kubelet.podresources import PodResources

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

CY, GPU = "qat.intel.com/cy", "example.com/gpu"
VFS = tuple(map(PciAddress.parse, ("0000:6b:00.1", "0000:6b:00.2")))


def entry(resource: str, text: str, node: int | None = None) -> api.ContainerDevices:
    topology = None if node is None else api.TopologyInfo(nodes=[api.NUMANode(ID=node)])
    return api.ContainerDevices(resource_name=resource, device_ids=[text], topology=topology)


def named(listed: Iterable[ListedDevices]) -> set[tuple[PciAddress, str]]:
    return {(device, devices.resource) for devices in listed for device in devices.devices}


@dataclass
class Server(PodResourcesListerServicer):
    """Answers what it is told to."""

    devices: tuple[api.ContainerDevices, ...] = ()
    pods: int = 1
    error: grpc.StatusCode | None = None

    async def List(self, request: api.ListPodResourcesRequest, context: Context) -> api.ListPodResourcesResponse:
        if self.error:
            await context.abort(self.error, "rejected by rate limit")
        container = api.ContainerResources(name="main", devices=self.devices)
        pod = api.PodResources(name="pod", namespace="default", containers=[container])
        return api.ListPodResourcesResponse(pod_resources=[pod] * self.pods)

    async def GetAllocatableResources(
        self, request: api.AllocatableResourcesRequest, context: Context
    ) -> api.AllocatableResourcesResponse:
        if self.error:
            await context.abort(self.error, "rejected by rate limit")
        return api.AllocatableResourcesResponse(devices=self.devices)

    async def Get(self, request: api.GetPodResourcesRequest, context: Context) -> api.GetPodResourcesResponse:
        raise NotImplementedError


@pytest.fixture
async def server(folder: Path) -> AsyncIterator[Server]:
    pod_resources = Server()
    server = grpc.aio.server()
    add_PodResourcesListerServicer_to_server(pod_resources, server)
    server.add_insecure_port(f"unix:{folder}/kubelet.sock")
    await server.start()
    yield pod_resources
    await server.stop(None)


async def test_every_device_is_named_with_its_resource_once_whatever_numa_nodes_it_has(
    server: Server, folder: Path
) -> None:
    server.devices = (entry(CY, str(VFS[0]), 0), entry(CY, str(VFS[0]), 1), entry(CY, str(VFS[1])))
    assert named(await PodResources(folder).listed()) == {(VFS[0], CY), (VFS[1], CY)}


async def test_ids_that_are_no_addresses_are_those_of_others(server: Server, folder: Path) -> None:
    server.devices = (entry(GPU, "GPU-1"), entry(GPU, str(VFS[0])))
    assert named(await PodResources(folder).listed()) == {(VFS[0], GPU)}


async def test_what_may_be_handed_out_is_told_by_resource(server: Server, folder: Path) -> None:
    server.devices = (entry(CY, "a", 0), entry(CY, "a", 1), entry(CY, "b"), entry(GPU, "c"))
    assert await PodResources(folder).allocatable() == {CY: {"a", "b"}, GPU: {"c"}}


async def test_an_answer_may_be_larger_than_grpc_s_default(server: Server, folder: Path) -> None:
    server.devices, server.pods = (entry(CY, str(VFS[0])),) * 2_000, 100
    assert api.ListPodResourcesResponse(
        pod_resources=[api.PodResources(containers=[api.ContainerResources(devices=server.devices)])] * server.pods
    ).ByteSize() > (4 << 20)
    assert named(await PodResources(folder).listed()) == {(VFS[0], CY)}


@pytest.mark.parametrize("call", ["listed", "allocatable"])
async def test_an_error_is_told_with_the_kubelet_s_words(server: Server, folder: Path, call: str) -> None:
    server.error = grpc.StatusCode.RESOURCE_EXHAUSTED
    with pytest.raises(KubeletStateError, match=r"kubelet\.sock: RESOURCE_EXHAUSTED: rejected by rate limit"):
        await getattr(PodResources(folder), call)()


@pytest.mark.parametrize("call", ["listed", "allocatable"])
async def test_a_socket_that_is_not_there_is_told_in_a_few_words(folder: Path, call: str) -> None:
    with pytest.raises(KubeletStateError) as raised:
        await getattr(PodResources(folder), call)()
    assert str(raised.value) == f"{folder}/kubelet.sock is not there"


@pytest.mark.parametrize("call", ["listed", "allocatable"])
async def test_no_kubelet_behind_the_socket_is_an_error(folder: Path, call: str) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(folder / "kubelet.sock"))
    with pytest.raises(KubeletStateError, match="UNAVAILABLE"):
        await getattr(PodResources(folder), call)()


async def test_each_call_finds_the_kubelet_that_runs_now(folder: Path) -> None:
    pod_resources = PodResources(folder)
    for device in VFS:
        other = grpc.aio.server()
        add_PodResourcesListerServicer_to_server(replace(Server(), devices=(entry(CY, str(device)),)), other)
        other.add_insecure_port(f"unix:{folder}/kubelet.sock")
        await other.start()
        assert named(await pod_resources.listed()) == {(device, CY)}
        await other.stop(None)
        with pytest.raises(KubeletStateError):
            await pod_resources.listed()


BAD_NAMES = ["qat.intel.com/../etc", "qat.intel.com/cy\nINFO", "cy", "qat.intel.com/", "Qat.intel.com/cy"]


@pytest.mark.parametrize("name", BAD_NAMES)
async def test_names_that_no_kubelet_registers_are_refused(server: Server, folder: Path, name: str) -> None:
    server.devices = (entry(name, "0000:6b:00.1"),)
    for call in (PodResources(folder).listed, PodResources(folder).offered):
        with pytest.raises(KubeletStateError, match="is not a resource name") as raised:
            await call()
        assert "\n" not in str(raised.value)


async def test_who_has_a_device_is_told_with_pod_and_container(server: Server, folder: Path) -> None:
    server.devices = (entry(CY, str(VFS[0]), 0), entry(CY, str(VFS[0]), 1), entry(GPU, str(VFS[1])), entry(CY, "x"))
    assert await PodResources(folder).listed() == [
        ListedDevices(PodName("default", "pod"), "main", CY, frozenset({VFS[0]})),
        ListedDevices(PodName("default", "pod"), "main", GPU, frozenset({VFS[1]})),
    ]
