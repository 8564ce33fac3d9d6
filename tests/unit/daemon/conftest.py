"""A stage: a simulated node, a kubelet that runs, and the daemon, which a test starts, or `vfs` does."""

import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from support.stage import CY, Stage

from qatdp.api import deviceplugin_v1beta1_pb2 as api
from qatdp.core.model.pci import PciAddress


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short path, as that of a socket holds 107 bytes; in memory, as VFs are many files."""
    memory = "/dev/shm"
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else "/tmp", prefix="q") as name:
        yield Path(name)


@pytest.fixture
def version() -> str:
    """The kubelet's; a test takes others by parameters of its own."""
    return "1.37"


@pytest.fixture
async def stage(folder: Path, version: str) -> AsyncIterator[Stage]:
    """A stage on which the kubelet runs, and never crashes."""
    stage = Stage(folder, version)
    await stage.kubelet.start()
    yield stage
    crashed = stage.kubelet.crashed()
    await stage.close()
    assert crashed is None


@pytest.fixture
async def vfs(stage: Stage) -> AsyncIterator[tuple[PciAddress, ...]]:
    """Let the daemon offer a PF's four VFs as cy."""
    stage.host.add_pf("0000:6b:00.0", vfs=4)
    await stage.start_daemon()
    await stage.offers(CY, stage.host.vfs("0000:6b:00.0"))
    yield stage.host.vfs("0000:6b:00.0")
    if len(stage.kubelet.registrations(CY)) == 1:  # else one of the two was started again, and had forgotten lists
        assert never_healthy_in_two_lists(stage)


def never_healthy_in_two_lists(stage: Stage) -> bool:
    """Return whether the kubelet could never have handed out an ID as two resources.

    Two lists that follow one another come to it by two streams, in any order.
    """
    last: dict[str, set[str]] = {}
    for one in stage.kubelet.asked:
        if isinstance(one.message, api.ListAndWatchResponse):
            last[one.resource] = {device.ID for device in one.message.devices if device.health == "Healthy"}
            if sum(map(len, last.values())) != len(set().union(*last.values())):
                return False
    return True
