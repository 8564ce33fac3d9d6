"""A proxy between qatdp and the kubelet, with a gate for every message (gates.py).

qatdp is given a kubelet's folder of its own, in which the proxy serves kubelet.sock. For each Register the proxy opens
a socket in the kubelet's real folder and registers that one, so that all calls for the resource come through it.
Streams end on one side when they end on the other, and errors are passed on as they are. The checkpoint is the
kubelet's own, by a link: it is told from the next by what the link leads to.
"""

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path

import grpc

from ground.front import Context, PluginFront, PodResourcesFront, forward, serve
from ground.gates import Call, Gates
from qatdp.api import deviceplugin_v1beta1_pb2 as api
from qatdp.api.deviceplugin_v1beta1_pb2_grpc import (
    RegistrationServicer,
    RegistrationStub,
    add_RegistrationServicer_to_server,
)
from qatdp.api.podresources_v1_pb2_grpc import add_PodResourcesListerServicer_to_server
from qatdp.kubelet.channel import channel
from qatdp.kubelet.checkpoint import FILE as CHECKPOINT


class Proxy(RegistrationServicer):
    """`folder` is the kubelet's folder as qatdp is to see it, `kubelet` is the real one. It serves once it is `up`."""

    def __init__(self, folder: Path, kubelet: Path, gates: Gates) -> None:
        self._folder, self._kubelet, self._gates = folder, kubelet, gates
        self._plugins, self._real_plugins = folder / "device-plugins", kubelet / "device-plugins"
        self._checkpoint = self._plugins / CHECKPOINT
        self._servers: list[grpc.aio.Server] = []
        self._pod_resources: grpc.aio.Server | None = None
        self._fronts: list[PluginFront] = []
        for path in (self._plugins, folder / "pod-resources"):
            path.mkdir(parents=True)
        self.show_checkpoint()

    async def up(self) -> None:
        """Serve, as a kubelet that starts; that removes the sockets it finds."""
        for path in self._plugins.glob("*.sock"):
            path.unlink(missing_ok=True)  # as its plugin may remove it just then
        server = grpc.aio.server()
        add_RegistrationServicer_to_server(self, server)
        await serve(server, self._plugins / "kubelet.sock")
        self._servers.append(server)
        await self.pod_resources_up()

    async def down(self, *, killed: bool) -> None:
        """Close everything; `killed` leaves kubelet.sock behind, where nobody listens any more."""
        await self.pod_resources_down()
        servers, self._servers = self._servers, []
        fronts, self._fronts = self._fronts, []
        await asyncio.gather(*(server.stop(None) for server in servers), *(front.close() for front in fronts))
        if killed and servers:
            with socket.socket(socket.AF_UNIX) as dead:
                dead.bind(str(self._plugins / "kubelet.sock"))

    async def pod_resources_up(self) -> None:
        self._pod_resources = grpc.aio.server()
        front = PodResourcesFront(self._gates, self._kubelet / "pod-resources/kubelet.sock")
        add_PodResourcesListerServicer_to_server(front, self._pod_resources)
        await serve(self._pod_resources, self._folder / "pod-resources/kubelet.sock")

    async def pod_resources_down(self) -> None:
        if self._pod_resources:
            await self._pod_resources.stop(None)
            self._pod_resources = None

    def show_checkpoint(self) -> None:
        """Let qatdp see the kubelet's own checkpoint."""
        self._show(lambda path: path.symlink_to(self._real_plugins / CHECKPOINT))

    def forge_checkpoint(self, content: bytes) -> None:
        """Let qatdp see this content instead of the kubelet's own."""
        self._show(lambda path: path.write_bytes(content))

    def spoil_checkpoint(self) -> None:
        """Let qatdp see a checkpoint that cannot be read: for root, only a folder is one."""
        self._show(lambda path: path.symlink_to(self._real_plugins))

    def _show(self, make: Callable[[Path], object]) -> None:
        """Put another checkpoint in place of the one that qatdp sees, as the kubelet does: there is always one."""
        new = self._checkpoint.with_name("new-checkpoint")
        make(new)
        new.replace(self._checkpoint)

    async def Register(self, request: api.RegisterRequest, context: Context) -> api.Empty:
        """Register a socket of the proxy's, by the name of the plugin's, in the plugin's stead."""
        name, resource = request.endpoint, request.resource_name
        front = PluginFront(self._gates, resource, self._real_plugins / name, self._plugins / name)
        self._fronts.append(front)
        try:
            await front.open()
            async with channel(self._real_plugins / "kubelet.sock") as kubelet:
                ask = RegistrationStub(kubelet).Register
                return await forward(self._gates, Call.REGISTER, ask, request, context, resource)
        except BaseException:
            await front.close()
            raise
