"""HostCalls for tests: they fail, do something in between, keep what was asked, or act as the kernel does on writes.

Each passes on to other calls whatever it has nothing to do with, so they can be put one before another.
"""

import errno
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from qatdp.core.model.pci import PciAddress
from qatdp.host.calls.abc import BusDump, GroupStatus, HostCalls, Watch
from qatdp.host.calls.choose import host_calls
from qatdp.host.calls.portable import BusReader, PortableWatch
from qatdp.simulator.host.bus import kernel_error
from qatdp.simulator.host.node import FakeHost
from qatdp.simulator.host.writes import PF_WRITES

Fault: TypeAlias = int | Callable[[], None]


class PassingCalls:
    """Passes every call on to `inner`, after `before` has seen it."""

    def __init__(self, inner: HostCalls) -> None:
        self.name = inner.name
        self._inner = inner

    def before(self, call: str, path: Path) -> None:
        """See a call, by the name of its method, before it is passed on. An OSError is what the call then raises."""

    def read(self, path: Path) -> bytes:
        self.before("read", path)
        return self._inner.read(path)

    def read_prefix(self, path: Path, count: int) -> bytes:
        self.before("read", path)
        return self._inner.read_prefix(path, count)

    def write(self, path: Path, content: bytes) -> None:
        self.before("write", path)
        self._inner.write(path, content)

    def readlink_name(self, path: Path) -> str:
        self.before("readlink_name", path)
        return self._inner.readlink_name(path)

    def listdir(self, path: Path) -> Sequence[str]:
        self.before("listdir", path)
        return self._inner.listdir(path)

    def exists(self, path: Path) -> bool:
        try:
            self.before("exists", path)
        except OSError:
            return False
        return self._inner.exists(path)

    def notify(self, folders: Sequence[Path]) -> int:
        for folder in folders:
            self.before("notify", folder)
        return self._inner.notify(folders)

    def vfio_version(self, container: Path) -> int:
        self.before("vfio_version", container)
        return self._inner.vfio_version(container)

    def vfio_extension(self, container: Path, extension: int) -> bool:
        self.before("vfio_extension", container)
        return self._inner.vfio_extension(container, extension)

    def vfio_group(self, group: Path) -> GroupStatus:
        self.before("vfio_group", group)
        return self._inner.vfio_group(group)

    # By the single calls above, so that each can be seen and made to fail.

    def read_bus(self, sysfs: Path, dev: Path) -> BusDump:
        return BusReader(self, sysfs, dev).answers

    def watch(self, contents: Sequence[Path], present: Sequence[Path]) -> Watch:
        return PortableWatch(self, contents, present)


class FaultyCalls(PassingCalls):
    """Calls with faults at chosen paths.

    A path is chosen by its end, each component a pattern (`0000:6b:00.1/*`). An errno is raised each time; a function
    is called once, before the first such call is passed on: it takes a device away in mid-scan, for instance.
    """

    def __init__(self, inner: HostCalls, faults: Mapping[str, Fault]) -> None:
        super().__init__(inner)
        self._faults = dict(faults)

    def before(self, call: str, path: Path) -> None:
        for pattern, fault in list(self._faults.items()):
            if not path.match(pattern):
                continue
            if isinstance(fault, int):
                raise kernel_error(fault, path)
            del self._faults[pattern]
            fault()


class RecordingCalls(PassingCalls):
    """Keeps what was asked: the method's name and the path."""

    def __init__(self, inner: HostCalls) -> None:
        super().__init__(inner)
        self.asked: list[tuple[str, Path]] = []

    def before(self, call: str, path: Path) -> None:
        self.asked.append((call, path))


class FakeKernelCalls(PassingCalls):
    """The kernel behind a FakeHost: acts on writes that give devices to drivers or configure PFs, no others.

    `written` is what was written, by real paths below /sys.
    """

    def __init__(self, host: FakeHost, inner: HostCalls | None = None) -> None:
        super().__init__(inner or host_calls())
        self._host = host
        self.written: list[tuple[str, bytes]] = []

    def read_bus(self, sysfs: Path, dev: Path) -> BusDump:
        return self._inner.read_bus(sysfs, dev)

    def watch(self, contents: Sequence[Path], present: Sequence[Path]) -> Watch:
        return self._inner.watch(contents, present)

    def write(self, path: Path, content: bytes) -> None:
        if not path.exists():
            raise kernel_error(errno.ENOENT, path)
        real = os.path.relpath(os.path.realpath(path), os.path.realpath(self._host.sysfs))
        self.written.append((real, content))
        for shape, act in {**WRITES, **PF_WRITES}.items():
            if match := shape.fullmatch(real):
                with self._host.users.kernel:
                    return act(self._host, match[1], content.decode().removesuffix("\n"))
        raise kernel_error(errno.EACCES, path)


def _override(host: FakeHost, address: str, driver: str) -> None:
    host.attribute(address, "driver_override", driver or "(null)")


def _bind(host: FakeHost, driver: str, address: str) -> None:
    host.bind(address, driver)


def _unbind(host: FakeHost, driver: str, address: str) -> None:
    if host.driver(address) != driver:
        raise kernel_error(errno.ENODEV, host.drivers / driver / "unbind")
    host.users.wait_for([PciAddress.parse(address)])
    host.unbind(address)


WRITES: Mapping[re.Pattern[str], Callable[[FakeHost, str, str], None]] = {
    re.compile(r"devices/.*/(.*)/driver_override"): _override,
    re.compile(r"bus/pci/(drivers_probe)"): lambda host, _, address: host.attach(address),
    re.compile(r"bus/pci/drivers/(.*)/bind"): _bind,
    re.compile(r"bus/pci/drivers/(.*)/unbind"): _unbind,
}
