"""Reads a node's QAT functions from sysfs into a Snapshot. Writes nothing, opens no VFIO node.

One device that cannot be read is a Problem, its neighbours are untouched; the scan itself never fails. Links and
attributes are those of Documentation/ABI/testing/sysfs-bus-pci and sysfs-driver-qat. Not read, because they can block
as long as a write to the PF hangs: sriov_numvfs (it takes the PF's lock, sriov_totalvfs does not: drivers/pci/iov.c);
its virtfn links are counted instead.
"""

import errno
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from qatdp.core.model.pci import PciAddress
from qatdp.core.model.qat import FAMILIES, FAMILY_OF_PF, FAMILY_OF_VF, VENDOR, VFIO_DRIVERS, Family, parse_services
from qatdp.core.model.snapshot import (
    GroupMember,
    IommuGroup,
    NodeKind,
    PhysicalFunction,
    Problem,
    Snapshot,
    VfioNode,
    VirtualFunction,
)
from qatdp.errors import QatdpError
from qatdp.host.calls import kernel_names
from qatdp.host.calls.abc import BulkCalls, BusDump
from qatdp.host.calls.portable import dev_cfg

# What says that there is no such thing (any more), as opposed to one that cannot be read.
ABSENT = frozenset({errno.ENOENT, errno.ENODEV, errno.ENXIO, errno.ENOTDIR})

NOTABLE_DRIVERS = VFIO_DRIVERS | {driver for family in FAMILIES for driver in (family.pf_driver, family.vf_driver)}
SERVICES_ENABLED = re.compile(r"^ServicesEnabled\s*=\s*(.*)$", re.MULTILINE)
AUTO_RESET = {"on": True, "off": False}
UNKNOWN_DRIVER = "(unknown)"


class SysfsScanner:
    """Scans below `sysfs` (for /sys); nodes are looked for below `dev` (for /dev)."""

    def __init__(self, sysfs: Path, dev: Path, calls: BulkCalls) -> None:
        self._sysfs, self._dev, self._calls = sysfs, dev, calls

    def scan(self) -> Snapshot:
        """Return the node as it is now. Takes a few reads a function; runs in a thread of the daemon's own."""
        return snapshot(self._calls.read_bus(self._sysfs, self._dev), self._sysfs, self._dev)


def check_listed(snapshot: Snapshot, sysfs: Path) -> None:
    """Raise QatdpError where nothing is known of the bus, which is not the same as a node without QAT."""
    bus = f"{sysfs}/bus/pci/devices"
    for problem in snapshot.problems:
        if problem.where == bus:
            raise QatdpError(f"{bus} {problem.reason}", hint="--sysfs is a mounted sysfs, or a copy of one")


def snapshot(answers: BusDump, sysfs: Path, dev: Path) -> Snapshot:
    """Return the node that these answers tell of. Pure: it looks for nothing that has not been asked."""
    return _Reading(answers, str(sysfs), str(dev)).snapshot()


@dataclass(frozen=True, slots=True)
class _Place:
    """A PCI function and its folder, which much is asked of: it is written out once."""

    address: PciAddress
    folder: str


