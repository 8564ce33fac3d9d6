"""Reads a node's QAT functions from sysfs into a Snapshot. Writes nothing, opens no VFIO node.

One device that cannot be read is a Problem, its neighbours are untouched; the scan itself never fails. Links and
attributes are those of Documentation/ABI/testing/sysfs-bus-pci and sysfs-driver-qat. Not read, because they can block
as long as a write to the PF hangs: sriov_numvfs (it takes the PF's lock); its virtfn links are counted instead.
"""

import errno
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from qatdp.core.pci import PciAddress
from qatdp.core.qat import FAMILIES, FAMILY_OF_PF, FAMILY_OF_VF, VENDOR, VFIO_DRIVERS, Family, parse_services
from qatdp.core.snapshot import (
    GroupMember,
    IommuGroup,
    NodeKind,
    PhysicalFunction,
    Problem,
    Snapshot,
    VfioNode,
    VirtualFunction,
)
from qatdp.host.abc import HostCalls

# What says that there is no such thing (any more), as opposed to one that cannot be read.
ABSENT = frozenset({errno.ENOENT, errno.ENODEV, errno.ENXIO, errno.ENOTDIR})

NOTABLE_DRIVERS = VFIO_DRIVERS | {driver for family in FAMILIES for driver in (family.pf_driver, family.vf_driver)}
SERVICES_ENABLED = re.compile(r"^ServicesEnabled\s*=\s*(.*)$", re.MULTILINE)
NUMBER = re.compile(r"0x[0-9a-f]{1,8}|-?[0-9]{1,9}")  # such as fit in what they are handed on in
AUTO_RESET = {"on": True, "off": False}
UNKNOWN_DRIVER = "(unknown)"
VIRTFN = re.compile(r"virtfn(\d+)")


class SysfsScanner:
    """Scans below `sysfs` (for /sys); nodes are looked for below `dev` (for /dev)."""

    def __init__(self, sysfs: Path, dev: Path, calls: HostCalls) -> None:
        self._sysfs, self._dev, self._calls = sysfs, dev, calls

    def scan(self) -> Snapshot:
        """Return the node as it is now. Takes a few reads a function; runs in a thread of the daemon's own."""
        return _Scan(self._sysfs, self._dev, self._calls).snapshot()


