"""Plugin: one connection to a plugin's socket (dm/endpoint.go, dm/plugin/v1beta1/client.go)."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import grpc

from qatdp.api import deviceplugin_v1beta1_pb2 as api
from qatdp.api.deviceplugin_v1beta1_pb2_grpc import DevicePluginStub

if TYPE_CHECKING:
    from qatdp.api.deviceplugin_v1beta1_pb2_grpc import DevicePluginAsyncStub

T = TypeVar("T")

CLOSED = "rpc error: code = Canceled desc = grpc: the client connection is closing"

# grpc-go has a connection of its own for each client, takes 4 MiB at most, and tries to connect again after a second.
CHANNEL = (
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.default_authority", "localhost"),
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_receive_message_length", 4 << 20),
    ("grpc.initial_reconnect_backoff_ms", 1000),
    ("grpc.min_reconnect_backoff_ms", 1000),
)


class PluginError(Exception):
    """Why a plugin could not be asked, or what it answered: the text that goes into a pod's status."""


@dataclass(eq=False, slots=True)
class Plugin:
    """One connection to a plugin's socket. `stopped_s`: when it was told to have ended; None while it is there."""

    resource: str
    socket: Path
    channel: grpc.aio.Channel | None = None  # None: known from the checkpoint alone
    is_connected: bool = False
    options: api.DevicePluginOptions | None = None
    stream: "grpc.aio.UnaryStreamCall[api.Empty, api.ListAndWatchResponse] | None" = None
    stopped_s: float | None = None

    @property
    def stub(self) -> "DevicePluginAsyncStub":
        """What it can be asked; raises PluginError where it has ended."""
        if self.channel is None or self.stopped_s is not None:
            raise PluginError(f"endpoint {self.socket.name} of {self.resource} has been stopped")
        if not self.is_connected:
            raise PluginError(CLOSED)
        return DevicePluginStub(self.channel)

    async def close(self) -> None:
        """Close the connection; one that is still being made is left alone."""
        if self.channel and self.is_connected:
            self.is_connected = False
            if self.stream:
                self.stream.cancel()
            await self.channel.close()


async def ask(call: Callable[[], Awaitable[T]]) -> T:
    """Return what a plugin answers; raises PluginError."""
    try:
        return await call()
    except grpc.aio.AioRpcError as error:
        raise PluginError(_in_go(error)) from error
    except asyncio.CancelledError as error:
        if is_cancelled():
            raise
        raise PluginError(CLOSED) from error


def is_cancelled() -> bool:
    """Return whether this task is: a call whose channel was closed raises CancelledError as well."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


def _in_go(error: grpc.aio.AioRpcError) -> str:
    """Return an error as Go writes it."""
    code = error.code()
    name = "Canceled" if code is grpc.StatusCode.CANCELLED else "".join(w.capitalize() for w in code.name.split("_"))
    return f"rpc error: code = {name} desc = {error.details()}"
