"""What a node looks like at one moment: its QAT functions, their IOMMU groups, and what could not be read.

A frozen value, made by host/scanner.py. Everything else derives from it: nothing is ever patched in place.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from qatdp.core.model.pci import PciAddress
from qatdp.core.model.qat import VFIO_DRIVERS, Family, Services


class NodeKind(StrEnum):
    """How VFIO shows a device in /dev."""

    GROUP = "group"  # /dev/vfio/<group>
    NOIOMMU = "noiommu"  # /dev/vfio/noiommu-<group>
    CDEV = "cdev"  # /dev/vfio/devices/vfio<n>, from 6.6 on where the kernel is built with it


@dataclass(frozen=True, slots=True)
class VfioNode:
    """A device node by its path on the host; `present` tells whether /dev has it."""

    kind: NodeKind
    path: str
    present: bool


@dataclass(frozen=True, slots=True)
class PhysicalFunction:
    """A PF. None means that there is no such attribute, or that it could not be read (then a Problem tells why)."""

    address: PciAddress
    family: Family
    driver: str | None = None
    numa_node: int | None = None  # None: the kernel does not know (it says -1)
    state: str | None = None  # "up" or "down"; None before gen4
    services: Services | None = None  # None: not selectable, unknown, or unreadable
    services_text: str | None = None  # as the kernel writes them
    auto_reset: bool | None = None  # None before gen4, and before 6.9
    total_vfs: int | None = None  # None: no SR-IOV

    @property
    def on_own_driver(self) -> bool:
        """Return whether its family's PF driver has it. The out-of-tree package's drivers have the same names."""
        return self.driver == self.family.pf_driver

    @property
    def is_down(self) -> bool:
        return self.state is not None and self.state != "up"


@dataclass(frozen=True, slots=True)
class VirtualFunction:
    """A VF. `pf` is None where the PF is not on this machine (a VF passed into a virtual machine)."""

    address: PciAddress
    family: Family
    pf: PciAddress | None = None
    index: int | None = None  # n of the PF's link virtfn<n>
    driver: str | None = None
    numa_node: int | None = None
    iommu_group: int | None = None
    nodes: tuple[VfioNode, ...] = ()  # only while a VFIO driver has it

    @property
    def on_vfio(self) -> bool:
        return self.driver in VFIO_DRIVERS

    def node(self, *kinds: NodeKind) -> VfioNode | None:
        """Return its node of the first of these kinds that it has."""
        return next((node for kind in kinds for node in self.nodes if node.kind is kind), None)


@dataclass(frozen=True, slots=True)
class GroupMember:
    """A device in an IOMMU group, QAT or not. `qat_vf` tells that it is one of the snapshot's VFs."""

    address: PciAddress
    driver: str | None
    qat_vf: bool

    @property
    def on_vfio(self) -> bool:
        return self.driver in VFIO_DRIVERS


@dataclass(frozen=True, slots=True)
class IommuGroup:
    """An IOMMU group that holds a QAT VF; members in the order of their addresses."""

    number: int
    members: tuple[GroupMember, ...]


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """A device, or a place, that could not be read, with what was tried and what came back."""

    where: str  # an address, or a path
    reason: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A node at one moment; each tuple in the order of addresses or numbers."""

    pfs: tuple[PhysicalFunction, ...] = ()
    vfs: tuple[VirtualFunction, ...] = ()
    groups: tuple[IommuGroup, ...] = ()
    problems: tuple[Problem, ...] = ()
    drivers: frozenset[str] = frozenset()  # PCI drivers the kernel has loaded, as far as they concern QAT
    shares_groups: bool = field(init=False, repr=False, compare=False)  # whether VFs share an IOMMU group
    _pfs: Mapping[PciAddress, PhysicalFunction] = field(init=False, repr=False, compare=False)
    _vfs: Mapping[PciAddress, VirtualFunction] = field(init=False, repr=False, compare=False)
    _groups: Mapping[int, IommuGroup] = field(init=False, repr=False, compare=False)
    _problems: Mapping[str, str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        shared = any(sum(member.qat_vf for member in group.members) > 1 for group in self.groups)
        object.__setattr__(self, "shares_groups", shared)
        object.__setattr__(self, "_pfs", {pf.address: pf for pf in self.pfs})
        object.__setattr__(self, "_vfs", {vf.address: vf for vf in self.vfs})
        object.__setattr__(self, "_groups", {group.number: group for group in self.groups})
        object.__setattr__(self, "_problems", {problem.where: problem.reason for problem in reversed(self.problems)})

    def pf(self, address: PciAddress | None) -> PhysicalFunction | None:
        return self._pfs.get(address) if address else None

    def vf(self, address: PciAddress) -> VirtualFunction | None:
        return self._vfs.get(address)

    def group(self, number: int | None) -> IommuGroup | None:
        return self._groups.get(number) if number is not None else None

    def problem(self, address: PciAddress) -> str | None:
        """Return the first reason why something of a device could not be read."""
        return self._problems.get(str(address)) if self._problems else None
