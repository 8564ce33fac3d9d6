"""The device manager as a fixture. It exists only where tests/kubelet/run runs these tests; elsewhere they skip."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from ground.manager import FOLDER, DeviceManager


@pytest.fixture
def manager_binary() -> Path:
    """The program's path; the kubelet's folder is empty, as on a node where no kubelet ever ran."""
    # A real node's kubelet keeps its books in that folder: only a mount of one's own may be emptied.
    if "DEVICEMANAGER" not in os.environ or not FOLDER.is_mount():
        pytest.skip("needs the real device manager: run tests/kubelet/run")
    for path in FOLDER.iterdir():
        shutil.rmtree(path)
    return Path(os.environ["DEVICEMANAGER"])


@pytest.fixture
def manager_log(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Where the manager's log goes: kept for reading after a failure, where tests/kubelet/run says so."""
    folder = Path(os.environ.get("LOGS", tmp_path))
    return folder / f"{request.node.name.replace('/', '-')}.log"


@pytest.fixture
def device_manager(manager_binary: Path, manager_log: Path) -> Iterator[DeviceManager]:
    """A device manager that has not been started: `async with device_manager: ...` does it.

    A test that it crashes in fails, whatever else it found. One that wants a crash makes a DeviceManager itself.
    """
    manager = DeviceManager(manager_binary, manager_log)
    yield manager
    assert manager.crashed() is None
