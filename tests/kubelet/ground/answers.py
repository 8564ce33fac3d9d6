"""What the device manager answers, as values (devicemanager/commands.go has the other half)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Ready:
    """What the program says of itself once it accepts: versions by its own build information, and the word it got."""

    kubernetes: str
    grpc: str
    word: str


@dataclass(frozen=True, slots=True)
class Admission:
    """What became of a pod. `error` and `reason` are what the pod's status would say where it was refused."""

    admitted: bool
    reason: str | None
    error: str | None
    devices: Mapping[str, Mapping[str, frozenset[str]]]  # by container and resource; plain init containers' too

    @property
    def ids(self) -> frozenset[str]:
        """All devices of the pod, of whichever container and resource."""
        return frozenset().union(*(ids for given in self.devices.values() for ids in given.values()))

    @classmethod
    def read(cls, answer: Mapping[str, Any]) -> Self:
        devices = {
            container: {resource: frozenset(ids) for resource, ids in given.items()}
            for container, given in answer.get("devices", {}).items()
        }
        return cls(answer["ok"], answer.get("reason"), answer.get("error"), devices)


@dataclass(frozen=True, slots=True)
class DeviceNode:
    host: str
    container: str
    permissions: str


@dataclass(frozen=True, slots=True)
class Mount:
    host: str
    container: str
    read_only: bool


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What the runtime would be told of a container's devices, merged over its resources."""

    envs: Mapping[str, str]
    devices: tuple[DeviceNode, ...]
    mounts: tuple[Mount, ...]
    annotations: Mapping[str, str]
    cdi: tuple[str, ...]

    @classmethod
    def read(cls, options: Mapping[str, Any] | None) -> Self:
        """Translate the kubelet's DeviceRunContainerOptions; None is a container it knows no devices of."""
        of = {name: value or () for name, value in (options or {}).items()}
        return cls(
            {env["Name"]: env["Value"] for env in of.get("Envs", ())},
            tuple(DeviceNode(d["PathOnHost"], d["PathInContainer"], d["Permissions"]) for d in of.get("Devices", ())),
            tuple(Mount(m["HostPath"], m["ContainerPath"], m["ReadOnly"]) for m in of.get("Mounts", ())),
            {annotation["Name"]: annotation["Value"] for annotation in of.get("Annotations", ())},
            tuple(device["Name"] for device in of.get("CDIDevices", ())),
        )


@dataclass(frozen=True, slots=True)
class Counts:
    """What the node's status would say of a resource."""

    capacity: int
    allocatable: int


@dataclass(frozen=True, slots=True)
class Capacity:
    resources: Mapping[str, Counts]
    healthy: Mapping[str, frozenset[str]]  # IDs by resource


@dataclass(frozen=True, slots=True)
class Change:
    """The counts from a time on, which is one of time.monotonic()."""

    at_s: float
    resources: Mapping[str, Counts]


def read_counts(resources: Mapping[str, Any]) -> Mapping[str, Counts]:
    return {resource: Counts(of["capacity"], of["allocatable"]) for resource, of in resources.items()}


def read_health(status: Mapping[str, Any]) -> Mapping[str, Mapping[str, Mapping[str, str]]]:
    """Translate a pod's status into health by container, resource and ID."""
    return {
        container["name"]: {
            resource["name"]: {device["resourceID"]: device["health"] for device in resource["resources"]}
            for resource in container.get("allocatedResourcesStatus", ())
        }
        for container in status.get("containerStatuses", ())
    }
