"""Registration: one Register call, and the names of the sockets that are registered."""

import asyncio
import contextlib
import os
import re
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path

import grpc

from qatdp.api import deviceplugin_v1beta1_pb2 as api
from qatdp.api.deviceplugin_v1beta1_pb2_grpc import RegistrationStub
from qatdp.errors import ConfigError
from qatdp.files import SOCKET_PATH_BYTES
from qatdp.kubelet.channel import channel

VERSION = "v1beta1"
KUBELET_SOCKET = "kubelet.sock"
PREFIX = "qatdp-"

# The kubelet dials back for up to 10 s before it answers (v1beta1/client.go), and up to 1.34 goes on when its caller
# has given up: so nobody may give up earlier.
REGISTER_TIMEOUT_S = 25.0

# How often to look whether a socket that is being registered is still there.
LOOK_S = 0.1

# The kubelet dials the same socket by its own path, which can be longer than the one that a pod has mounted: that of
# MicroK8s (/var/snap/microk8s/common/var/lib/kubelet/device-plugins/) takes 57 bytes, and 59 are left for it.
RESOURCE_CHARACTERS = 24
UNIQUE_BYTES = 6
FIXED_CHARACTERS = len(f"{PREFIX}-.sock") + 2 * UNIQUE_BYTES


def new_socket_name(resource: str, folder: Path) -> str:
    """Return a name that no server had before, in this process or another: a path used twice poisons the kubelet.

    The resource's part of it, which is for people, is cut to what the folder leaves. Raises ConfigError where it leaves
    no character.
    """
    room = min(RESOURCE_CHARACTERS, room_in(folder))
    plain = re.sub(r"[^A-Za-z0-9]+", "-", resource.rpartition("/")[2])[:room]
    return f"{PREFIX}{plain}-{secrets.token_hex(UNIQUE_BYTES)}.sock"


def room_in(folder: Path) -> int:
    """Return how many characters of a resource's name a socket's name may have in a folder; raises ConfigError."""
    taken, least = len(os.fsencode(folder)) + 1, FIXED_CHARACTERS + 1
    if taken + least > SOCKET_PATH_BYTES:
        raise ConfigError(
            "--kubelet-dir",
            f"{folder} takes {taken} of the {SOCKET_PATH_BYTES} bytes that the path of a Unix socket may have, "
            f"and the plugin's sockets in it need {least}",
            hint=f"mount the kubelet's folder at a path that leaves them, {SOCKET_PATH_BYTES - least} bytes at most",
        )
    return SOCKET_PATH_BYTES - taken - FIXED_CHARACTERS


async def register(folder: Path, endpoint: str, resource: str, options: api.DevicePluginOptions) -> None:
    """Register a socket of the folder as a resource's.

    Raises grpc.aio.AioRpcError with the kubelet's words; FileNotFoundError where the socket goes meanwhile: a kubelet
    removes it as it starts. It can have been bound before, and be registered after; then the kubelet dials for nothing,
    and answers after 10 s. Not waiting has a price up to 1.34: the kubelet then forgets the client registered next. It
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


def remove_stale_sockets(folder: Path) -> Iterator[Path]:
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
