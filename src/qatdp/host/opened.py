"""Tells which VFs somebody has open: VFIO enables a function for as long as its device is (vfio_pci_core_enable in
drivers/vfio/pci/vfio_pci_core.c). Unlike an open of its group, a look at `enable` is in nobody's way.
"""

from collections.abc import Collection
from pathlib import Path

from qatdp.core.pci import PciAddress
from qatdp.host.abc import BulkCalls, Watch


def enable_of(devices: Path, vf: PciAddress) -> Path:
    """Return the attribute that tells; `devices` stands for /sys/bus/pci/devices."""
    return devices / str(vf) / "enable"


def is_open(enable: bytes) -> bool:
    """Tell it from what that attribute holds: how often the function was enabled."""
    return enable.strip() != b"0"


class Opened:
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
        read = zip(self._vfs, self._watch.look(), strict=True)
        return frozenset(vf for vf, content in read if isinstance(content, bytes) and is_open(content))

    def close(self) -> None:
        if self._watch is not None:
            self._watch.close()
            self._watch = None
