"""Ledger: what the kubelet keeps in memory of devices and pods (dm/manager.go, dm/pod_devices.go). No I/O."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from qatdp.api import deviceplugin_v1beta1_pb2 as api
from qatdp.simulator.kubelet.answers import PodLike

HEALTHY = "Healthy"  # any other word is not: nothing is read but this very one
NO_NUMA_NODE = -1


@dataclass(frozen=True, slots=True)
class Given:
    """What a container was given of a resource: IDs by NUMA node, and the plugin's answer."""

    ids_by_node: Mapping[int, tuple[str, ...]]
    answer: api.ContainerAllocateResponse

    @property
    def ids(self) -> frozenset[str]:
        return frozenset(text for of_node in self.ids_by_node.values() for text in of_node)

    def node_by_device(self) -> Iterator[tuple[str, int | None]]:
        """Yield each device once for each NUMA node it has; None for one without."""
        for node, ids in self.ids_by_node.items():
            for text in ids:
                yield text, None if node == NO_NUMA_NODE else node


GivenTo: TypeAlias = dict[str, dict[str, dict[str, Given]]]  # by the pod's UID, container and resource


@dataclass(slots=True)
class Ledger:
    """A kubelet's memory. It ends with it: what the next one knows comes from the checkpoint.

    `in_use` is what may not be chosen. It is corrected by what `given` says now and then only: what is chosen for
    nothing can stay in use.
    """

    devices: dict[str, dict[str, api.Device]] = field(default_factory=dict)  # by resource and ID: the last lists
    healthy: dict[str, set[str]] = field(default_factory=dict)
    unhealthy: dict[str, set[str]] = field(default_factory=dict)
    in_use: dict[str, set[str]] = field(default_factory=dict)
    given: GivenTo = field(default_factory=dict)
    pods: dict[str, PodLike] = field(default_factory=dict)  # those that are active
    ended: dict[str, PodLike] = field(default_factory=dict)
    sources_ready: bool = True
    running: frozenset[tuple[str, str]] = frozenset()  # what the runtime reported at the start: UID, container

    def replace(self, resource: str, devices: Iterable[api.Device]) -> None:
        """Take a list. Of an ID that comes twice the last health counts, but it is in both sets where these differ."""
        devices = tuple(devices)
        self.devices[resource] = {device.ID: device for device in devices}
        self.healthy[resource] = {device.ID for device in devices if device.health == HEALTHY}
        self.unhealthy[resource] = {device.ID for device in devices if device.health != HEALTHY}

    def disconnect(self, resource: str) -> None:
        """Take all devices of a resource for unhealthy: it has no plugin any more."""
        unhealthy = self.unhealthy.setdefault(resource, set())
        unhealthy |= self.healthy.get(resource, set())
        if resource in self.healthy:
            self.healthy[resource] = set()

    def drop(self, resource: str) -> None:
        self.healthy.pop(resource, None)
        self.unhealthy.pop(resource, None)

    def knows(self, resource: str) -> bool:
        """Return whether it is a resource of plugins at all; what is not is passed over in silence."""
        return resource in self.healthy or resource in self.in_use

    def allocatable(self) -> Mapping[str, Mapping[str, api.Device]]:
        """Return the healthy devices of each resource whose list was read."""
        return {
            resource: {text: device for text, device in self.devices[resource].items() if text in ids}
            for resource, ids in self.healthy.items()
            if resource in self.devices
        }

    # Pods

    def of_container(self, uid: str, container: str) -> Mapping[str, Given]:
        return self.given.get(uid, {}).get(container, {})

    def give(self, uid: str, container: str, resource: str, given: Given) -> None:
        self.given.setdefault(uid, {}).setdefault(container, {})[resource] = given

    def prune(self) -> None:
        """Free what pods have that are not active any more; nothing while the sources of pods are not ready."""
        if self.sources_ready and (gone := self.given.keys() - self.pods.keys()):
            for uid in gone:
                del self.given[uid]
            self.recount()

    def recount(self) -> None:
        """Correct what is in use by what is given."""
        self.in_use = {}
        for containers in self.given.values():
            for resources in containers.values():
                for resource, given in resources.items():
                    self.in_use.setdefault(resource, set()).update(given.ids)

    def holder(self, text: str, resource: str | None) -> str | None:
        """Return the UID of a pod that has a device of that ID; in any resource where that is None."""
        for uid, containers in self.given.items():
            for resources in containers.values():
                if any(text in given.ids for of, given in resources.items() if resource in (None, of)):
                    return uid
        return None
