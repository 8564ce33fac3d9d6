"""Listeners: on an address, and on a Unix socket that is root's alone and comes back when it was taken."""

import asyncio
import contextlib
import errno
import os
import secrets
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from qatdp.files import too_long

WAITING = 128  # connections that the kernel keeps until they are accepted, which is soon
LOOK_S = 1.0


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen; no host means all of this network namespace's addresses, port 0 any that is free."""

    host: str | None
    port: int


async def on_address(address: Address) -> list[socket.socket]:
    """Return a listener for each address that is meant, at least for one; OSError where there is none."""
    if address.host is None:
        return [_on_all(address.port)]
    found = await asyncio.get_running_loop().getaddrinfo(
        address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    listeners, failure = [], OSError(errno.EADDRNOTAVAIL, "no such address")
    for family, _, _, _, at in dict.fromkeys(found):
        try:
            listeners.append(socket.create_server(at[:2], family=family, backlog=WAITING))
        except OSError as error:  # as of ::1 where IPv6 is off
            failure = error
    if not listeners:
        raise failure
    return listeners


def _on_all(port: int) -> socket.socket:
    if socket.has_dualstack_ipv6():
        with contextlib.suppress(OSError):  # IPv6 that is there and off
            return socket.create_server(("", port), family=socket.AF_INET6, backlog=WAITING, dualstack_ipv6=True)
    return socket.create_server(("", port), backlog=WAITING)


@contextlib.contextmanager
def own_socket(path: Path) -> Iterator[tuple[socket.socket, tuple[int, int]]]:
    """Make a socket for root alone, in place of whatever a former daemon left; it comes into being with its mode.

    It comes with what it is known by. At the end it goes, unless it is another daemon's now.
    """
    if why := too_long(path):
        raise OSError(errno.ENAMETOOLONG, why)
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    new = path.with_name(f".{secrets.token_hex(4)}")
    mine: tuple[int, int] | None = None
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        try:
            _bind(listener, new)
            new.chmod(0o600)
            listener.listen(WAITING)
            new.rename(path)
            mine = _identity(path)
            assert mine
            yield listener, mine
        finally:
            listener.close()
            new.unlink(missing_ok=True)
            if mine and _identity(path) == mine:
                path.unlink(missing_ok=True)


def _bind(listener: socket.socket, path: Path) -> None:
    """Bind also where this path, which is renamed at once, is longer than the one that it gets."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        listener.bind(f"/proc/self/fd/{folder}/{path.name}" if too_long(path) else str(path))
    finally:
        os.close(folder)


async def until_taken(path: Path, mine: tuple[int, int], look_s: float = LOOK_S) -> None:
    """Return when a socket is there no more, or is another daemon's."""
    while _identity(path) == mine:  # noqa: ASYNC110 - files tell nobody
        await asyncio.sleep(look_s)


async def until_free(path: Path, look_s: float = LOOK_S) -> None:
    """Return when nobody listens on a socket."""
    while _is_served(path):  # noqa: ASYNC110 - files tell nobody
        await asyncio.sleep(look_s)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path, follow_symlinks=False)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _is_served(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.setblocking(False)
        try:
            client.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):  # left behind by one that was killed, or removed
            return False
        except OSError:  # such as EAGAIN: it has much to do
            return True
    return True
