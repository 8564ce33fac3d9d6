"""One pool per resource: the devices in its list, each with its health and the reason for it.

`build_pools` is the one place where what was scanned, what is wished and what may be held come together. It partitions
the VFs: none is in two pools, none is left out without a reason.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from qatdp.core.config import Config, ResourceOptions
from qatdp.core.holders import MAYBE_IN_USE, OUT_OF_LIST, WITHDRAWN, Books, Entry, settle
from qatdp.core.offer import NOTHING_ELSE, Circumstances, Offer, node_of, offers, reasons
from qatdp.core.pci import PciAddress
from qatdp.core.snapshot import NodeKind, Snapshot, VirtualFunction

CONTAINER_NODE = "/dev/vfio/vfio"
IOMMUFD_NODE = "/dev/iommu"


class Health(StrEnum):
    """What the kubelet knows of a device, in its very words (deviceplugin/v1beta1/constants.go)."""

    HEALTHY = "Healthy"
    UNHEALTHY = "Unhealthy"


@dataclass(frozen=True, slots=True)
class PoolDevice:
    """A device in a resource's list.

    `sick` says what is wrong with the VF itself, `withdrawn` tells that it is on its way out of the list: either makes
    it Unhealthy. `held` tells that somebody may have it. `nodes` are paths on the host, the same in the container.
    """

    address: PciAddress
    pf: PciAddress | None = None
    numa_node: int | None = None
    nodes: tuple[str, ...] = ()
    sick: str | None = None
    withdrawn: bool = False
    held: bool = False

    @property
    def health(self) -> Health:
        return Health.UNHEALTHY if self.sick or self.withdrawn else Health.HEALTHY

    @property
    def reason(self) -> str | None:
        """Why it is not healthy; None where it is."""
        return self.sick or ("being withdrawn from this resource" if self.withdrawn else None)


@dataclass(frozen=True, slots=True)
class ResourcePool:
    """A resource and its devices, in the order of their addresses."""

    resource: str
    devices: tuple[PoolDevice, ...] = ()
    options: ResourceOptions = ResourceOptions()

    @property
    def listed(self) -> tuple[tuple[PciAddress, Health, int | None], ...]:
        """What the kubelet is told of it."""
        return tuple((device.address, device.health, device.numa_node) for device in self.devices)

    @property
    def healthy(self) -> frozenset[str]:
        """The IDs that the kubelet may hand out."""
        return frozenset(str(device.address) for device in self.devices if device.health is Health.HEALTHY)


@dataclass(frozen=True, slots=True)
class Pools:
    """All pools by the full name of their resource, and why each other VF is in none."""

    pools: Mapping[str, ResourcePool]
    left_out: Mapping[PciAddress, str]


def build_pools(
    snapshot: Snapshot,
    config: Config,
    books: Books,
    moment: int,
    circumstances: Circumstances = NOTHING_ELSE,
) -> tuple[Pools, Books]:
    """Return the pools, and the books after every ID was told where it belongs (core/holders.py)."""
    found = offers(snapshot, config, circumstances)
    books = _remember(settle(books, places(found, config, books), moment), snapshot)
    listed = {address: entry for address, entry in books.items() if entry.step not in OUT_OF_LIST}
    devices: dict[str, list[PoolDevice]] = {}
    for address, entry in sorted(listed.items()):
        devices.setdefault(entry.resource, []).append(_device(address, entry, found.get(address), snapshot, config))
    pools = {name: ResourcePool(name, tuple(of), config.options(name)) for name, of in sorted(devices.items())}
    return Pools(pools, reasons(found, listed)), books


def places(found: Mapping[PciAddress, Offer], config: Config, books: Books) -> Mapping[PciAddress, str]:
    """Return which resource each VF belongs to now; one that is left out belongs nowhere.

    A VF with a defect keeps the place it has, but gets no new one. So does one whose services cannot be known now.
    """
    wanted: dict[str, list[PciAddress]] = {}
    for address, offer in found.items():
        entry = books.get(address)
        listed_at = entry.resource if entry and entry.step not in OUT_OF_LIST else None
        resource = listed_at if offer.undecided else offer.resource
        if resource and (resource == listed_at or offer.defect is None):
            wanted.setdefault(resource, []).append(address)
    return {
        address: resource
        for resource, addresses in wanted.items()
        for address in _within_limit(addresses, config.limit(resource), books)
    }


def _within_limit(addresses: list[PciAddress], limit: int | None, books: Books) -> list[PciAddress]:
    """Return the first so many: those that may be in use before others, then those in a list, then by address."""

    def rank(address: PciAddress) -> tuple[bool, bool, PciAddress]:
        entry = books.get(address)
        return (entry is None or entry.step not in MAYBE_IN_USE, entry is None, address)

    return sorted(addresses, key=rank)[:limit]


def _remember(books: Books, snapshot: Snapshot) -> Books:
    """Keep each VF as it was last seen."""
    seen = {address: vf for address in books if (vf := snapshot.vf(address)) and vf != books[address].vf}
    return {**books, **{address: replace(books[address], vf=vf) for address, vf in seen.items()}} if seen else books


def _device(address: PciAddress, entry: Entry, offer: Offer | None, snapshot: Snapshot, config: Config) -> PoolDevice:
    vf = entry.vf
    sick = "is not there" if snapshot.vf(address) is None else offer.defect if offer else None
    return PoolDevice(
        address=address,
        pf=vf.pf if vf else None,
        numa_node=vf.numa_node if vf else None,
        nodes=_nodes(vf, entry.resource, config) if vf else (),
        sick=sick,
        withdrawn=entry.step in WITHDRAWN,
        held=entry.step in MAYBE_IN_USE,
    )


def _nodes(vf: VirtualFunction, resource: str, config: Config) -> tuple[str, ...]:
    """Return what a container needs to use a VF: its node, and the one all VFIO users share."""
    node = node_of(vf, config.options(resource).node)
    if node is None:
        return ()
    return (node.path, IOMMUFD_NODE if node.kind is NodeKind.CDEV else CONTAINER_NODE)
