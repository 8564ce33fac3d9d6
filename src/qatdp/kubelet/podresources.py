"""PodResources: what the kubelet would hand out, and what it names for whom (podresources/v1)."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import grpc

from qatdp.api import podresources_v1_pb2 as api
from qatdp.api.podresources_v1_pb2_grpc import PodResourcesListerStub
from qatdp.core.config.model import is_extended_resource
from qatdp.core.model.pci import PciAddress
from qatdp.core.status.pod_names import ListedDevices, PodName
from qatdp.core.text import shown
from qatdp.errors import KubeletStateError
from qatdp.kubelet.channel import channel

SOCKET = "kubelet.sock"
TIMEOUT_S = 5.0

Named: TypeAlias = frozenset[tuple[PciAddress, str]]


class PodResources:
    """Asks below a folder (/var/lib/kubelet/pod-resources). Each call has a channel of its own, so that it finds the
    socket of whichever kubelet runs now. Both raise KubeletStateError."""

    def __init__(self, folder: Path) -> None:
        self._socket = folder / SOCKET

    async def listed(self) -> Sequence[ListedDevices]:
        """Return what List names for each container, of whichever resource, as far as IDs are PCI addresses.

        List also makes the kubelet forget pods that have ended, and can make it give a device twice: see
        daemon/pod_lists.py, which alone may call it. It does not name what plain init containers have.
        """
        try:
            async with channel(self._socket) as kubelet:
                answer = await PodResourcesListerStub(kubelet).List(api.ListPodResourcesRequest(), timeout=TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            raise self._failed("List", error) from error
        self._check(
            "List",
            (
                devices.resource_name
                for pod in answer.pod_resources
                for container in pod.containers
                for devices in container.devices
            ),
        )
        return [
            ListedDevices(PodName(pod.namespace, pod.name), container.name, resource, frozenset(devices))
            for pod in answer.pod_resources
            for container in pod.containers
            for resource, devices in _by_resource(container.devices).items()
        ]

    async def allocatable(self) -> Mapping[str, frozenset[str]]:
        """Return the IDs that the kubelet may hand out, by resource. A device of two NUMA nodes comes twice."""
        request = api.AllocatableResourcesRequest()
        try:
            async with channel(self._socket) as kubelet:
                answer = await PodResourcesListerStub(kubelet).GetAllocatableResources(request, timeout=TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            raise self._failed("GetAllocatableResources", error) from error
        self._check("GetAllocatableResources", (devices.resource_name for devices in answer.devices))
        found: dict[str, set[str]] = {}
        for devices in answer.devices:
            found.setdefault(devices.resource_name, set()).update(devices.device_ids)
        return {resource: frozenset(ids) for resource, ids in found.items()}

    async def offered(self) -> Named:
        """Return the devices that the kubelet may hand out, each with its resource."""
        found = await self.allocatable()
        pairs = ((PciAddress.parse_or_none(text), resource) for resource, ids in found.items() for text in ids)
        return frozenset((address, resource) for address, resource in pairs if address)

    def _check(self, call: str, resources: Iterable[str]) -> None:
        """Refuse names that no kubelet can have registered: they would become resources, or lines of the log."""
        for name in resources:
            if not is_extended_resource(name):
                raise KubeletStateError(f"{call} on {self._socket}: {shown(name)} is not a resource name")

    def _failed(self, call: str, error: grpc.aio.AioRpcError) -> KubeletStateError:
        # In a few words, as it is so on each node whose kubelet comes later; gRPC needs 300 letters.
        if error.code() is grpc.StatusCode.UNAVAILABLE and not os.path.exists(self._socket):
            return KubeletStateError(f"{self._socket} is not there")
        return KubeletStateError(f"{call} on {self._socket}: {error.code().name}: {error.details()}")


def _by_resource(entries: Iterable[api.ContainerDevices]) -> Mapping[str, set[PciAddress]]:
    """Return the devices of a container by resource: there is an entry for each device and NUMA node."""
    found: dict[str, set[PciAddress]] = {}
    for entry in entries:
        addresses = (PciAddress.parse_or_none(text) for text in entry.device_ids)
        found.setdefault(entry.resource_name, set()).update(address for address in addresses if address)
    return found
