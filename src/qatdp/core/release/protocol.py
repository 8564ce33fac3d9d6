"""The ledger on who may hold a VF, and the release protocol: how a device ID leaves the list of its resource.

The kubelet crashes, or gives one device to two pods, when an ID that may be in use leaves its list or comes up in
another (k8s.io/kubernetes pkg/kubelet/cm/devicemanager, 1.34 to 1.37). It never says that a device is free again. So an
ID is let go only after facts that were established one after the other, each begun after the one before had ended; a
fact that is missing, or could not be read, leaves the ID where it is.

    a  it was sent as Unhealthy                              WITHDRAWN -> SENT
    b  the kubelet offers it no more: it took that list           SENT -> TAKEN
    c  no call is in flight, and a grace has passed              TAKEN -> QUIET
    d  the checkpoint as it is names it for nobody,
       or else PodResources does (List)                          QUIET -> UNNAMED
    e  its list was sent once more: a checkpoint is due        UNNAMED -> REWRITTEN
    f  that checkpoint names it for nobody                   REWRITTEN -> RELEASED

What proves that nobody has it is f alone: the checkpoint is written from what the kubelet has in memory (podDevices),
and List shows no more than that. But the kubelet forgets a pod that has ended only when it admits another pod or serves
a List. So List is needed where the checkpoint still names a device whose pod may have ended, and nowhere else.

A node that admits pods without pause has no quiet moment for d. There the admissions prove the same: each one forgets
the pods that have ended, calls Allocate, and then writes the checkpoint (allocateContainerResources). So an Allocate of
ours that began after a step was reached, and a checkpoint that names what it granted, prove d to f at once:

    any of QUIET, UNNAMED, REWRITTEN  -> RELEASED

if that checkpoint names the ID for nobody. That it names what was granted shows that it was written after the answer.

What somebody is known to have is not withdrawn, so a running pod's device is not shown as Unhealthy for a spec: it is
AWAITED, and looked for by the same d, e and f, until nobody has it. Then it is withdrawn as any other. What is to stay
is looked for as well, while anything is, and is no longer HELD once nobody has it.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import TypeAlias

from qatdp.core.model.pci import PciAddress
from qatdp.core.model.snapshot import VirtualFunction


class Step(StrEnum):
    """How far an ID is from leaving the list of its resource."""

    NEW = "new"  # in no list that a kubelet can have read
    OFFERED = "offered"  # in such a list; nobody is known to have it
    HELD = "held"  # somebody may have it
    UNSEEN = "unseen"  # held; PodResources named it for nobody
    UNCLAIMED = "unclaimed"  # and its list was sent after that
    AWAITED = "awaited"  # held, and to leave once it is not
    LOOKED = "looked"  # awaited; PodResources named it for nobody
    RELISTED = "relisted"  # and its list was sent after that
    WITHDRAWN = "withdrawn"  # to be sent as Unhealthy
    SENT = "sent"
    TAKEN = "taken"
    QUIET = "quiet"
    UNNAMED = "unnamed"
    REWRITTEN = "rewritten"
    RELEASED = "released"  # out of the list; the list without it is to be sent
    GONE = "gone"  # no list has it: it may be listed again, anywhere


class Fact(StrEnum):
    """What can become known of an ID."""

    LEAVE = "leave"  # it belongs elsewhere, or nowhere
    STAY = "stay"  # it belongs where it is
    ALLOCATED = "allocated"  # an Allocate that named it was answered
    ASKED = "asked"  # a GetPreferredAllocation named it: the kubelet is about to choose, from what it knew by then
    NAMED = "named"  # PodResources or the checkpoint names it for a container
    HANDED = "handed"  # the list of its resource is about to be written to a stream: it can be read from now on
    LISTED = "listed"  # the list of its resource was written to the kubelet's stream
    CUT = "cut"  # its resource has no stream
    OVERTAKEN = "overtaken"  # the kubelet offers just what the last list says
    IDLE = "idle"  # no call in flight, grace over
    UNWRITTEN = "unwritten"  # while no call came, the checkpoint as it is named it for nobody
    NOT_IN_PODS = "not-in-pods"  # PodResources names it for nobody
    NOT_IN_CHECKPOINT = "not-in-checkpoint"  # a checkpoint written since names it for nobody
    # An Allocate began since and was granted, and the checkpoint that the kubelet wrote for it names it for nobody.
    ADMITTED_WITHOUT = "admitted-without"


def _to(step: Step) -> Mapping[Fact, Step]:
    """Return d, which has two ways to be established."""
    return {Fact.UNWRITTEN: step, Fact.NOT_IN_PODS: step}


# Where a step is not named with a fact, the fact changes nothing.
_HELD_AGAIN = {Fact.NAMED: Step.HELD, Fact.ALLOCATED: Step.HELD, Fact.CUT: Step.HELD, Fact.LEAVE: Step.AWAITED}
_STILL_HELD = {Fact.NAMED: Step.AWAITED, Fact.ALLOCATED: Step.AWAITED, Fact.CUT: Step.AWAITED, Fact.STAY: Step.HELD}
_TAKEN_BACK = {
    Fact.NAMED: Step.AWAITED,
    Fact.ALLOCATED: Step.AWAITED,
    Fact.CUT: Step.WITHDRAWN,
    Fact.STAY: Step.OFFERED,
}
_PROVED = {**_TAKEN_BACK, Fact.ASKED: Step.SENT}
# What an admission proves, wherever the release has come to.
_FREE = {Fact.ADMITTED_WITHOUT: Step.OFFERED}
_LEFT = {Fact.ADMITTED_WITHOUT: Step.WITHDRAWN}
_OUT = {Fact.ADMITTED_WITHOUT: Step.RELEASED}
TABLE: Mapping[Step, Mapping[Fact, Step]] = MappingProxyType(
    {
        Step.NEW: {
            Fact.LEAVE: Step.GONE,
            Fact.HANDED: Step.OFFERED,
            Fact.ALLOCATED: Step.HELD,
            Fact.NAMED: Step.HELD,
        },
        Step.OFFERED: {Fact.LEAVE: Step.WITHDRAWN, Fact.ALLOCATED: Step.HELD, Fact.NAMED: Step.HELD},
        Step.HELD: {Fact.LEAVE: Step.AWAITED, **_to(Step.UNSEEN), **_FREE},
        Step.UNSEEN: {**_HELD_AGAIN, **_FREE, Fact.LISTED: Step.UNCLAIMED},
        Step.UNCLAIMED: {**_HELD_AGAIN, **_FREE, Fact.NOT_IN_CHECKPOINT: Step.OFFERED},
        Step.AWAITED: {Fact.STAY: Step.HELD, **_to(Step.LOOKED), **_LEFT},
        Step.LOOKED: {**_STILL_HELD, **_LEFT, Fact.LISTED: Step.RELISTED},
        Step.RELISTED: {**_STILL_HELD, **_LEFT, Fact.NOT_IN_CHECKPOINT: Step.WITHDRAWN},
        Step.WITHDRAWN: {**_TAKEN_BACK, Fact.LISTED: Step.SENT},
        Step.SENT: {**_TAKEN_BACK, Fact.OVERTAKEN: Step.TAKEN},
        Step.TAKEN: {**_PROVED, Fact.IDLE: Step.QUIET},
        Step.QUIET: {**_PROVED, **_to(Step.UNNAMED), **_OUT},
        Step.UNNAMED: {**_PROVED, **_OUT, Fact.LISTED: Step.REWRITTEN},
        Step.REWRITTEN: {**_PROVED, **_OUT, Fact.NOT_IN_CHECKPOINT: Step.RELEASED},
        Step.RELEASED: {Fact.LISTED: Step.GONE, Fact.CUT: Step.GONE, Fact.STAY: Step.OFFERED},
        Step.GONE: {},
    }
)

# Facts that count only where they were begun after the step was reached.
LATER = frozenset(
    {
        Fact.LISTED,
        Fact.OVERTAKEN,
        Fact.IDLE,
        Fact.UNWRITTEN,
        Fact.NOT_IN_PODS,
        Fact.NOT_IN_CHECKPOINT,
        Fact.ADMITTED_WITHOUT,
    }
)

# Facts that let an ID go, and that are not so while an Allocate which names it is under way.
RELEASING = LATER - {Fact.LISTED, Fact.OVERTAKEN}

STAYING = frozenset({Step.HELD, Step.UNSEEN, Step.UNCLAIMED})
MAYBE_IN_USE = STAYING | {Step.AWAITED, Step.LOOKED, Step.RELISTED}
WITHDRAWN = frozenset({Step.WITHDRAWN, Step.SENT, Step.TAKEN, Step.QUIET, Step.UNNAMED, Step.REWRITTEN})
OUT_OF_LIST = frozenset({Step.RELEASED, Step.GONE})
LEAVING = WITHDRAWN | {Step.AWAITED, Step.LOOKED, Step.RELISTED}


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """What is known of one ID. `since` is the moment, on the daemon's own count, at which it came to its step."""

    resource: str
    step: Step
    since: int
    vf: VirtualFunction | None = None  # as last seen: a VF can vanish while it is held


