"""The device manager as a fixture. It exists only where kubelet/run runs these tests; elsewhere they skip.

A test that takes `kubelet` or `stage` runs once on each kind of kubelet: the real device manager, and qatdp's fake of
it, so that the fake can be relied on elsewhere.
"""

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from ground import record
from ground.kubelets import KINDS, Kubelet, RealKubelet, fake_kubelet
from ground.manager import FOLDER, DeviceManager, Policy
from ground.release import PF, VFS
from ground.stage import CY, Stage, only


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "crash: the test makes the kubelet crash")
    record.note_plugin()


@pytest.fixture
def manager_binary() -> Path:
    """The program's path; the kubelet's folder is empty, as on a node where no kubelet ever ran."""
    # A real node's kubelet keeps its ledger in that folder: only a mount of one's own may be emptied.
    if "DEVICEMANAGER" not in os.environ or not FOLDER.is_mount():
        pytest.skip("needs the real device manager: run tests/integration/kubelet/run")
    for path in FOLDER.iterdir():
        shutil.rmtree(path)
    return Path(os.environ["DEVICEMANAGER"])


@pytest.fixture
def manager_log(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Where the manager's log goes: kept for reading after a failure, where tests/integration/kubelet/run says so."""
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


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short path: that of a socket has 107 bytes at most, and pytest's own are long."""
    with tempfile.TemporaryDirectory(prefix="dm-") as path:
        yield Path(path)


@pytest.fixture(params=KINDS)
def kubelet(request: pytest.FixtureRequest, folder: Path) -> Iterator[Kubelet]:
    """A kubelet of either kind, which has not been started.

    A test that it crashes in fails, unless it is marked `crash`. A parameter `policy` is that of the topology manager;
    the fake knows no topology.
    """
    callspec = getattr(request.node, "callspec", None)
    policy = (callspec and callspec.params.get("policy")) or Policy.NONE
    if request.param == "fake":
        assert policy is Policy.NONE
        kubelet = fake_kubelet(folder / "fake")
    else:
        binary, log = request.getfixturevalue("manager_binary"), request.getfixturevalue("manager_log")
        kubelet = RealKubelet(binary, log, policy=policy)
    yield kubelet
    if not request.node.get_closest_marker("crash"):
        assert kubelet.crashed() is None
    record.note_scenario(request.param)


@pytest.fixture
def stage(kubelet: Kubelet, folder: Path) -> Stage:
    """A stage with gates, on which nothing runs."""
    return Stage(kubelet, folder / "stage")


@pytest.fixture
def open_stage(kubelet: Kubelet, folder: Path) -> Stage:
    """A stage without gates: qatdp is in the kubelet's own folder. Nothing runs on it."""
    return Stage(kubelet, folder / "stage", gated=False)


@pytest.fixture
async def node(stage: Stage) -> AsyncIterator[Stage]:
    """A stage with what ground/release.py tells of: the kubelet offers its VFs as the one resource there is."""
    stage.host.add_pf(PF, vfs=len(VFS))
    stage.configure(only(CY))
    async with stage:
        yield stage