@dataclass(slots=True)
class _Scan:
    """One scan: what it has come upon so far."""

    sysfs: Path
    dev: Path
    calls: HostCalls
    problems: list[Problem] = field(default_factory=list)
    vf_links: dict[PciAddress, tuple[PciAddress, int]] = field(default_factory=dict)  # VF -> its PF, its index

    @property
    def devices(self) -> Path:
        return self.sysfs / "bus/pci/devices"

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
            drivers=NOTABLE_DRIVERS & frozenset(self._names(self.sysfs / "bus/pci/drivers")),
        )

    # PCI functions

    def _qat_ids(self) -> Mapping[PciAddress, int]:
        """Return the device id of each function that carries Intel's vendor id and an id of QAT's."""
        found: dict[PciAddress, int] = {}
        for name in self._names(self.devices):
            address = PciAddress.parse_or_none(name)
            if address and self._number(address, "vendor") == VENDOR:
                device = self._number(address, "device")
                if device in FAMILY_OF_PF or device in FAMILY_OF_VF:
                    found[address] = device
        return dict(sorted(found.items()))

    def _pf(self, address: PciAddress, family: Family) -> PhysicalFunction:
        for name in self._names(self._folder(address), address):
            if match := VIRTFN.fullmatch(name):
                self._found_vf(address, int(match[1]), self._folder(address) / name)
        text = self._services_text(address, family)
        return PhysicalFunction(
            address=address,
            family=family,
            driver=self._link(address, "driver"),
            numa_node=self._numa_node(address),
            state=self._text(address, "qat/state"),
            services=parse_services(text) if text is not None else None,
            services_text=text,
            auto_reset=AUTO_RESET.get(self._text(address, "qat/auto_reset") or ""),
        )

    def _found_vf(self, pf: PciAddress, index: int, link: Path) -> None:
        # A link that leads nowhere is no problem of the PF, which its other VFs would share.
        try:
            target = self.calls.link(link)
        except OSError as error:
            if error.errno not in ABSENT:
                self._problem(link, f"cannot be read: {os.strerror(error.errno or 0)}")
            return
        address = PciAddress.parse_or_none(target)
        if address is None:
            self._problem(link, f"points to {target!r}, which is no PCI address")
        elif not self.calls.exists(self._folder(address)):
            self._problem(address, f"virtfn{index} of {pf} points to it, but it is not there")
        else:
            self.vf_links[address] = (pf, index)

    def _services_text(self, address: PciAddress, family: Family) -> str | None:
        """Return what the PF is configured for. Before gen4 nothing is selectable, whatever dev_cfg may say."""
        if not family.selectable:
            return None
        text = self._text(address, "qat/cfg_services")
        if text is not None or self._has_problem(address):
            return text
        # Kernels before 6.0 have no such attribute. debugfs may be absent, locked down or closed to us: that is no
        # problem of the device.
        try:
            dump = self.calls.read(self.sysfs / f"kernel/debug/qat_{family.pf_driver}_{address}/dev_cfg")
        except OSError:
            return None
        match = SERVICES_ENABLED.search(dump.decode(errors="replace"))
        return match[1].strip() if match else None

    def _vfs(
        self, families: Mapping[PciAddress, Family], pfs: Mapping[PciAddress, PhysicalFunction]
    ) -> tuple[VirtualFunction, ...]:
        # A VF whose ids cannot be read is known by its PF's link.
        of_pf = {address: pfs[pf].family for address, (pf, _) in self.vf_links.items()}
        known = {**of_pf, **families}
        return tuple(self._vf(address, family, pfs) for address, family in sorted(known.items()))

    def _vf(self, address: PciAddress, family: Family, pfs: Mapping[PciAddress, PhysicalFunction]) -> VirtualFunction:
        driver = self._link(address, "driver")
        group = self._link(address, "iommu_group")
        pf, index = self.vf_links.get(address, (self._physfn(address), None))
        if pf is None and any(one.family is family for one in pfs.values()):
            # The kernel announces a VF before it links it to its PF, and unlinks it before it goes (drivers/pci/iov.c).
            self._problem(address, "has no physfn link, though PFs of its family are here")
        return VirtualFunction(
            address=address,
            family=family,
            pf=pf,
            index=index,
            driver=driver,
            numa_node=self._numa_node(address),
            iommu_group=int(group) if group and group.isdecimal() else None,
            nodes=self._nodes(address, group) if group and driver in VFIO_DRIVERS else (),
        )

    def _physfn(self, address: PciAddress) -> PciAddress | None:
        target = self._link(address, "physfn")
        return PciAddress.parse_or_none(target) if target else None

    # VFIO

    def _nodes(self, address: PciAddress, group: str) -> tuple[VfioNode, ...]:
        cdevs = (
            self._node(NodeKind.CDEV, f"vfio/devices/{name}")
            for name in self._names(self._folder(address) / "vfio-dev")
            # The folder is there from 6.1 on; `dev` in it only where the kernel is built with cdevs.
            if self.calls.exists(self._folder(address) / "vfio-dev" / name / "dev")
        )
        if self._is_noiommu(group):
            return (self._node(NodeKind.NOIOMMU, f"vfio/noiommu-{group}"), *cdevs)
        return (self._node(NodeKind.GROUP, f"vfio/{group}"), *cdevs)

    def _node(self, kind: NodeKind, below_dev: str) -> VfioNode:
        return VfioNode(kind, f"/dev/{below_dev}", self.calls.exists(self.dev / below_dev))

    def _is_noiommu(self, group: str) -> bool:
        try:
            return self.calls.read(self.sysfs / f"kernel/iommu_groups/{group}/name").strip() == b"vfio-noiommu"
        except OSError:
            return False

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
        names = self._names(self.sysfs / f"kernel/iommu_groups/{number}/devices")
        addresses = {address for name in names if (address := PciAddress.parse_or_none(name))}
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
        driver = self._link(address, "driver")
        return UNKNOWN_DRIVER if driver is None and self._has_problem(address) else driver

    # Attributes: None where there is none, and where it cannot be read, which is then a problem.

    def _folder(self, address: PciAddress) -> Path:
        return self.devices / str(address)

    def _problem(self, where: PciAddress | Path, reason: str) -> None:
        self.problems.append(Problem(str(where), reason))

    def _has_problem(self, address: PciAddress) -> bool:
        return any(problem.where == str(address) for problem in self.problems)

    def _text(self, address: PciAddress, attribute: str) -> str | None:
        try:
            content = self.calls.read(self._folder(address) / attribute)
        except OSError as error:
            self._failed(address, attribute, error)
            return None
        try:
            return content.decode("ascii").strip("\0 \n\t")
        except UnicodeDecodeError:
            self._problem(address, f"{attribute} is no text: {content[:40]!r}")
            return None

    def _number(self, address: PciAddress, attribute: str) -> int | None:
        text = self._text(address, attribute)
        if text is None:
            return None
        if not NUMBER.fullmatch(text):
            self._problem(address, f"{attribute} is no number: {text[:40]!r}")
            return None
        return int(text, 16 if text.startswith("0x") else 10)

    def _numa_node(self, address: PciAddress) -> int | None:
        node = self._number(address, "numa_node")
        return node if node is not None and node >= 0 else None  # -1: the kernel does not know

    def _link(self, address: PciAddress, name: str) -> str | None:
        try:
            return self.calls.link(self._folder(address) / name)
        except OSError as error:
            self._failed(address, name, error)
            return None

    def _names(self, folder: Path, address: PciAddress | None = None) -> Iterable[str]:
        try:
            return self.calls.names(folder)
        except OSError as error:
            if error.errno not in ABSENT or folder == self.devices:
                self._problem(address or folder, f"cannot be listed: {os.strerror(error.errno or 0)}")
            return ()

    def _failed(self, address: PciAddress, name: str, error: OSError) -> None:
        if error.errno not in ABSENT:
            self._problem(address, f"{name} cannot be read: {os.strerror(error.errno or 0)}")
