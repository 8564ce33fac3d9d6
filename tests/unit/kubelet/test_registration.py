"""A socket's name is used once, fits, and is cleared away when nobody listens at it any more."""

import contextlib
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qatdp.api import deviceplugin_v1beta1_pb2 as api
from qatdp.core.config.model import NAME
from qatdp.errors import ConfigError
from qatdp.kubelet.registration import PREFIX, describe, new_socket_name, register, remove_stale_sockets
from qatdp.simulator.kubelet import FakeKubelet

CY = "qat.intel.com/cy"


PLUGINS = Path("/var/lib/kubelet/device-plugins")
NAMES = st.from_regex(NAME, fullmatch=True)


def folder_of(length: int) -> Path:
    """Return a folder whose path takes so many bytes with the slash behind it; letters of two bytes are among them."""
    return Path(f"/é{'v' * (length - 4)}")


def test_no_name_comes_twice() -> None:
    assert len({new_socket_name(CY, PLUGINS) for _ in range(1000)}) == 1000


@given(NAMES, st.integers(min_value=5, max_value=82))
def test_new_socket_name_fits_whatever_the_folder_leaves(name: str, length: int) -> None:
    folder = folder_of(length)
    found = new_socket_name(f"qat.intel.com/{name}", folder)
    assert re.fullmatch(r"qatdp-[A-Za-z0-9-]+-[0-9a-f]{12}\.sock", found)
    assert len(os.fsencode(folder / found)) <= 107
    assert len(found) <= 50  # what the folder of a snap leaves, which only the kubelet may know


@pytest.mark.parametrize("length", [83, 107, 300])
def test_new_socket_name_refuses_a_folder_that_leaves_no_room(length: int) -> None:
    with pytest.raises(ConfigError) as raised:
        new_socket_name(CY, folder_of(length))
    assert f"takes {length} of the 107 bytes" in raised.value.problem
    assert "need 25" in raised.value.problem
    assert raised.value.hint is not None


def test_the_name_tells_the_resource() -> None:
    assert new_socket_name("qat.intel.com/dc-node0", PLUGINS).startswith("qatdp-dc-node0-")


async def test_a_register_tells_all_that_the_kubelet_asks_for(kubelet: FakeKubelet) -> None:
    kubelet.refused[CY] = "not today"
    options = api.DevicePluginOptions(get_preferred_allocation_available=True)
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await register(kubelet.plugins, "some.sock", CY, options)
    assert describe(raised.value) == "UNKNOWN: not today"
    (request,) = kubelet.registrations(CY)
    assert request == api.RegisterRequest(version="v1beta1", endpoint="some.sock", resource_name=CY, options=options)


def listen(path: Path) -> socket.socket:
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen(1)
    return server


@contextlib.contextmanager
def filled(path: Path) -> Iterator[None]:
    """Connect until there is no more room in the backlog."""
    with contextlib.ExitStack() as connections:
        with contextlib.suppress(BlockingIOError):
            while True:
                connection = connections.enter_context(socket.socket(socket.AF_UNIX))
                connection.setblocking(False)
                connection.connect(str(path))
        yield


def test_a_sweep_removes_what_nobody_listens_at_and_nothing_else(folder: Path) -> None:
    dead, living, full = (folder / f"{PREFIX}{name}.sock" for name in ("dead", "living", "full"))
    foreign, kubelets = folder / "sriov.sock", folder / "kubelet.sock"
    for path in (dead, foreign, kubelets):
        listen(path).close()
    with listen(living), listen(full), filled(full):
        assert list(remove_stale_sockets(folder)) == [dead]
        assert sorted(folder.iterdir()) == sorted((living, full, foreign, kubelets))


def test_there_is_nothing_to_sweep_where_there_is_no_folder(folder: Path) -> None:
    assert list(remove_stale_sockets(folder / "nowhere")) == []