@dataclass(slots=True)
class _Reading:
    """One reading of all answers: what it has come upon so far."""

    answers: BusDump
    sysfs: str
    dev: str
    problems: list[Problem] = field(default_factory=list)
    vf_links: dict[PciAddress, tuple[PciAddress, int]] = field(default_factory=dict)  # VF -> its PF, its index

    @property
    def devices(self) -> str:
        return f"{self.sysfs}/bus/pci/devices"

    def snapshot(self) -> Snapshot:
        ids = self._qat_ids()
        pfs = [self._pf(address, FAMILY_OF_PF[device]) for address, device in ids.items() if device in FAMILY_OF_PF]
        families = {address: FAMILY_OF_VF[device] for address, device in ids.items() if device in FAMILY_OF_VF}
        vfs = self._vfs(families, {pf.address: pf for pf in pfs})
        return Snapshot(
            pfs=tuple(pfs),
            vfs=vfs,
            groups=self._groups(vfs),
            problems=tuple(sorted(set(self.problems))),
            drivers=NOTABLE_DRIVERS & frozenset(self._names(f"{self.sysfs}/bus/pci/drivers")),
        )

    # PCI functions

    def _qat_ids(self) -> Mapping[PciAddress, int]:
        """Return the device id of each function that carries Intel's vendor id and an id of QAT's."""
        found: dict[PciAddress, int] = {}
        for address in self._addresses(self.devices):
            at = self._place(address)
            if self._number(at, "vendor") == VENDOR:
                device = self._number(at, "device")
                if device in FAMILY_OF_PF or device in FAMILY_OF_VF:
                    found[address] = device
        return dict(sorted(found.items()))

    def _pf(self, address: PciAddress, family: Family) -> PhysicalFunction:
        at = self._place(address)
        for name in self._names(at.folder, address):
            index = kernel_names.virtfn(name)
            if index is not None:
                self._found_vf(address, index, f"{at.folder}/{name}")
        text = self._services_text(at, family)
        return PhysicalFunction(
            address=address,
            family=family,
            driver=self._link(at, "driver"),
            numa_node=self._numa_node(at),
            state=self._text(at, "qat/state"),
            services=parse_services(text) if text is not None else None,
            services_text=text,
            auto_reset=AUTO_RESET.get(self._text(at, "qat/auto_reset") or ""),
            total_vfs=self._number(at, "sriov_totalvfs"),
        )

    def _found_vf(self, pf: PciAddress, index: int, link: str) -> None:
        # A link that leads nowhere is no problem of the PF, which its other VFs would share.
        target = self.answers.links[link]
        if isinstance(target, int):
            if target not in ABSENT:
                self._problem(link, f"cannot be read: {os.strerror(target)}")
            return
        address = kernel_names.address(target)
        if address is None:
            self._problem(link, f"points to {target!r}, which is not a valid PCI address")
        elif not self.answers.present[self._place(address).folder]:
            self._problem(address, f"virtfn{index} of {pf} points to it, but it is not there")
        else:
            self.vf_links[address] = (pf, index)

    def _services_text(self, at: _Place, family: Family) -> str | None:
        """Return what the PF is configured for. Before gen4 nothing is selectable, whatever dev_cfg may say."""
        if not family.selectable:
            return None
        text = self._text(at, "qat/cfg_services")
        if text is not None or self._has_problem(at.address):
            return text
        # Kernels before 6.0 have no such attribute. debugfs may be absent, locked down or closed to us: that is no
        # problem of the device.
        dump = self.answers.contents[dev_cfg(self.sysfs, family, str(at.address))]
        match = SERVICES_ENABLED.search(dump.decode(errors="replace")) if isinstance(dump, bytes) else None
        return match[1].strip() if match else None

    def _vfs(
        self, families: Mapping[PciAddress, Family], pfs: Mapping[PciAddress, PhysicalFunction]
    ) -> tuple[VirtualFunction, ...]:
        # A VF whose ids cannot be read is known by its PF's link.
        of_pf = {address: pfs[pf].family for address, (pf, _) in self.vf_links.items()}
        known = {**of_pf, **families}
        return tuple(self._vf(address, family, pfs) for address, family in sorted(known.items()))

    def _vf(self, address: PciAddress, family: Family, pfs: Mapping[PciAddress, PhysicalFunction]) -> VirtualFunction:
        at = self._place(address)
        driver = self._link(at, "driver")
        group = kernel_names.decimal(self._link(at, "iommu_group") or "")
        physfn = kernel_names.address(self._link(at, "physfn") or "")
        pf, index = self.vf_links.get(address, (physfn, None))
        if pf is None and any(one.family is family for one in pfs.values()):
            # The kernel announces a VF before it links it to its PF, and unlinks it before it goes (drivers/pci/iov.c).
            self._problem(address, "has no physfn link, though PFs of its family are here")
        return VirtualFunction(
            address=address,
            family=family,
            pf=pf,
            index=index,
            driver=driver,
            numa_node=self._numa_node(at),
            iommu_group=group,
            nodes=self._nodes(at, group) if group is not None and driver in VFIO_DRIVERS else (),
        )

    # VFIO

    def _nodes(self, at: _Place, group: int) -> tuple[VfioNode, ...]:
        folder = f"{at.folder}/vfio-dev"
        cdevs = (
            self._node(NodeKind.CDEV, f"vfio/devices/{name}")
            for name in self._names(folder)
            # The folder is there from 6.1 on; `dev` in it only where the kernel is built with cdevs.
            if self.answers.present[f"{folder}/{name}/dev"]
        )
        if self._is_noiommu(group):
            return (self._node(NodeKind.NOIOMMU, f"vfio/noiommu-{group}"), *cdevs)
        return (self._node(NodeKind.GROUP, f"vfio/{group}"), *cdevs)

    def _node(self, kind: NodeKind, below_dev: str) -> VfioNode:
        return VfioNode(kind, f"/dev/{below_dev}", self.answers.present[f"{self.dev}/{below_dev}"])

    def _is_noiommu(self, group: int) -> bool:
        name = self.answers.contents[f"{self.sysfs}/kernel/iommu_groups/{group}/name"]
        return isinstance(name, bytes) and name.strip() == b"vfio-noiommu"

    def _groups(self, vfs: Iterable[VirtualFunction]) -> tuple[IommuGroup, ...]:
        drivers = {vf.address: vf.driver for vf in vfs}
        found: dict[int, tuple[GroupMember, ...]] = {}
        for vf in vfs:
            number = vf.iommu_group
            if number is None:
                continue
            if number not in found:
                found[number] = self._members(number, drivers)
            if all(member.address != vf.address for member in found[number]):
                # It went in mid-scan, or the folder cannot be listed: then nobody knows who else is in the group.
                self._problem(vf.address, f"is not among the devices of its IOMMU group {number}")
        return tuple(IommuGroup(number, members) for number, members in sorted(found.items()))

    def _members(self, number: int, drivers: Mapping[PciAddress, str | None]) -> tuple[GroupMember, ...]:
        addresses = set(self._addresses(f"{self.sysfs}/kernel/iommu_groups/{number}/devices"))
        return tuple(
            GroupMember(
                address,
                drivers[address] if address in drivers else self._driver_of_other(address),
                qat_vf=address in drivers,
            )
            for address in sorted(addresses)
        )

    def _driver_of_other(self, address: PciAddress) -> str | None:
        """Return the driver of a device that is not ours; one that cannot be told is not taken for none."""
        driver = self._link(self._place(address), "driver")
        return UNKNOWN_DRIVER if driver is None and self._has_problem(address) else driver

    # Attributes: None where there is none, and where it cannot be read, which is then a problem.

    def _place(self, address: PciAddress) -> _Place:
        return _Place(address, f"{self.devices}/{address}")

    def _problem(self, where: PciAddress | str, reason: str) -> None:
        self.problems.append(Problem(str(where), reason))

    def _has_problem(self, address: PciAddress) -> bool:
        return any(problem.where == str(address) for problem in self.problems)

    def _text(self, at: _Place, attribute: str) -> str | None:
        content = self.answers.contents[f"{at.folder}/{attribute}"]
        if isinstance(content, int):
            self._failed(at, attribute, content)
            return None
        try:
            return content.decode("ascii").strip(kernel_names.BLANKS)
        except UnicodeDecodeError:
            self._problem(at.address, f"{attribute} is not text: {content[:40]!r}")
            return None

    def _number(self, at: _Place, attribute: str) -> int | None:
        text = self._text(at, attribute)
        if text is None:
            return None
        number = kernel_names.number(text)
        if number is None:
            self._problem(at.address, f"{attribute} is not a number: {text[:40]!r}")
        return number

    def _numa_node(self, at: _Place) -> int | None:
        node = self._number(at, "numa_node")
        return node if node is not None and node >= 0 else None  # -1: the kernel does not know

    def _link(self, at: _Place, name: str) -> str | None:
        target = self.answers.links[f"{at.folder}/{name}"]
        if isinstance(target, int):
            self._failed(at, name, target)
            return None
        return target

    def _names(self, folder: str, address: PciAddress | None = None) -> Iterable[str]:
        found = self.answers.names[folder]
        if not isinstance(found, int):
            return found
        if found not in ABSENT or folder == self.devices:
            self._problem(address or folder, f"cannot be listed: {os.strerror(found)}")
        return ()

    def _addresses(self, folder: str) -> Iterable[PciAddress]:
        return filter(None, map(kernel_names.address, self._names(folder)))

    def _failed(self, at: _Place, name: str, number: int) -> None:
        if number not in ABSENT:
            self._problem(at.address, f"{name} cannot be read: {os.strerror(number)}")
