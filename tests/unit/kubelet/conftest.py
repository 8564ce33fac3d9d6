"""A kubelet's folder, and a kubelet in it."""

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from qatdp.simulator.kubelet import FakeKubelet


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short path: that of a socket holds 107 bytes."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="q") as name:
        yield Path(name)


@pytest.fixture
async def kubelet(folder: Path) -> AsyncIterator[FakeKubelet]:
    """A kubelet of the newest version that has been started."""
    async with FakeKubelet(folder) as kubelet:
        yield kubelet
        assert kubelet.crashed() is None
