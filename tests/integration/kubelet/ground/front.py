"""What the kubelet takes for a plugin, and qatdp for the kubelet: each passes its calls on, through the gates."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Protocol, TypeAlias, TypeVar

import grpc
from google.protobuf.message import Message

from ground.gates import Call, Gates, Way
from ground.waiting import now_s
from qatdp.api import deviceplugin_v1beta1_pb2 as api
from qatdp.api import podresources_v1_pb2 as pods_api
from qatdp.api.deviceplugin_v1beta1_pb2_grpc import (
    DevicePluginServicer,
    DevicePluginStub,
    add_DevicePluginServicer_to_server,
)
from qatdp.api.podresources_v1_pb2_grpc import PodResourcesListerServicer, PodResourcesListerStub
from qatdp.kubelet.channel import channel

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Came: TypeAlias = tuple[float, api.ListAndWatchResponse | grpc.aio.AioRpcError | None]

Request = TypeVar("Request", bound=Message)
Answer = TypeVar("Answer", bound=Message)


class Ask(Protocol[Request, Answer]):
    """A unary call of a stub."""

    def __call__(self, request: Request, /) -> "grpc.aio.UnaryUnaryCall[Request, Answer]": ...


class PluginFront(DevicePluginServicer):
    """Stands for the plugin: serves on `front` what the plugin serves on `behind`. It ends with its stream."""

    def __init__(self, gates: Gates, resource: str, front: Path, behind: Path) -> None:
        self.socket = front
        self._gates, self._resource = gates, resource
        self._channel = channel(behind)
        self._plugin = DevicePluginStub(self._channel)
        self._server = grpc.aio.server()
        self._opening: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None

    async def open(self) -> None:
        add_DevicePluginServicer_to_server(self, self._server)
        self._opening = asyncio.create_task(serve(self._server, self.socket), name=f"start of {self.socket.name}")
        await asyncio.shield(self._opening)  # a start that is cancelled leaves a server that cannot be stopped

    async def close(self) -> None:
        """End its calls and its streams, and take its socket away."""
        await asyncio.shield(self._end_soon())

    def _end_soon(self) -> asyncio.Task[None]:
        if self._ending is None:
            self._ending = asyncio.create_task(self._end(), name=f"end of {self.socket.name}")
        return self._ending

    async def _end(self) -> None:
        if self._opening:
            await self._opening
            await self._server.stop(None)
        await self._channel.close()

    async def GetDevicePluginOptions(self, request: api.Empty, context: Context) -> api.DevicePluginOptions:
        return await self._forward(Call.OPTIONS, self._plugin.GetDevicePluginOptions, request, context)

    async def GetPreferredAllocation(
        self, request: api.PreferredAllocationRequest, context: Context
    ) -> api.PreferredAllocationResponse:
        return await self._forward(Call.PREFERRED, self._plugin.GetPreferredAllocation, request, context)

    async def Allocate(self, request: api.AllocateRequest, context: Context) -> api.AllocateResponse:
        return await self._forward(Call.ALLOCATE, self._plugin.Allocate, request, context)

    async def PreStartContainer(
        self, request: api.PreStartContainerRequest, context: Context
    ) -> api.PreStartContainerResponse:
        return await self._forward(Call.PRE_START, self._plugin.PreStartContainer, request, context)

    async def ListAndWatch(self, request: api.Empty, context: Context) -> AsyncIterator[api.ListAndWatchResponse]:
        """Pass lists on, one by one. They are read at once and queue here, as they do before a kubelet that is slow."""
        await self._gates.passes(Call.LIST_AND_WATCH, Way.REQUEST, request, self._resource)
        stream = self._plugin.ListAndWatch(request)
        came: asyncio.Queue[Came] = asyncio.Queue()
        reader = asyncio.create_task(_read(stream, came), name=f"lists of {self.socket.name}")
        try:
            while True:
                at_s, item = await came.get()
                if isinstance(item, grpc.aio.AioRpcError):
                    await context.abort(item.code(), item.details() or "")
                if not isinstance(item, api.ListAndWatchResponse):
                    return
                await self._gates.passes(Call.LIST_AND_WATCH, Way.ANSWER, item, self._resource, came_s=at_s)
                yield item
        finally:
            reader.cancel()
            stream.cancel()
            self._gates.ended(self._resource)
            self._end_soon()  # the kubelet comes back to no socket whose stream has ended

    async def _forward(self, call: Call, ask: Ask[Request, Answer], request: Request, context: Context) -> Answer:
        return await forward(self._gates, call, ask, request, context, self._resource)


class PodResourcesFront(PodResourcesListerServicer):
    """Stands for the kubelet's podresources server, whose socket is `behind`."""

    def __init__(self, gates: Gates, behind: Path) -> None:
        self._gates, self._behind = gates, behind

    async def List(
        self, request: pods_api.ListPodResourcesRequest, context: Context
    ) -> pods_api.ListPodResourcesResponse:
        async with channel(self._behind) as kubelet:
            return await forward(self._gates, Call.LIST, PodResourcesListerStub(kubelet).List, request, context)

    async def GetAllocatableResources(
        self, request: pods_api.AllocatableResourcesRequest, context: Context
    ) -> pods_api.AllocatableResourcesResponse:
        async with channel(self._behind) as kubelet:
            ask = PodResourcesListerStub(kubelet).GetAllocatableResources
            return await forward(self._gates, Call.ALLOCATABLE, ask, request, context)

    async def Get(self, request: pods_api.GetPodResourcesRequest, context: Context) -> pods_api.GetPodResourcesResponse:
        raise NotImplementedError("qatdp does not ask for one pod")


async def forward(
    gates: Gates, call: Call, ask: Ask[Request, Answer], request: Request, context: Context, resource: str = ""
) -> Answer:
    """Pass a request on and its answer back, each through its gate; an error passes as it is."""
    await gates.passes(call, Way.REQUEST, request, resource)
    try:
        answer = await ask(request)
    except grpc.aio.AioRpcError as error:
        await context.abort(error.code(), error.details() or "")
    await gates.passes(call, Way.ANSWER, answer, resource)
    return answer


async def serve(server: grpc.aio.Server, socket: Path) -> None:
    server.add_insecure_port(f"unix:{socket}")
    await server.start()


async def _read(stream: "grpc.aio.UnaryStreamCall[Any, api.ListAndWatchResponse]", into: asyncio.Queue[Came]) -> None:
    """Read lists until they end, then the end: None, or an error."""
    try:
        async for answer in stream:
            into.put_nowait((now_s(), answer))
        into.put_nowait((now_s(), None))
    except grpc.aio.AioRpcError as error:
        into.put_nowait((now_s(), error))
