"""The PodResources server (pkg/kubelet/apis/podresources/server_v1.go)."""

from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

import grpc

from qatdp.api import podresources_v1_pb2 as api
from qatdp.api.podresources_v1_pb2_grpc import PodResourcesListerServicer
from qatdp.simulator.kubelet.answers import PodLike
from qatdp.simulator.kubelet.holds import Call
from qatdp.simulator.kubelet.ledger import Ledger
from qatdp.simulator.kubelet.setting import Setting

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class Books(PodResourcesListerServicer):
    """Tells what the ledger says."""

    def __init__(self, setting: Setting, ledger: Ledger) -> None:
        self._setting, self._ledger = setting, ledger

    async def List(self, request: api.ListPodResourcesRequest, context: Context) -> api.ListPodResourcesResponse:
        """Forget pods that have ended, then name the others; what their plain init containers have is not named."""
        await self._setting.holds.passes(Call.LIST)
        self._setting.history.note(Call.LIST, "", request)
        pods = {**self._ledger.pods}
        if not self._setting.version.lists_active_pods_only:
            pods.update(self._ledger.ended)
        self._ledger.prune()
        return api.ListPodResourcesResponse(pod_resources=map(self._pod, pods.values()))

    def _pod(self, pod: PodLike) -> api.PodResources:
        listed = (*(container for container in pod.init if container.restartable), *pod.containers)
        containers = (
            api.ContainerResources(name=container.name, devices=self._of_container(pod.uid, container.name))
            for container in listed
        )
        return api.PodResources(name=pod.name, namespace=pod.namespace, containers=containers)

    def _of_container(self, uid: str, container: str) -> Iterator[api.ContainerDevices]:
        for resource, given in self._ledger.of_container(uid, container).items():
            for text, node in given.node_by_device():
                yield _entry(resource, text, node)

    async def GetAllocatableResources(
        self, request: api.AllocatableResourcesRequest, context: Context
    ) -> api.AllocatableResourcesResponse:
        await self._setting.holds.passes(Call.ALLOCATABLE)
        self._setting.history.note(Call.ALLOCATABLE, "", request)
        return api.AllocatableResourcesResponse(devices=self._allocatable())

    async def Get(self, request: api.GetPodResourcesRequest, context: Context) -> api.GetPodResourcesResponse:
        raise NotImplementedError("nobody here asks for one pod")

    def _allocatable(self) -> Iterator[api.ContainerDevices]:
        for resource, devices in self._ledger.allocatable().items():
            for text, device in devices.items():
                nodes: Iterable[int | None] = [node.ID for node in device.topology.nodes]
                if not device.HasField("topology"):
                    nodes = [None]
                for node in nodes:
                    yield _entry(resource, text, node)


def _entry(resource: str, text: str, node: int | None) -> api.ContainerDevices:
    """Return one device on one of its NUMA nodes: one of two nodes makes two entries."""
    topology = None if node is None else api.TopologyInfo(nodes=[api.NUMANode(ID=node)])
    return api.ContainerDevices(resource_name=resource, device_ids=[text], topology=topology)
