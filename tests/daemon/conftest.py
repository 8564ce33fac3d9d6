"""A stage: a made node, a kubelet that runs, and the daemon, which a test starts."""

import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from qatdp.testing.stage import Stage


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