Ledger: TypeAlias = Mapping[PciAddress, LedgerEntry]


@dataclass(frozen=True, slots=True)
class Observation:
    """A fact about some IDs: `began` is the moment it was begun to be established, `moment` the one it is known at."""

    fact: Fact
    of: Collection[PciAddress]
    began: int
    moment: int


def next_step(step: Step, fact: Fact) -> Step:
    return TABLE[step].get(fact, step)


def observe(ledger: Ledger, seen: Observation) -> Ledger:
    """Return the ledger after an observation; the same object where it changes nothing."""
    changed = {}
    for address in seen.of:
        entry = ledger.get(address)
        if entry is None or (seen.fact in LATER and seen.began <= entry.since):
            continue
        step = next_step(entry.step, seen.fact)
        if step is not entry.step:
            changed[address] = replace(entry, step=step, since=seen.moment)
    return {**ledger, **changed} if changed else ledger


def found(named: Iterable[tuple[PciAddress, str]], offered: Iterable[tuple[PciAddress, str]], moment: int) -> Ledger:
    """Return the ledger of a daemon that has just started.

    Each ID comes with its resource. What the kubelet's state name is held; what it may hand out at this moment, from
    the list of a daemon that still runs, is in a list that it has read. Were one named under two resources, the first
    in order of names has it: the kubelet's own state cannot be that wrong, and an ID must be in one list.
    """
    ledger: dict[PciAddress, LedgerEntry] = {}
    for step, ids in ((Step.HELD, named), (Step.OFFERED, offered)):
        for address, resource in sorted(ids):
            ledger.setdefault(address, LedgerEntry(resource, step, moment))
    return ledger


def settle(ledger: Ledger, places: Mapping[PciAddress, str], moment: int) -> Ledger:
    """Return the ledger after each ID was told where it belongs; one that `places` leaves out belongs nowhere.

    IDs that belong somewhere and are in no list are entered as new; those that no list has any more are forgotten.
    """
    settled: dict[PciAddress, LedgerEntry] = {}
    for address, entry in ledger.items():
        fact = Fact.STAY if places.get(address) == entry.resource else Fact.LEAVE
        step = next_step(entry.step, fact)
        if step is not Step.GONE:
            settled[address] = entry if step is entry.step else replace(entry, step=step, since=moment)
    for address, resource in places.items():
        if address not in settled:
            settled[address] = LedgerEntry(resource, Step.NEW, moment)
    return settled
