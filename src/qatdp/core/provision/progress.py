"""Progress: how far each PF is from what it should be, for people and for metrics."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from qatdp.core.model.pci import PciAddress
from qatdp.core.provision.planner import PfPlan
from qatdp.core.provision.reconcile import ReconcileInput, ReconcilePlan, becomes
from qatdp.core.release.protocol import Hold
from qatdp.core.status.report import DeviceReport


class Phase(StrEnum):
    READY = "Ready"
    IN_USE = "InUse"  # pods have it, and all its VFs are offered
    UNCORDONED = "Uncordoned"  # the same, after it was drained for too long
    CORDONED = "Cordoned"  # pods have it, and its free VFs are offered to nobody
    QUEUED = "Queued"  # others come first
    WITHDRAWING = "Withdrawing"  # its VFs are on their way out of their lists
    CONFIGURING = "Configuring"
    BACKING_OFF = "BackingOff"  # it has failed, and is tried again


KEPT = frozenset({Phase.IN_USE, Phase.UNCORDONED, Phase.CORDONED})


@dataclass(frozen=True, slots=True)
class Users:
    """How many VFs of a PF are held, and by which pods, as far as the kubelet has said so."""

    vfs: int = 0
    pods: frozenset[str] = frozenset()

    def with_(self, device: DeviceReport) -> "Users":
        pods = {holder.pod_text for holder in device.holders}
        return Users(self.vfs + 1, self.pods | pods)


def users_by_pf(devices: Iterable[DeviceReport]) -> Mapping[str, Users]:
    """Return the users of each PF that has any."""
    found: dict[str, Users] = {}
    for one in devices:
        if one.pf and (one.holders or one.hold in (Hold.HELD, Hold.CORDONED)):
            found[one.pf] = found.get(one.pf, Users()).with_(one)
    return found


@dataclass(frozen=True, slots=True)
class Progress:
    """`goal` is what it is to become; `why` tells what it waits for, or what went wrong."""

    phase: Phase
    goal: str
    why: str | None = None

    def told(self, users: Users) -> str:
        """Return it in words, such as "Cordoned, to become dc: 3 VFs held by ns/pod"."""
        if self.phase is Phase.READY:
            return f"{self.phase}: {self.goal}"
        text = f"{self.phase}, to become {self.goal}"
        if self.phase in KEPT and users.vfs:
            plural = "s" if users.vfs > 1 else ""
            return f"{text}: {users.vfs} VF{plural} held by {', '.join(sorted(users.pods)) or 'pods'}"
        return f"{text}: {self.why}" if self.why else text


def progress(
    todo: ReconcilePlan, now: ReconcileInput, failed: Mapping[PciAddress, str]
) -> Mapping[PciAddress, Progress]:
    """Return it of each PF that the spec takes; `failed` says why a PF rests."""
    return dict(_progress(todo, now, failed))


def _progress(
    todo: ReconcilePlan, now: ReconcileInput, failed: Mapping[PciAddress, str]
) -> Iterator[tuple[PciAddress, Progress]]:
    ready = {one.address for one in todo.ready}
    for one in todo.plan.pfs:
        if one.goal:
            phase = _phase(one, todo, now, ready)
            why = {Phase.READY: None, Phase.BACKING_OFF: failed.get(one.address)}.get(
                phase, str(one.why) if one.why else None
            )
            yield one.address, Progress(phase, becomes(one), why)


def _phase(one: PfPlan, todo: ReconcilePlan, now: ReconcileInput, ready: Iterable[PciAddress]) -> Phase:
    if one.later:
        if one.address in todo.given_back:
            return Phase.UNCORDONED
        return Phase.CORDONED if one.address in todo.changing else Phase.IN_USE
    if not one.steps:
        return Phase.READY
    if one.address in now.resting:
        return Phase.BACKING_OFF
    if one.address in ready:
        return Phase.CONFIGURING
    return Phase.WITHDRAWING if one.address in todo.changing else Phase.QUEUED
