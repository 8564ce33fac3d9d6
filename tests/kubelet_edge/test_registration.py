"""A socket's name is used once, fits, and is cleared away when nobody listens at it any more."""

import contextlib
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qatdp.api import deviceplugin_v1beta1_pb2 as api
from qatdp.core.config import NAME
from qatdp.kubelet.registration import PREFIX, describe, new_socket_name, register, sweep
from qatdp.testing.kubelet import FakeKubelet

CY = "qat.intel.com/cy"


def test_no_name_comes_twice() -> None:
    assert len({new_socket_name(CY) for _ in range(1000)}) == 1000


@given(st.from_regex(NAME, fullmatch=True))
def test_every_resource_has_names_that_fit_into_the_kubelet_s_folder(name: str) -> None:
    found = new_socket_name(f"qat.intel.com/{name}")
    assert re.fullmatch(r"qatdp-[A-Za-z0-9-]+-[0-9a-f]{12}\.sock", found)
    assert len(found) <= 75


def test_the_name_tells_the_resource() -> None:
    assert new_socket_name("qat.intel.com/dc-node0").startswith("qatdp-dc-node0-")


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
        assert list(sweep(folder)) == [dead]
        assert sorted(folder.iterdir()) == sorted((living, full, foreign, kubelets))


def test_there_is_nothing_to_sweep_where_there_is_no_folder(folder: Path) -> None:
    assert list(sweep(folder / "nowhere")) == []
