"""One pool per resource: the devices in its list, each with its health and the reason for it.

`build_pools` is the one place where what was scanned, what is desired and what may be held come together. It partitions
the VFs: none is in two pools, none is left out without a reason.
"""

from bisect import bisect_left
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from qatdp.core.config.model import Config, ResourceOptions
from qatdp.core.model.pci import PciAddress
from qatdp.core.model.snapshot import NodeKind, Snapshot, VirtualFunction
from qatdp.core.pools.checks import defect_of
from qatdp.core.pools.open_vfs import functions_of
from qatdp.core.pools.placement import Placement, placements, placements_of
from qatdp.core.pools.view import EMPTY_CONTEXT, PlacementContext, node_of, view_of
from qatdp.core.reasons import Defect, Reason, defect
from qatdp.core.release.protocol import LEAVING, MAYBE_IN_USE, OUT_OF_LIST, WITHDRAWN, Ledger, LedgerEntry, Step, settle

CONTAINER_NODE = "/dev/vfio/vfio"
IOMMUFD_NODE = "/dev/iommu"


class Health(StrEnum):
    """What the kubelet knows of a device, in its very words (deviceplugin/v1beta1/constants.go)."""

    HEALTHY = "Healthy"
    UNHEALTHY = "Unhealthy"


@dataclass(frozen=True, slots=True)
class PoolDevice:
    """A device in a resource's list. What is wrong with it, or that it is being withdrawn, makes it Unhealthy."""

    address: PciAddress
    pf: PciAddress | None = None
    numa_node: int | None = None
    nodes: tuple[str, ...] = ()  # paths on the host, the same in the container; none where they are not known
    vf_defect: Defect | None = None  # what is wrong with the VF itself
    withdrawn: bool = False  # it is on its way out of the list
    cordoned: bool = False  # somebody may have it, and it is to leave once nobody has
    claimed_elsewhere: bool = False  # somebody has its node by another name
    outdated: bool = False  # a pod has an old answer for it (core/pools/stale.py)
    shared: bool = False  # the kubelet has given it to two pods
    functions: tuple[PciAddress, ...] = ()  # those that must be closed before it can be opened (core/pools/open_vfs.py)

    @property
    def health(self) -> Health:
        return Health.UNHEALTHY if self.vf_defect or self.withdrawn else Health.HEALTHY

    @property
    def defect(self) -> Defect | None:
        """Why it is not healthy; None where it is."""
        return self.vf_defect or (defect(Reason.WITHDRAWN) if self.withdrawn else None)


@dataclass(frozen=True, slots=True)
class ResourcePool:
    """A resource and its devices, in the order of their addresses."""

    resource: str
    devices: tuple[PoolDevice, ...] = ()
    options: ResourceOptions = ResourceOptions()
    revision: int = field(default=0, compare=False)  # the moment of the ledger that it was built from

    def device(self, text: str) -> PoolDevice | None:
        """Return the device of an ID; None where the list has none."""
        address = PciAddress.parse_or_none(text)
        if address is None:
            return None
        place = bisect_left(self.devices, address, key=lambda device: device.address)
        found = self.devices[place] if place < len(self.devices) else None
        return found if found and str(found.address) == text else None  # two texts can write one address

    @property
    def listed(self) -> tuple[tuple[PciAddress, Health, int | None], ...]:
        """What the kubelet is told of it."""
        return tuple((device.address, device.health, device.numa_node) for device in self.devices)

    @property
    def pre_start_required(self) -> bool:
        """Whether the kubelet is to ask before it starts a container: else it goes by an answer that is outdated, or
        starts a pod with a VF that another one has open.

        Only then, as no container with a device of the resource is started while the plugin that it asks is away.
        """
        return any(device.outdated or device.shared for device in self.devices)

    @property
    def healthy(self) -> frozenset[str]:
        """The IDs that the kubelet may hand out."""
        return frozenset(str(device.address) for device in self.devices if device.health is Health.HEALTHY)


@dataclass(frozen=True, slots=True)
class Pools:
    """All pools by the full name of their resource, and why each other VF is in none."""

    pools: Mapping[str, ResourcePool]
    excluded: Mapping[PciAddress, Defect]


