"""What the running daemon tells of itself at one moment, and nobody else could: /status, the metrics, readiness.

A frozen value, so that who shows it never waits for the machine and never sees half of a change.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from typing import TypeAlias

from qatdp.core.pci import PciAddress

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
    """A VF as `qatdp devices` shows it; `step` says how far it is from leaving its list (core/holders.py)."""

    address: str
    pf: str | None
    services: str | None
    resource: str | None
    numa_node: int | None
    iommu_group: int | None
    driver: str | None
    node: str | None
    health: str | None
    reason: str | None
    step: str | None = None
    leaving: bool = False
    holders: tuple[Holder, ...] = ()


@dataclass(frozen=True, slots=True)
class PfReport:
    """A PF. `condition` and `reason` are what core/health.py says of it; `unseen` tells by signal why one is not seen.

    `counters` are those of the kernel, by names such as "ras_fatal". `phase` is how far it is from what it should be
    (core/progress.py), `progress` the same in words; None where it is not managed. `no_vfs` says why it has no VFs.
    """

    address: str
    family: str
    numa_node: int | None
    state: str | None
    condition: str | None = None
    healthy: bool = True
    reason: str | None = None
    since_s: float | None = None
    unseen: Mapping[str, str] | None = None
    counters: Mapping[str, int] | None = None
    phase: str | None = None
    progress: str | None = None
    driver: str | None = None
    no_vfs: str | None = None


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that changed; `at_s` is Unix time.

    `devices` are addresses and ranges of them (core/ranges.py), `count` how many addresses it was about: of very many
    not all are kept.
    """

    at_s: float
    what: str
    resource: str | None = None
    devices: tuple[str, ...] = ()
    count: int = 0
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class ProblemReport:
    where: str
    reason: str


@dataclass(frozen=True, slots=True)
class Report:
    """All of it. Times are Unix times; `scanned_s` is None before the first look has come back.

    `obstacle` tells why the daemon has not come up, None once it has.
    Who holds what is from the kubelet's checkpoint of `holders_written_s`, and there was no newer one at
    `holders_read_s`, None for never; `holders_unread` is why it last could not be read. Names of pods can be from a
    PodResources List, the last of which was answered at `holders_listed_s`.
    """

    version: str
    host_calls: str
    sysfs: str
    started_s: float
    scanned_s: float | None = None
    endpoints: tuple[EndpointReport, ...] = ()
    devices: tuple[DeviceReport, ...] = ()
    pfs: tuple[PfReport, ...] = ()
    problems: tuple[ProblemReport, ...] = ()
    holders_written_s: float | None = None
    holders_read_s: float | None = None
    holders_listed_s: float | None = None
    holders_unread: str | None = None
    history: tuple[Happening, ...] = ()
    obstacle: str | None = None

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
        return {name: plain(getattr(value, name)) for name in _names(type(value))}
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    assert not isinstance(value, PciAddress), "an address is told as a text"
    if isinstance(value, tuple):
        return [plain(one) for one in value]
    assert value is None or isinstance(value, str | int | float), value
    return value


@cache
def _names(of: type) -> tuple[str, ...]:
    return tuple(field.name for field in fields(of))
