"""The ledger of who may hold a VF, and the release protocol: how a device ID leaves the list of its resource.

The kubelet crashes, or gives one device to two pods, when an ID that may be in use leaves its list or comes up in
another (k8s.io/kubernetes pkg/kubelet/cm/devicemanager, 1.34 to 1.37). It never says that a device is free again. So an
ID is let go only after facts that were established one after the other, each begun after the one before had ended; a
fact that is missing, or could not be read, leaves the ID where it is.

An ID has a `Hold`, which says who may have it, and a `Proof`, which says how far it is proved that the hold can end:

    a  it was sent as Unhealthy                              Sent
    b  the kubelet offers it no more: it took that list      SeenByKubelet
    c  no call is in flight, and a grace has passed          Quiet
    d  the checkpoint as it is names it for nobody,
       or else PodResources does (List)                      NotInPods
    e  its list was sent once more: a checkpoint is due      ListResent
    f  that checkpoint names it for nobody                   and what is WITHDRAWN is RELEASED

What proves that nobody has it is f alone: the checkpoint is written from what the kubelet has in memory (podDevices),
and List shows no more than that. But the kubelet forgets a pod that has ended only when it admits another pod or serves
a List. So List is needed where the checkpoint still names a device whose pod may have ended, and nowhere else.

A node that admits pods without pause has no quiet moment for d. There the admissions prove the same: each one forgets
the pods that have ended, calls Allocate, and then writes the checkpoint (allocateContainerResources). So an Allocate of
ours that began after c, and a checkpoint that names what it granted, prove d to f at once, if that checkpoint names the
ID for nobody. That it names what was granted shows that it was written after the answer.

What somebody is known to have is not withdrawn, so a running pod's device is not shown as Unhealthy because it will
leave: it is CORDONED, and looked for by the same d, e and f, until nobody has it. Then it is withdrawn as any other.
What stays is looked for as well, while anything leaves, and is AVAILABLE again once nobody has it.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum, StrEnum
from types import MappingProxyType
from typing import TypeAlias

from qatdp.core.model.pci import PciAddress
from qatdp.core.model.snapshot import VirtualFunction


class Hold(StrEnum):
    """Who may have an ID, and whether the list of its resource has it."""

    NEW = "New"  # in no list that a kubelet can have read
    AVAILABLE = "Available"  # in such a list; nobody is known to have it
    HELD = "Held"  # somebody may have it
    CORDONED = "Cordoned"  # held, and to leave once it is not
    WITHDRAWN = "Withdrawn"  # on its way out of the list, as Unhealthy
    RELEASED = "Released"  # out of the list; the list without it has yet to be sent
    GONE = "Gone"  # no list has it: it may be listed again, anywhere


class Proof(StrEnum):
    """How far it is proved that a hold can end; each was established after the one before."""

    NONE = "None"
    SENT = "Sent"
    SEEN_BY_KUBELET = "SeenByKubelet"
    QUIET = "Quiet"
    NOT_IN_PODS = "NotInPods"
    LIST_RESENT = "ListResent"


class Step(Enum):
    """A hold and its proof: how far an ID is from leaving its list. There are no other pairs."""

    NEW = (Hold.NEW, Proof.NONE)
    AVAILABLE = (Hold.AVAILABLE, Proof.NONE)
    HELD = (Hold.HELD, Proof.NONE)
    HELD_NOT_IN_PODS = (Hold.HELD, Proof.NOT_IN_PODS)
    HELD_LIST_RESENT = (Hold.HELD, Proof.LIST_RESENT)
    CORDONED = (Hold.CORDONED, Proof.NONE)
    CORDONED_NOT_IN_PODS = (Hold.CORDONED, Proof.NOT_IN_PODS)
    CORDONED_LIST_RESENT = (Hold.CORDONED, Proof.LIST_RESENT)
    WITHDRAWN = (Hold.WITHDRAWN, Proof.NONE)
    SENT = (Hold.WITHDRAWN, Proof.SENT)
    SEEN_BY_KUBELET = (Hold.WITHDRAWN, Proof.SEEN_BY_KUBELET)
    QUIET = (Hold.WITHDRAWN, Proof.QUIET)
    NOT_IN_PODS = (Hold.WITHDRAWN, Proof.NOT_IN_PODS)
    LIST_RESENT = (Hold.WITHDRAWN, Proof.LIST_RESENT)
    RELEASED = (Hold.RELEASED, Proof.NONE)
    GONE = (Hold.GONE, Proof.NONE)

    def __init__(self, hold: Hold, proof: Proof) -> None:
        self.hold, self.proof = hold, proof

    def __str__(self) -> str:
        return str(self.hold) if self.proof is Proof.NONE else f"{self.hold}/{self.proof}"


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


# The proofs that a hold needs, in their order, and the hold that it is followed by once all are there.
_FOR_A_POD = (Proof.NONE, Proof.NOT_IN_PODS, Proof.LIST_RESENT)
CHAINS: Mapping[Hold, tuple[Proof, ...]] = MappingProxyType(
    {Hold.HELD: _FOR_A_POD, Hold.CORDONED: _FOR_A_POD, Hold.WITHDRAWN: tuple(Proof)}
)
PROVED: Mapping[Hold, Hold] = MappingProxyType(
    {Hold.HELD: Hold.AVAILABLE, Hold.CORDONED: Hold.WITHDRAWN, Hold.WITHDRAWN: Hold.RELEASED}
)

# What establishes a proof, once the one before it is there; f, the last fact, ends the chain.
EVIDENCE: Mapping[Proof, frozenset[Fact]] = MappingProxyType(
    {
        Proof.SENT: frozenset({Fact.LISTED}),
        Proof.SEEN_BY_KUBELET: frozenset({Fact.OVERTAKEN}),
        Proof.QUIET: frozenset({Fact.IDLE}),
        Proof.NOT_IN_PODS: frozenset({Fact.UNWRITTEN, Fact.NOT_IN_PODS}),
        Proof.LIST_RESENT: frozenset({Fact.LISTED}),
    }
)
# An admission proves d to f at once. What is withdrawn needs a to c before: a call could still choose it.
BEFORE_D = frozenset({Step.WITHDRAWN, Step.SENT, Step.SEEN_BY_KUBELET})

# What changes a hold, whatever was proved.
HOLDS: Mapping[Hold, Mapping[Fact, Hold]] = MappingProxyType(
    {
        Hold.NEW: {
            Fact.LEAVE: Hold.GONE,
            Fact.HANDED: Hold.AVAILABLE,
            Fact.ALLOCATED: Hold.HELD,
            Fact.NAMED: Hold.HELD,
        },
        Hold.AVAILABLE: {Fact.LEAVE: Hold.WITHDRAWN, Fact.ALLOCATED: Hold.HELD, Fact.NAMED: Hold.HELD},
        Hold.HELD: {Fact.LEAVE: Hold.CORDONED},
        Hold.CORDONED: {Fact.STAY: Hold.HELD},
        Hold.WITHDRAWN: {
            Fact.STAY: Hold.AVAILABLE,
            Fact.ALLOCATED: Hold.CORDONED,
            Fact.NAMED: Hold.CORDONED,
        },
        Hold.RELEASED: {Fact.STAY: Hold.AVAILABLE, Fact.LISTED: Hold.GONE, Fact.CUT: Hold.GONE},
        Hold.GONE: {},
    }
)
_STEPS = {(step.hold, step.proof): step for step in Step}
# What takes away all that was proved of a hold.
DISPROVING = frozenset({Fact.ALLOCATED, Fact.NAMED, Fact.CUT})


def _next(step: Step, fact: Fact) -> Step:
    """Return what follows from a fact; the step itself where the fact changes nothing."""
    hold, proof = step.hold, step.proof
    if fact in HOLDS[hold]:
        return _STEPS[HOLDS[hold][fact], Proof.NONE]
    if hold not in CHAINS:
        return step
    if fact in DISPROVING:
        return _STEPS[hold, Proof.NONE]
    # The kubelet may choose it again, from a list that it had before b.
    if fact is Fact.ASKED and hold is Hold.WITHDRAWN and proof not in (Proof.NONE, Proof.SENT):
        return Step.SENT
    if fact is Fact.ADMITTED_WITHOUT and step not in BEFORE_D:
        return _STEPS[PROVED[hold], Proof.NONE]
    following = CHAINS[hold][CHAINS[hold].index(proof) + 1 :]
    if not following:
        return _STEPS[PROVED[hold], Proof.NONE] if fact is Fact.NOT_IN_CHECKPOINT else step
    return _STEPS[hold, following[0]] if fact in EVIDENCE[following[0]] else step


TABLE: Mapping[Step, Mapping[Fact, Step]] = MappingProxyType(
    {step: {fact: _next(step, fact) for fact in Fact if _next(step, fact) is not step} for step in Step}
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

STAYING = frozenset(step for step in Step if step.hold is Hold.HELD)
MAYBE_IN_USE = frozenset(step for step in Step if step.hold in (Hold.HELD, Hold.CORDONED))
WITHDRAWN = frozenset(step for step in Step if step.hold is Hold.WITHDRAWN)
OUT_OF_LIST = frozenset({Step.RELEASED, Step.GONE})
LEAVING = frozenset(step for step in Step if step.hold in (Hold.CORDONED, Hold.WITHDRAWN))


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
    for step, ids in ((Step.HELD, named), (Step.AVAILABLE, offered)):
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
