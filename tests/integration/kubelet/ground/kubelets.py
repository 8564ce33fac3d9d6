"""What a scenario needs of a kubelet: the real device manager and the fake one are both this."""

import os
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Protocol

from ground.manager import FOLDER, DeviceManager
from ground.pods import Pod
from qatdp.simulator.kubelet import FakeKubelet
from qatdp.simulator.kubelet.answers import Admission, Capacity, Change, Ready, RunOptions

KINDS = ("real", "fake")


class Kubelet(Protocol):
    """See ground/manager.py, whose methods these are. `folder` is where it keeps its sockets and its checkpoint."""

    @property
    def folder(self) -> Path: ...

    async def start(self, *, sources_ready: bool = True, running: Collection[str] = ()) -> Ready: ...

    async def kill(self) -> None: ...

    async def stop(self) -> None: ...

    async def restart(self, *, kill: bool, sources_ready: bool = True, running: Collection[str] = ()) -> Ready: ...

    def crashed(self) -> str | None: ...

    async def admit(self, pod: Pod) -> Admission: ...

    async def remove(self, pod: Pod) -> None: ...

    async def options(self, pod: Pod, container: str = "main") -> RunOptions: ...

    async def health(self, pod: Pod) -> Mapping[str, Mapping[str, Mapping[str, str]]]: ...

    async def capacity(self) -> Capacity: ...

    async def sample(self, *, duration_s: float, interval_s: float = 0.001) -> tuple[Change, ...]: ...

    async def set_sources(self, *, ready: bool) -> None: ...


class RealKubelet(DeviceManager):
    """The kubelet's own device manager."""

    @property
    def folder(self) -> Path:
        return FOLDER


def fake_kubelet(folder: Path) -> Kubelet:
    """Return qatdp's fake, in a folder of its own."""
    return FakeKubelet(folder, minor())


def minor() -> str:
    """Return the minor version of Kubernetes that is tested on, as a row of qatdp.simulator.kubelet.VERSIONS."""
    return os.environ.get("KUBERNETES", "1.37.0").rpartition(".")[0]


def forget(kubelet: Kubelet) -> None:
    """Empty the folder of a kubelet that does not run: as if none ever had."""
    if kubelet.folder.exists():
        for path in kubelet.folder.iterdir():
            path.unlink() if path.is_symlink() else shutil.rmtree(path)
