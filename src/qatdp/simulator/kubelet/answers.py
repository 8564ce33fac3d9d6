"""Pods on paper, and what a kubelet answers about them: what a scenario sees, whichever kubelet it runs on."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


class KubeletEndedError(RuntimeError):
    """The kubelet has ended, or ended while it was asked; of a panic the text is its trace."""


class RefusedError(RuntimeError):
    """The kubelet answered with an error. Admissions do not raise it: a pod refused is their answer."""


class ContainerLike(Protocol):
    """A container, as far as devices go."""

    @property
    def name(self) -> str: ...

    @property
    def limits(self) -> Mapping[str, int]: ...

    @property
    def restartable(self) -> bool: ...


class PodLike(Protocol):
    """A pod, as far as devices go; another object with the same UID is the same pod."""

    @property
    def uid(self) -> str: ...

    @property
    def name(self) -> str: ...

    @property
    def namespace(self) -> str: ...

    @property
    def init(self) -> Sequence[ContainerLike]: ...

    @property
    def containers(self) -> Sequence[ContainerLike]: ...


@dataclass(frozen=True, slots=True)
class Container:
    """A container; `limits` is resource to count. `restartable` is for init containers and makes a sidecar of one."""

    name: str = "main"
    limits: Mapping[str, int] = field(default_factory=dict)
    restartable: bool = False


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod; another object with the same UID is the same pod."""

    name: str
    containers: tuple[Container, ...]
    init: tuple[Container, ...] = ()
    namespace: str = "default"
    uid: str = field(default_factory=lambda: str(uuid.uuid4()))

    @classmethod
    def of(cls, name: str = "pod", **limits: int) -> "Pod":
        """Return a pod of one container; limits by what stands behind qat.intel.com/."""
        counts = {f"qat.intel.com/{resource}": count for resource, count in limits.items()}
        return cls(name, (Container(limits=counts),))


@dataclass(frozen=True, slots=True)
class Ready:
    """What a kubelet says of itself once both its sockets accept."""

    kubernetes: str
    grpc: str
    word: str = ""


@dataclass(frozen=True, slots=True)
class Admission:
    """What became of a pod. `error` and `reason` are what the pod's status would say where it was refused."""

    admitted: bool
    reason: str | None = None
    error: str | None = None
    devices: Mapping[str, Mapping[str, frozenset[str]]] = field(default_factory=dict)  # by container and resource

    @property
    def ids(self) -> frozenset[str]:
        """All devices of the pod, of whichever container and resource."""
        return frozenset().union(*(ids for given in self.devices.values() for ids in given.values()))


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

    envs: Mapping[str, str] = field(default_factory=dict)
    devices: tuple[DeviceNode, ...] = ()
    mounts: tuple[Mount, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict)
    cdi: tuple[str, ...] = ()


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
    """The counts from a time on, which is one of the event loop's clock."""

    at_s: float
    resources: Mapping[str, Counts]
