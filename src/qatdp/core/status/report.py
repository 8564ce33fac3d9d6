"""What the running daemon tells of itself at one moment, and nobody else could: /status, the metrics, readiness.

A frozen value, so that who shows it never waits for the machine and never sees half of a change.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from typing import TypeAlias

from qatdp.core.model.pci import PciAddress

Plain: TypeAlias = "str | int | float | bool | list[Plain] | dict[str, Plain] | None"


@dataclass(frozen=True, slots=True)
class Holder:
    """A container that the kubelet names for a device. Of a pod that is known by its UID alone the name is None."""

    namespace: str | None
    pod: str | None
    container: str
    uid: str | None = None

    @property
    def pod_text(self) -> str:
        """The pod as people name it."""
        return f"{self.namespace}/{self.pod}" if self.pod else f"pod {self.uid}"

    @property
    def order(self) -> tuple[str, ...]:
        return (self.namespace or "", self.pod or "", self.container, self.uid or "")


@dataclass(frozen=True, slots=True)
class EndpointReport:
    """A resource's life with the kubelet; `registered` tells that its stream is open."""

    resource: str
    state: str
    registered: bool


@dataclass(frozen=True, slots=True)
class DeviceReport:
    """A VF as `qatdp devices` shows it."""

    address: str
    pf: str | None
    services: str | None
    resource: str | None
    numa_node: int | None
    iommu_group: int | None
    driver: str | None
    node: str | None
    health: str | None
    reason: str | None  # a code of core/reasons.py; `message` says it to people
    message: str | None = None
    hold: str | None = None  # who may have it; None where no list has it (core/release/protocol.py)
    proof: str | None = None  # how far it is proved that the hold can end
    withdrawing: bool = False
    holders: tuple[Holder, ...] = ()


@dataclass(frozen=True, slots=True)
class PfReport:
    """A PF: what it is, what health says of it, and how far it is from what it should be."""

    address: str
    family: str
    numa_node: int | None
    state: str | None  # up or down; None before gen4
    condition: str | None = None  # core/health/verdict.py
    healthy: bool = True
    reason: str | None = None  # the code that its VFs have (core/reasons.py); None where it is trusted
    message: str | None = None  # the evidence for the condition
    since_s: float | None = None  # of the condition, Unix time
    unavailable_signals: Mapping[str, str] | None = None  # why a signal of its health cannot be read, by signal
    counters: Mapping[str, int] | None = None  # the kernel's, by names such as "ras_fatal"
    phase: str | None = None  # core/provision/progress.py; None where it is not provisioned
    progress: str | None = None  # the same in words
    driver: str | None = None
    no_vfs: str | None = None  # why it has no VFs: a code of core/reasons.py
    no_vfs_message: str | None = None


@dataclass(frozen=True, slots=True)
class StatusEvent:
    """Something that changed; `at_s` is Unix time.

    `devices` are addresses and ranges of them (core/model/ranges.py), `count` how many addresses it was about: of very
    many not all are kept.
    """

    at_s: float
    what: str
    resource: str | None = None
    devices: tuple[str, ...] = ()
    count: int = 0
    reason: str | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True)
class ProblemReport:
    where: str
    message: str


@dataclass(frozen=True, slots=True)
class Report:
    """All of it. Times are Unix times, None for never."""

    version: str
    host_calls: str
    sysfs: str
    started_at_s: float
    scanned_at_s: float | None = None
    endpoints: tuple[EndpointReport, ...] = ()
    devices: tuple[DeviceReport, ...] = ()
    pfs: tuple[PfReport, ...] = ()
    problems: tuple[ProblemReport, ...] = ()
    checkpoint_written_at_s: float | None = None  # who holds what is from this checkpoint of the kubelet
    checkpoint_read_at_s: float | None = None  # there was no newer one then
    checkpoint_error: str | None = None  # why it last could not be read
    pods_listed_at_s: float | None = None  # the last PodResources List, from which names of pods can be
    history: tuple[StatusEvent, ...] = ()
    obstacle: str | None = None  # why the daemon has not come up; None once it has

    @property
    def not_ready(self) -> tuple[str, ...]:
        """Why pods cannot be served yet; nothing where they can."""
        return not_ready(self.obstacle, self.endpoints)


def not_ready(obstacle: str | None, endpoints: Iterable[EndpointReport]) -> tuple[str, ...]:
    """Return why pods cannot be served yet; nothing where they can. What is sick is no reason."""
    if obstacle:
        return (obstacle,)
    return tuple(f"{one.resource} is {one.state}" for one in endpoints if not one.registered)


def plain(value: object) -> Plain:
    """Return a report, or a part of one, as JSON has it."""
    if is_dataclass(value) and not isinstance(value, type):
        return {key: plain(getattr(value, name)) for name, key in json_keys(type(value))}
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    assert not isinstance(value, PciAddress), "an address is told as a text"
    if isinstance(value, tuple):
        return [plain(one) for one in value]
    assert value is None or isinstance(value, str | int | float), value
    return value


@cache
def json_keys(of: type) -> tuple[tuple[str, str], ...]:
    """Return the fields of a dataclass, each with its key in JSON: camelCase, without the unit.

    Times are all in seconds, which docs/status.md says once.
    """
    return tuple((field.name, _camel_case(field.name.removesuffix("_s"))) for field in fields(of))


def _camel_case(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