def build_pools(
    snapshot: Snapshot,
    config: Config,
    ledger: Ledger,
    moment: int,
    context: PlacementContext = EMPTY_CONTEXT,
) -> tuple[Pools, Ledger]:
    """Return the pools, and the ledger after every ID was told where it belongs (core/release/protocol.py)."""
    read = {address for address, entry in _listed(ledger).items() if entry.step is not Step.NEW}
    found = placements(snapshot, config, context, read)
    ledger = _remember(settle(ledger, places(found, config, ledger), moment), snapshot, context.stale.taken)
    devices = _devices(ledger, found, snapshot, config, context)
    pools = {name: ResourcePool(name, tuple(of), config.options(name)) for name, of in sorted(devices.items())}
    return Pools(pools, _left_out(found, ledger)), ledger


def rebuild_pools(
    before: Pools,
    changed: Collection[PciAddress],
    snapshot: Snapshot,
    config: Config,
    ledger: Ledger,
    moment: int,
    context: PlacementContext = EMPTY_CONTEXT,
) -> tuple[Pools, Ledger]:
    """Return what `build_pools` does, by a look at these VFs alone: nothing else has changed since `before` was built.

    Where one VF decides about another, as they share a group or a limit, all are looked at.
    """
    if snapshot.shares_groups or any(rule.limit is not None for rule in config.resources):
        return build_pools(snapshot, config, ledger, moment, context)
    found = placements_of((vf for at in changed if (vf := snapshot.vf(at))), snapshot, config, context)
    old = {address: ledger[address] for address in changed if address in ledger}
    new = _remember(settle(old, places(found, config, old), moment), snapshot, context.stale.taken)
    devices = _devices(new, found, snapshot, config, context)
    pools = dict(before.pools)
    for name in {entry.resource for entry in (*old.values(), *new.values())}:
        kept = (device for device in pools[name].devices if device.address not in changed) if name in pools else ()
        all_of = sorted((*kept, *devices.get(name, ())), key=lambda device: device.address)
        pools[name] = ResourcePool(name, tuple(all_of), config.options(name))
    excluded = {address: why for address, why in before.excluded.items() if address not in changed}
    ledger = {**{address: entry for address, entry in ledger.items() if address not in changed}, **new}
    pools = {name: pool for name, pool in sorted(pools.items()) if pool.devices}
    return Pools(pools, {**excluded, **_left_out(found, new)}), ledger


def shows(step: Step) -> tuple[bool, ...]:
    """Return what pools show of a step: between two steps that show the same, no pool is another."""
    return step is Step.GONE, step in OUT_OF_LIST, step in WITHDRAWN, step in MAYBE_IN_USE and step in LEAVING


def _devices(
    ledger: Ledger,
    found: Mapping[PciAddress, Placement],
    snapshot: Snapshot,
    config: Config,
    context: PlacementContext,
) -> Mapping[str, Collection[PoolDevice]]:
    """Return the devices of each resource, in the order of their addresses."""
    devices: dict[str, list[PoolDevice]] = {}
    for address, entry in sorted(_listed(ledger).items()):
        found_defect = _defect_in(address, entry.resource, found.get(address), snapshot, config, context)
        device = _device(address, entry, snapshot, config, context, found_defect)
        devices.setdefault(entry.resource, []).append(device)
    return devices


def _listed(ledger: Ledger) -> Ledger:
    return {address: entry for address, entry in ledger.items() if entry.step not in OUT_OF_LIST}


def places(found: Mapping[PciAddress, Placement], config: Config, ledger: Ledger) -> Mapping[PciAddress, str]:
    """Return which resource each VF belongs to now; one that is left out belongs nowhere.

    A VF with a defect keeps the place it has, but gets no new one. So does one whose services cannot be known now. One
    in doubt gets one: Unhealthy, it does no harm in any list, and a list makes the kubelet write its ledger again.
    """
    listed = _listed(ledger)
    wanted: dict[str, list[PciAddress]] = {}
    for address, placement in found.items():
        listed_at = listed[address].resource if address in listed else None
        resource = listed_at if placement.unknown_services else placement.resource
        if resource and (resource == listed_at or placement.defect is None or placement.in_doubt):
            wanted.setdefault(resource, []).append(address)
    return {
        address: resource
        for resource, addresses in wanted.items()
        for address in _within_limit(addresses, resource, config.limit(resource), ledger)
    }


