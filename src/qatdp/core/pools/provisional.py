"""Provisional lists: what is registered while the daemon cannot come up, so that running pods can restart containers.

Five minutes after the last endpoint of a name ended, the kubelet starts no container of a pod that has a device of it
("endpoint not found in cache for a registered resource"), until some endpoint of that name is registered again
(k8s.io/kubernetes pkg/kubelet/cm/devicemanager, GetDeviceRunContainerOptions). A list that lacks an ID which is being
allocated crashes the kubelet (core/release/protocol.py), so a provisional one has every ID that the kubelet may know,
all Unhealthy. Where that cannot be had, or another plugin serves the name, there is none. Pure: no file, no kubelet.

The checkpoint names what pods have and what is Healthy. An ID that was Unhealthy and free when the plugin ended is
named nowhere: a list without it does no harm, as the kubelet chooses no such ID.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from qatdp.core.config.model import is_ours
from qatdp.core.model.pci import PciAddress
from qatdp.core.pools.pools import PoolDevice, Pools, ResourcePool
from qatdp.core.reasons import Defect

Lists: TypeAlias = Mapping[str, frozenset[PciAddress]]


@dataclass(frozen=True, slots=True)
class Provisional:
    """The IDs to list, by resource; and why nothing is registered for each other resource that the kubelet knows."""

    lists: Lists
    refused: Mapping[str, str]


def provisional(known: Mapping[str, Collection[str]], healthy: Mapping[str, Collection[str]]) -> Provisional:
    """Return what to list of the IDs that the checkpoint knows, by resource, given those that the kubelet may hand out.

    The kubelet hands out IDs only while a plugin serves them. So none of those is in a provisional list.
    """
    lists: dict[str, frozenset[PciAddress]] = {}
    refused: dict[str, str] = {}
    for resource in sorted(name for name in known if is_ours(name)):
        addresses = {text: PciAddress.parse_or_none(text) for text in known[resource]}
        foreign = sorted(text for text, address in addresses.items() if str(address) != text)
        if healthy.get(resource):
            refused[resource] = "another plugin serves it: the kubelet may hand out its devices"
        elif foreign:
            refused[resource] = f"the kubelet knows a device of it that is none of ours: {foreign[0]}"
        else:
            lists[resource] = frozenset(address for address in addresses.values() if address)
    return Provisional(lists, refused)


def never_fewer(
    lists: Mapping[str, frozenset[PciAddress]], before: Iterable[ResourcePool]
) -> Mapping[str, frozenset[PciAddress]]:
    """Return lists with all that they had before: a checkpoint forgets a plugin's IDs as soon as they are Unhealthy."""
    listed = {pool.resource: frozenset(device.address for device in pool.devices) for pool in before}
    return {name: lists.get(name, frozenset()) | listed.get(name, frozenset()) for name in {**lists, **listed}}


def provisional_pools(lists: Lists, why: Defect) -> Pools:
    """Return pools of these IDs, each of them Unhealthy and without nodes, so that none can be allocated."""
    return Pools(
        {
            resource: ResourcePool(resource, tuple(PoolDevice(address, vf_defect=why) for address in sorted(addresses)))
            for resource, addresses in lists.items()
        },
        {},
    )
