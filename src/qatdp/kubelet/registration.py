"""Registration: one Register call, and the names of the sockets that are registered."""

import asyncio
import contextlib
import re
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path

import grpc

from qatdp.api import deviceplugin_v1beta1_pb2 as api
from qatdp.api.deviceplugin_v1beta1_pb2_grpc import RegistrationStub
from qatdp.kubelet.channel import channel

VERSION = "v1beta1"
KUBELET_SOCKET = "kubelet.sock"
PREFIX = "qatdp-"

# The kubelet dials back for up to 10 s before it answers (v1beta1/client.go), and up to 1.34 goes on when its caller
# has given up: so nobody may give up earlier.
REGISTER_TIMEOUT_S = 25.0

# How often to look whether a socket that is being registered is still there.
LOOK_S = 0.1

# sun_path holds 107 bytes; below /var/lib/kubelet/device-plugins/ that leaves 75.
NAME_CHARACTERS = 40


def new_socket_name(resource: str) -> str:
    """Return a name that no server had before, in this process or another: a path used twice poisons the kubelet."""
    plain = re.sub(r"[^A-Za-z0-9]+", "-", resource.rpartition("/")[2])[:NAME_CHARACTERS]
    return f"{PREFIX}{plain}-{secrets.token_hex(6)}.sock"


async def register(folder: Path, endpoint: str, resource: str, options: api.DevicePluginOptions) -> None:
    """Register a socket of the folder as a resource's.

    Raises grpc.aio.AioRpcError with the kubelet's words; FileNotFoundError where the socket goes meanwhile: a kubelet
    removes it as it starts. It can have been bound before, and be registered after; then the kubelet dials in vain, and
    answers after 10 s. Not waiting has a price up to 1.34: the kubelet then forgets the client registered next. It
    serves that, but does not see its end, unless another Register follows (plugin/v1beta1/server.go, connectClient).
    """
    registering = asyncio.ensure_future(_register(folder, endpoint, resource, options))
    try:
        while not registering.done():
            await asyncio.wait((registering,), timeout=LOOK_S)
            if not registering.done() and not (folder / endpoint).exists():
                raise FileNotFoundError(f"{endpoint} was removed: a kubelet has started")
        registering.result()
    finally:
        registering.cancel()


async def _register(folder: Path, endpoint: str, resource: str, options: api.DevicePluginOptions) -> None:
    request = api.RegisterRequest(version=VERSION, endpoint=endpoint, resource_name=resource, options=options)
    async with channel(folder / KUBELET_SOCKET) as kubelet:
        await RegistrationStub(kubelet).Register(request, timeout=REGISTER_TIMEOUT_S)


def describe(error: grpc.aio.AioRpcError) -> str:
    return f"{error.code().name}: {error.details()}"


def sweep(folder: Path) -> Iterator[Path]:
    """Remove sockets of ours that a killed daemon left behind, and yield them; one that still listens stays."""
    for path in sorted(folder.glob(f"{PREFIX}*.sock")):
        with socket.socket(socket.AF_UNIX) as probe:
            probe.setblocking(False)  # the connect would wait for room in the backlog of one that hangs
            try:
                probe.connect(str(path))
            except ConnectionRefusedError:
                with contextlib.suppress(OSError):
                    path.unlink()
                    yield path
            except OSError:
                continue