def _within_limit(addresses: list[PciAddress], resource: str, limit: int | None, ledger: Ledger) -> list[PciAddress]:
    """Return the first so many: those in the resource's list that may be in use, others in it, then by address.

    Those that have yet to leave another list, which can take for ever, are the last.
    """

    def rank(address: PciAddress) -> tuple[int, PciAddress]:
        entry = ledger.get(address)
        if entry and entry.resource == resource and entry.step not in OUT_OF_LIST:
            return (0 if entry.step in MAYBE_IN_USE else 1, address)
        return (2 if entry is None or entry.step is Step.NEW else 3, address)

    return sorted(addresses, key=rank)[:limit]


def _left_out(found: Mapping[PciAddress, Placement], ledger: Ledger) -> Mapping[PciAddress, Defect]:
    """Return why each VF that no list has is offered nowhere."""
    listed = _listed(ledger)
    return {
        address: placement.excluded or placement.defect or _not_yet(placement, ledger.get(address))
        for address, placement in found.items()
        if address not in listed
    }


def _not_yet(placement: Placement, entry: LedgerEntry | None) -> Defect:
    if entry is None:
        return defect(Reason.OVER_LIMIT, resource=placement.resource)
    if entry.resource == placement.resource:
        return defect(Reason.RELEASED, resource=placement.resource)
    return defect(Reason.MOVING, old=entry.resource, new=placement.resource)  # its step is RELEASED


def _remember(ledger: Ledger, snapshot: Snapshot, taken: Collection[PciAddress]) -> Ledger:
    """Keep each VF as it was last seen, for who is asked for again while it is not there.

    But for nodes that are another's now, or that a pod has by another name: two would have one VF.
    """
    present = [vf for address in ledger if (vf := snapshot.vf(address))]
    seen = {vf.address: _without_nodes(vf) if vf.address in taken else vf for vf in present}
    if absent := [vf for entry in ledger.values() if (vf := entry.vf) and vf.nodes and vf.address not in seen]:
        owned = {node.path for vf in snapshot.vfs for node in vf.nodes}
        seen |= {vf.address: _without_nodes(vf) for vf in absent if any(node.path in owned for node in vf.nodes)}
    changed = {address: replace(ledger[address], vf=vf) for address, vf in seen.items() if vf != ledger[address].vf}
    return {**ledger, **changed} if changed else ledger


def _without_nodes(vf: VirtualFunction) -> VirtualFunction:
    return replace(vf, nodes=())


def _defect_in(
    address: PciAddress,
    resource: str,
    placement: Placement | None,
    snapshot: Snapshot,
    config: Config,
    context: PlacementContext,
) -> Defect | None:
    """Return what is wrong with a VF as a device of the resource that lists it, wherever it belongs now."""
    if placement and (placement.unknown_services or placement.resource == resource):
        return placement.defect
    vf = snapshot.vf(address)
    if vf is None:
        return defect(Reason.NOT_PRESENT)
    return defect_of(view_of(vf, snapshot, config, context), config.options(resource))


def _device(
    address: PciAddress,
    entry: LedgerEntry,
    snapshot: Snapshot,
    config: Config,
    context: PlacementContext,
    vf_defect: Defect | None,
) -> PoolDevice:
    vf = entry.vf
    return PoolDevice(
        address=address,
        pf=vf.pf if vf else None,
        numa_node=vf.numa_node if vf else None,
        nodes=_nodes(vf, entry.resource, config) if vf else (),
        vf_defect=vf_defect,
        withdrawn=entry.step in WITHDRAWN,
        cordoned=entry.step in MAYBE_IN_USE and entry.step in LEAVING,
        claimed_elsewhere=address in context.stale.taken,
        outdated=address in context.stale.outdated,
        shared=address in context.shared,
        functions=functions_of(address, snapshot),
    )


def _nodes(vf: VirtualFunction, resource: str, config: Config) -> tuple[str, ...]:
    """Return what a container needs to use a VF: its node, and the one all VFIO users share."""
    node = node_of(vf, config.options(resource).device_node)
    if node is None:
        return ()
    return (node.path, IOMMUFD_NODE if node.kind is NodeKind.CDEV else CONTAINER_NODE)
