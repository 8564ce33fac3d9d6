"""FakeBus: a folder that looks as /sys and /dev do for PCI devices, their drivers, IOMMU groups and VFIO nodes.

Each method does to the tree what the kernel does to /sys, and raises OSError where the kernel refuses: see
Documentation/ABI/testing/sysfs-bus-pci, drivers/base/bus.c. There is no kernel behind it: writing a file does nothing
more (calls.FakeKernelCalls acts on writes).
"""

import errno
import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

from qatdp.core.model.pci import PciAddress
from qatdp.core.model.qat import VFIO_DRIVERS
from qatdp.simulator.host import tree
from qatdp.simulator.host.groups import Groups, Iommu

Address: TypeAlias = PciAddress | str

NOTHING_MORE: Mapping[str, str | int] = MappingProxyType({})


class FakeBus:
    """A machine with vfio-pci loaded, and no device yet."""

    def __init__(self, folder: Path, *, iommu: Iommu = Iommu.ON, cdevs: bool = False) -> None:
        self.sysfs, self.dev = folder / "sys", folder / "dev"
        self.devices, self.drivers = self.sysfs / "bus/pci/devices", self.sysfs / "bus/pci/drivers"
        self._groups = Groups(self.sysfs, self.dev, iommu, cdevs=cdevs)
        self.devices.mkdir(parents=True)
        tree.put(self.sysfs / "bus/pci/drivers_probe")
        self.load_driver("vfio-pci")

    # Devices

    def add_device(
        self,
        address: Address,
        vendor: int = 0x1AF4,
        device: int = 0x1041,
        *,
        pci_class: int = 0x020000,
        numa_node: int = -1,
        vf_of: tuple[PciAddress, int] | None = None,
        attributes: Mapping[str, str | int] = NOTHING_MORE,
        driver: str | None = None,
    ) -> PciAddress:
        """Add a device, a network card if nothing else is said; at last the link by which it is found, and its driver.

        Drivers are loaded as they are needed, but VFIO's. `vf_of`: a PF, and the n of its link virtfn<n>.
        """
        at = as_address(address)
        root = vf_of[0] if vf_of else at
        folder = self.sysfs / f"devices/pci{root.domain:04x}:{root.bus:02x}" / str(at)
        common = {
            "vendor": f"0x{vendor:04x}",
            "device": f"0x{device:04x}",
            "class": f"0x{pci_class:06x}",
            "numa_node": str(numa_node),
            "driver_override": "(null)",
            "enable": "0",  # while nobody has it open by VFIO
        }
        for name, value in {**common, **attributes}.items():
            tree.put(folder / name, str(value))
        if vf_of:
            tree.link(folder / "physfn", self.folder(root))
        self._groups.found(folder)
        tree.link(self.devices / str(at), folder)
        if vf_of:
            tree.link(self.folder(root) / f"virtfn{vf_of[1]}", folder)
        if driver:
            if driver not in VFIO_DRIVERS:
                self.load_driver(driver)
            self.bind(at, driver)
        return at

    def remove(self, address: Address) -> None:
        """Take a device away."""
        if self.driver(address):
            self.unbind(address)
        folder = self.folder(address)
        self._groups.leave(folder)
        tree.remove(self.devices / str(address))
        tree.remove(folder)

    # Drivers

    def load_driver(self, name: str) -> None:
        """Load a driver; it binds to nothing by itself."""
        if not (self.drivers / name).exists():
            tree.put(self.drivers / name / "bind")
            tree.put(self.drivers / name / "unbind")

    def unload_driver(self, name: str) -> None:
        """Unload a driver: its devices have none afterwards."""
        for address in filter(PciAddress.parse_or_none, tree.names(self.drivers / name)):
            self.unbind(address)
        tree.remove(self.drivers / name)

    def driver(self, address: Address) -> str | None:
        """Return the driver that a device is bound to."""
        return tree.link_name(self.path(address, "driver"))

    def bind(self, address: Address, driver: str) -> None:
        """Bind a device as a write to the driver's `bind` does, but whether its id matches or not."""
        file, folder = self.drivers / driver / "bind", self.folder(address)
        if not file.exists():
            raise kernel_error(errno.ENOENT, file)
        if not folder.exists():
            raise kernel_error(errno.ENODEV, file)
        if self.driver(address):
            raise kernel_error(errno.EBUSY, file)
        self.probe(as_address(address), driver)
        tree.link(folder / "driver", file.parent)
        tree.link(file.parent / folder.name, folder)

    def unbind(self, address: Address) -> None:
        """Unbind a device as a write to driver/unbind does."""
        driver = self.driver(address)
        if driver is None:
            raise kernel_error(errno.ENOENT, self.path(address, "driver/unbind"))
        self.release(as_address(address), driver)
        tree.remove(self.path(address, "driver"))
        tree.remove(self.drivers / driver / str(address))

    def probe(self, at: PciAddress, driver: str) -> None:
        """Do what a driver does with a device that it takes, or raise why it does not take it."""
        if driver in VFIO_DRIVERS:
            if not self._groups.open_to_vfio(self.folder(at)):
                raise kernel_error(errno.EINVAL, self.drivers / driver / "bind")
            self.attribute(at, "driver_override", driver)

    def release(self, at: PciAddress, driver: str) -> None:
        """Do what a driver does with a device that is taken from it."""
        if driver in VFIO_DRIVERS:
            self._groups.close_to_vfio(self.folder(at))

    # Attributes

    def path(self, address: Address, name: str = "") -> Path:
        """Return where a device's attribute is, by the link below bus/pci/devices."""
        return self.devices / str(address) / name

    def folder(self, address: Address) -> Path:
        """Return a device's real folder."""
        return Path(os.path.realpath(self.devices / str(address)))

    def attribute(self, address: Address, name: str, content: str | bytes | None) -> None:
        """Make an attribute hold a line of text, or just these bytes; None takes it away, or a link or a folder."""
        if content is None:
            tree.remove(self.path(address, name))
        else:
            tree.replace(self.path(address, name), content)

    def link(self, address: Address, name: str, target: str) -> None:
        """Make an attribute a link, wherever that leads."""
        tree.remove(self.path(address, name))
        self.path(address, name).symlink_to(target)

    def fifo(self, address: Address, name: str) -> None:
        """Make an attribute a FIFO: who opens it as a file waits for ever."""
        tree.remove(self.path(address, name))
        os.mkfifo(self.path(address, name))

    # IOMMU groups

    def group(self, address: Address) -> int | None:
        """Return the number of a device's IOMMU group."""
        return self._groups.number(self.folder(address))

    def reuse_group_numbers(self) -> None:
        """Give new groups the numbers of those that are no more, the lowest first."""
        self._groups.reuses = True

    def node(self, address: Address) -> Path:
        """Return where the node of a device's group is, or would be, below `dev`."""
        return self._groups.node(self.folder(address))

    def share_group(self, *addresses: Address) -> int:
        """Put devices into one new group, as it is where a bridge has no ACS; return its number."""
        number = self._groups.new()
        on_vfio = {at: driver for at in addresses if (driver := self.driver(at)) in VFIO_DRIVERS}
        for at in on_vfio:
            self.unbind(at)
        for at in addresses:
            self._groups.leave(self.folder(at))
            self._groups.join(self.folder(at), number)
        for at, driver in on_vfio.items():
            self.bind(at, driver or "")
        return number


def as_address(address: Address) -> PciAddress:
    return address if isinstance(address, PciAddress) else PciAddress.parse(address)


def kernel_error(number: int, path: Path) -> OSError:
    return OSError(number, os.strerror(number), str(path))
