"""The IOMMU groups of a simulated node, and the nodes that VFIO makes for their devices.

As drivers/iommu/iommu.c and drivers/vfio/ do: sys/kernel/iommu_groups, sys/class/vfio, the devices' vfio-dev, dev/vfio.
Nodes are plain files, as mknod needs root.
"""

import heapq
import itertools
from enum import StrEnum
from pathlib import Path

from qatdp.simulator.host.tree import link, link_name, names, put, remove


class Iommu(StrEnum):
    """What the kernel was started with: an IOMMU, none, or none but vfio.enable_unsafe_noiommu_mode."""

    ON = "on"
    OFF = "off"
    NOIOMMU = "noiommu"


class Groups:
    """Devices are named by their real folder. `cdevs`: the kernel makes /dev/vfio/devices/vfio<n> as well."""

    def __init__(self, sysfs: Path, dev: Path, iommu: Iommu, *, cdevs: bool) -> None:
        self._groups, self._classes, self._dev = sysfs / "kernel/iommu_groups", sysfs / "class/vfio", dev
        self._iommu = iommu
        self._cdevs = cdevs and iommu is Iommu.ON  # a noiommu device has none
        self._numbers, self._cdev_numbers = itertools.count(), itertools.count()
        # The kernel uses the lowest free number (ida_alloc in iommu_group_alloc), so VFs that are made again have other
        # numbers only where others come between. Without this that shows each time.
        self.reuses = False
        self._free: list[int] = []  # numbers that groups had which are no more
        self._groups.mkdir(parents=True)
        put(sysfs / "class/misc/vfio/dev", "10:196")
        put(dev / "vfio/vfio")
        if cdevs:
            put(sysfs / "class/misc/iommu/dev", "10:123")
            put(dev / "iommu")

    def found(self, device: Path) -> None:
        """Give a device that has just been found a group of its own, where there is an IOMMU."""
        if self._iommu is Iommu.ON:
            self.join(device, self.new())

    def new(self) -> int:
        """Return a number that no group has had, or the lowest that none has where they are used again."""
        return heapq.heappop(self._free) if self.reuses and self._free else next(self._numbers)

    def number(self, device: Path) -> int | None:
        name = link_name(device / "iommu_group")
        return int(name) if name and name.isdecimal() else None

    def node(self, device: Path) -> Path:
        """Return where the node of a device's group is, or would be."""
        prefix = "noiommu-" if self._iommu is Iommu.NOIOMMU else ""
        return self._dev / f"vfio/{prefix}{self.number(device)}"

    def join(self, device: Path, number: int) -> None:
        group = self._groups / str(number)
        link(group / "devices" / device.name, device)
        if self._iommu is Iommu.NOIOMMU:
            put(group / "name", "vfio-noiommu")
        else:
            put(group / "type", "DMA-FQ")
        link(device / "iommu_group", group)

    def leave(self, device: Path) -> None:
        """Take a device out of its group; a group without devices is no more."""
        number = self.number(device)
        if number is None:
            return
        group = self._groups / str(number)
        remove(device / "iommu_group")
        remove(group / "devices" / device.name)
        if not names(group / "devices"):
            remove(group)
            heapq.heappush(self._free, number)

    def open_to_vfio(self, device: Path) -> bool:
        """Make the nodes of a device that a VFIO driver takes; False where it cannot, having no IOMMU group."""
        if self._iommu is Iommu.OFF:
            return False
        if self._iommu is Iommu.NOIOMMU:
            self.join(device, self.new())
        node, cdev = self.node(device), f"vfio{next(self._cdev_numbers)}"
        put(self._classes / node.name / "dev", f"511:{self.number(device)}")
        put(node)
        (device / "vfio-dev" / cdev).mkdir(parents=True)
        if self._cdevs:
            put(device / "vfio-dev" / cdev / "dev", f"510:{cdev.removeprefix('vfio')}")
            put(self._dev / "vfio/devices" / cdev)
        return True

    def close_to_vfio(self, device: Path) -> None:
        """Remove what VFIO made for a device; the group's node stays as long as it has another device of VFIO's."""
        for cdev in names(device / "vfio-dev"):
            remove(self._dev / "vfio/devices" / cdev)
        remove(device / "vfio-dev")
        node, members = self.node(device), self._groups / f"{self.number(device)}/devices"
        if not any((members / member / "vfio-dev").exists() for member in names(members)):
            remove(node)
            remove(self._classes / node.name)
        if self._iommu is Iommu.NOIOMMU:
            self.leave(device)
