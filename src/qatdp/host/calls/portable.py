"""HostCalls in plain Python: works everywhere, and says what the C helper must do."""

import ctypes
import errno
import fcntl
import os
import stat
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from qatdp.core.model.qat import FAMILY_OF_PF, FAMILY_OF_VF, VENDOR, Family
from qatdp.host.calls import kernel_names
from qatdp.host.calls.abc import ATTRIBUTE_BYTES, BusDump, GroupStatus, SingleCalls, Watch

T = TypeVar("T")

# linux/vfio.h: _IO(';', 100 + n), struct vfio_group_status and its flags.
VFIO_GET_API_VERSION, VFIO_CHECK_EXTENSION, VFIO_GROUP_GET_STATUS = 0x3B64, 0x3B65, 0x3B67
GROUP_STATUS = struct.Struct("@II")
VIABLE, CONTAINER_SET = 1, 2

# sys/inotify.h: attributes, closed after writing, created, deleted, moved; folders only.
CHANGES = 0x4 | 0x8 | 0x100 | 0x200 | 0xC0 | 0x1000000


class PortableCalls:
    """Stateless; every descriptor is closed before a call returns."""

    name = "python"

    def read(self, path: Path) -> bytes:
        content = self.read_prefix(path, ATTRIBUTE_BYTES + 1)
        if len(content) > ATTRIBUTE_BYTES:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
        return content

    def read_prefix(self, path: Path, count: int) -> bytes:
        # O_NONBLOCK: the open of a FIFO would wait for its writer, for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(errno.EINVAL, "not a regular file", str(path))
            return os.pread(descriptor, count, 0)
        finally:
            os.close(descriptor)

    def write(self, path: Path, content: bytes) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(errno.EINVAL, "not a regular file", str(path))
            os.write(descriptor, content)
        finally:
            os.close(descriptor)

    def readlink_name(self, path: Path) -> str:
        return os.path.basename(os.readlink(path))

    def listdir(self, path: Path) -> Sequence[str]:
        return sorted(os.listdir(path))

    def exists(self, path: Path) -> bool:
        return os.path.exists(path)

    def notify(self, folders: Sequence[Path]) -> int:
        libc = ctypes.CDLL(None, use_errno=True)
        descriptor = _checked(Path("inotify"), libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        try:
            for folder in folders:
                _checked(folder, libc.inotify_add_watch(descriptor, os.fsencode(folder), CHANGES))
        except OSError:
            os.close(descriptor)
            raise
        return descriptor

    def vfio_version(self, container: Path) -> int:
        return _ask_vfio(container, VFIO_GET_API_VERSION, 0)

    def vfio_extension(self, container: Path, extension: int) -> bool:
        return _ask_vfio(container, VFIO_CHECK_EXTENSION, extension) > 0

    def vfio_group(self, group: Path) -> GroupStatus:
        status = bytearray(GROUP_STATUS.pack(GROUP_STATUS.size, 0))
        _ask_vfio(group, VFIO_GROUP_GET_STATUS, status)
        _, flags = GROUP_STATUS.unpack(status)
        return GroupStatus(bool(flags & VIABLE), bool(flags & CONTAINER_SET))

    def read_bus(self, sysfs: Path, dev: Path) -> BusDump:
        return BusReader(self, sysfs, dev).answers

    def watch(self, contents: Sequence[Path], present: Sequence[Path]) -> Watch:
        return PortableWatch(self, contents, present)


def _checked(path: Path, outcome: int) -> int:
    if outcome < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(path))
    return outcome


def _ask_vfio(path: Path, question: int, argument: int | bytearray) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        return fcntl.ioctl(descriptor, question, argument)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        os.close(descriptor)


