"""Tells which functions somebody has open: VFIO enables one for as long as its device is (vfio_pci_core_enable in
drivers/vfio/pci/vfio_pci_core.c). Unlike an open of its group, a look at `enable` is in nobody's way.
"""

from collections.abc import Collection
from pathlib import Path

from qatdp.core.model.pci import PciAddress
from qatdp.host.calls.abc import BulkCalls, Watch

KEPT = 128  # all of a large node of today; of more, those that were read last


def enable_of(devices: Path, vf: PciAddress) -> Path:
    """Return the attribute that tells; `devices` stands for /sys/bus/pci/devices."""
    return devices / str(vf) / "enable"


def is_open(enable: bytes) -> bool:
    """Tell it from what that attribute holds: how often the function was enabled."""
    return enable.strip() != b"0"


class EnabledFunctions:
    """Looks at the same VFs over and over; used by one thread at a time. `sysfs` stands for /sys."""

    def __init__(self, sysfs: Path, calls: BulkCalls) -> None:
        self._devices, self._calls = sysfs / "bus/pci/devices", calls
        self._vfs: tuple[PciAddress, ...] = ()
        self._watch: Watch | None = None

    def __call__(self, vfs: Collection[PciAddress]) -> frozenset[PciAddress]:
        """Return those of the VFs that are known to be open; one that has gone, or cannot be read, is not."""
        if self._watch is None or self._vfs != tuple(vfs):
            self.close()
            self._vfs = tuple(vfs)
            self._watch = self._calls.watch([enable_of(self._devices, vf) for vf in self._vfs], ())
        read = zip(self._vfs, self._watch.read(), strict=True)
        return frozenset(vf for vf, content in read if isinstance(content, bytes) and is_open(content))

    def close(self) -> None:
        if self._watch is not None:
            self._watch.close()
            self._watch = None


class EnabledNow:
    """Reads `enable` on the event loop, of few functions at a time. `sysfs` stands for /sys; `calls` do not wait.

    A read cannot block: `enable` is a number in the kernel's memory (enable_show in drivers/pci/pci-sysfs.c is an
    atomic_read, under no lock but the open file's own), and a function that is being removed answers ENODEV
    (kernfs_get_active in fs/kernfs/dir.c). The files of the functions that were read last are kept open.
    """

    def __init__(self, sysfs: Path, calls: BulkCalls, *, kept: int = KEPT) -> None:
        self._devices, self._calls, self._kept = sysfs / "bus/pci/devices", calls, kept
        self._watches: dict[PciAddress, Watch] = {}  # in the order of their last use

    def __call__(self, functions: Collection[PciAddress]) -> frozenset[PciAddress]:
        """Return the functions whose `enable` is not 0. One that is missing or unreadable does not count as open."""
        return frozenset(function for function in functions if self._is_open(function))

    def _is_open(self, function: PciAddress) -> bool:
        watch = self._watches.pop(function, None)
        if watch is None:
            watch = self._calls.watch([enable_of(self._devices, function)], ())
        self._watches[function] = watch
        if len(self._watches) > self._kept:
            self._watches.pop(next(iter(self._watches))).close()
        (content,) = watch.read()
        return isinstance(content, bytes) and is_open(content)

    def close(self) -> None:
        """Let go of what is kept open."""
        for watch in self._watches.values():
            watch.close()
        self._watches.clear()
