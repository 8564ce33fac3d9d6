"""ScriptedPlugin: a device plugin that does what a test says, for tests of kubelets and of what stands before them."""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import grpc

from qatdp.api import deviceplugin_v1beta1_pb2 as api
from qatdp.api.deviceplugin_v1beta1_pb2_grpc import (
    DevicePluginServicer,
    RegistrationStub,
    add_DevicePluginServicer_to_server,
)
from qatdp.kubelet.channel import channel
from qatdp.simulator.kubelet import FakeKubelet

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

CY = "qat.intel.com/cy"


def device(text: str, health: str = "Healthy", *nodes: int) -> api.Device:
    topology = api.TopologyInfo(nodes=[api.NUMANode(ID=node) for node in nodes]) if nodes else None
    return api.Device(ID=text, health=health, topology=topology)


class ScriptedPlugin(DevicePluginServicer):
    """A plugin of one resource that does what a test says; `asked` are the requests that it got."""

    def __init__(self, folder: Path, resource: str, ids: Iterable[str] = ("a", "b", "c", "d")) -> None:
        self.resource, self.folder = resource, folder / "device-plugins"
        self.options = api.DevicePluginOptions(get_preferred_allocation_available=True)
        self.answer: api.AllocateResponse | None = None
        self.preference: Collection[str] = ()
        self.error: tuple[grpc.StatusCode, str] | None = None  # of Allocate
        self.no_preference = False
        self.asked: list[Any] = []
        self._devices = [device(text) for text in ids]
        self._changed = asyncio.Event()
        self._over = False
        self._server: grpc.aio.Server | None = None

    async def serve(self, name: str) -> None:
        self._server = grpc.aio.server()
        add_DevicePluginServicer_to_server(self, self._server)
        self._server.add_insecure_port(f"unix:{self.folder / name}")
        await self._server.start()

    async def register(self, name: str, request: api.RegisterRequest | None = None) -> None:
        """Register a socket; whatever a request says overrides what is right."""
        right = api.RegisterRequest(version="v1beta1", endpoint=name, resource_name=self.resource)
        right.MergeFrom(request or api.RegisterRequest())
        async with channel(self.folder / "kubelet.sock") as kubelet:
            await RegistrationStub(kubelet).Register(right)

    async def close(self) -> None:
        if self._server:
            await self._server.stop(None)

    def send(self, *devices: api.Device | str) -> None:
        """Send another list."""
        self._devices = [device(one) if isinstance(one, str) else one for one in devices]
        self._changed.set()

    def end_stream(self) -> None:
        """Return from ListAndWatch, without any error."""
        self._over = True
        self._changed.set()

    async def GetDevicePluginOptions(self, request: api.Empty, context: Context) -> api.DevicePluginOptions:
        return self.options

    async def ListAndWatch(self, request: api.Empty, context: Context) -> AsyncIterator[api.ListAndWatchResponse]:
        self.asked.append(request)
        while not self._over:
            self._changed.clear()
            yield api.ListAndWatchResponse(devices=self._devices)
            await self._changed.wait()

    async def GetPreferredAllocation(
        self, request: api.PreferredAllocationRequest, context: Context
    ) -> api.PreferredAllocationResponse:
        self.asked.append(request)
        if self.no_preference:
            await context.abort(grpc.StatusCode.INTERNAL, "no idea")
        answer = api.ContainerPreferredAllocationResponse(deviceIDs=self.preference)
        return api.PreferredAllocationResponse(container_responses=[answer])

    async def Allocate(self, request: api.AllocateRequest, context: Context) -> api.AllocateResponse:
        self.asked.append((request, context.time_remaining()))
        if self.error:
            await context.abort(*self.error)
        if self.answer:
            return self.answer
        envs = {"ALL": self.resource, self.resource: ",".join(request.container_requests[0].devices_ids)}
        return api.AllocateResponse(container_responses=[api.ContainerAllocateResponse(envs=envs)])

    async def PreStartContainer(
        self, request: api.PreStartContainerRequest, context: Context
    ) -> api.PreStartContainerResponse:
        raise NotImplementedError


@asynccontextmanager
async def a_plugin(
    kubelet: FakeKubelet, resource: str = CY, *ids: str, name: str = ""
) -> AsyncIterator[ScriptedPlugin]:
    """Yield a plugin whose list the kubelet has read."""
    plugin = ScriptedPlugin(kubelet.folder, resource, ids or ("a", "b", "c", "d"))
    name = name or resource.rpartition("/")[2] + ".sock"
    await plugin.serve(name)
    try:
        await plugin.register(name)
        await kubelet.until(lambda: bool(kubelet.known(resource)))
        yield plugin
    finally:
        await plugin.close()