class BusReader:
    """Goes through the PCI bus and asks for all that a scan needs, by single calls: the twin of csrc/bus.c."""

    def __init__(self, calls: SingleCalls, sysfs: Path, dev: Path) -> None:
        self._calls = calls
        self._sysfs, self._dev = str(sysfs), str(dev)
        self._devices = f"{sysfs}/bus/pci/devices"
        self._contents: dict[str, bytes | int] = {}
        self._links: dict[str, str | int] = {}
        self._names: dict[str, Sequence[str] | int] = {}
        self._present: dict[str, bool] = {}
        self._list(f"{sysfs}/bus/pci/drivers")
        functions = [f"{self._devices}/{name}" for name in self._list(self._devices) if kernel_names.address(name)]
        # All ids first: of what goes meanwhile, less is seen.
        for folder, device in [(folder, self._device(folder)) for folder in functions]:
            if device in FAMILY_OF_PF:
                self._pf(folder, FAMILY_OF_PF[device])
            elif device in FAMILY_OF_VF:
                self._vf(folder)

    @property
    def answers(self) -> BusDump:
        return BusDump(self._contents, self._links, self._names, self._present)

    # What to ask next

    def _device(self, folder: str) -> int | None:
        """Return the device id of a function of Intel's."""
        return self._number(f"{folder}/device") if self._number(f"{folder}/vendor") == VENDOR else None

    def _pf(self, folder: str, family: Family) -> None:
        for name in self._list(folder):
            if kernel_names.virtfn(name) is not None:
                self._linked_vf(f"{folder}/{name}")
        self._link(f"{folder}/driver")
        self._read(f"{folder}/numa_node")
        self._read(f"{folder}/sriov_totalvfs")
        self._read(f"{folder}/qat/state")
        self._read(f"{folder}/qat/auto_reset")
        # Kernels before 6.0 have no cfg_services.
        if family.selectable and self._read(f"{folder}/qat/cfg_services") is None:
            self._read(dev_cfg(self._sysfs, family, os.path.basename(folder)))

    def _linked_vf(self, virtfn: str) -> None:
        """A VF whose ids cannot be read is known by the link of its PF."""
        name = self._link(virtfn)
        if kernel_names.address(name) and self._exists(f"{self._devices}/{name}"):
            self._vf(f"{self._devices}/{name}")

    def _vf(self, folder: str) -> None:
        self._link(f"{folder}/driver")
        self._link(f"{folder}/physfn")
        self._read(f"{folder}/numa_node")
        for name in self._list(f"{folder}/vfio-dev"):
            self._exists(f"{folder}/vfio-dev/{name}/dev")
            self._exists(f"{self._dev}/vfio/devices/{name}")
        group = self._link(f"{folder}/iommu_group")
        if kernel_names.decimal(group) is not None:
            self._group(group)

    def _group(self, number: str) -> None:
        folder = f"{self._sysfs}/kernel/iommu_groups/{number}"
        self._read(f"{folder}/name")
        self._exists(f"{self._dev}/vfio/{number}")
        self._exists(f"{self._dev}/vfio/noiommu-{number}")
        for name in self._list(f"{folder}/devices"):
            if kernel_names.address(name):
                self._link(f"{self._devices}/{name}/driver")

    # Each path is asked once. What comes back is empty where nothing does.

    def _read(self, path: str) -> bytes | None:
        answer = _asked(self._contents, path, self._calls.read)
        return None if isinstance(answer, int) else answer

    def _number(self, path: str) -> int | None:
        return kernel_names.number((self._read(path) or b"").decode("latin-1"))

    def _link(self, path: str) -> str:
        answer = _asked(self._links, path, self._calls.readlink_name)
        return "" if isinstance(answer, int) else answer

    def _list(self, path: str) -> Sequence[str]:
        answer = _asked(self._names, path, self._calls.listdir)
        return () if isinstance(answer, int) else answer

    def _exists(self, path: str) -> bool:
        if path not in self._present:
            self._present[path] = self._calls.exists(Path(path))
        return self._present[path]


def _asked(answers: dict[str, T | int], path: str, call: Callable[[Path], T]) -> T | int:
    if path not in answers:
        answers[path] = answer_of(call, Path(path))
    return answers[path]


def answer_of(call: Callable[[Path], T], path: Path) -> T | int:
    """Return what a call returns, or the errno of what it raises."""
    try:
        return call(path)
    except OSError as error:
        return error.errno or 0


def dev_cfg(sysfs: str, family: Family, pf: str) -> str:
    """Return where debugfs tells how a PF is configured (adf_dbgfs.c)."""
    return f"{sysfs}/kernel/debug/qat_{family.pf_driver}_{pf}/dev_cfg"


class PortableWatch:
    """Looks by single calls; keeps nothing open."""

    def __init__(self, calls: SingleCalls, contents: Sequence[Path], present: Sequence[Path]) -> None:
        self._calls, self._contents, self._present = calls, tuple(contents), tuple(present)

    def read(self) -> Sequence[bytes | int | bool]:
        contents = (answer_of(self._calls.read, path) for path in self._contents)
        return (*contents, *map(self._calls.exists, self._present))

    def close(self) -> None:
        pass
