"""Node: what is known of this node, and one feed per resource that comes of it. State of the event loop, no I/O.

Whatever becomes known (a snapshot, a configuration, a fact about an ID) leads to the same function of all of it.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping

from qatdp.core.config.model import Config, is_ours
from qatdp.core.model.pci import PciAddress
from qatdp.core.model.ranges import as_ranges
from qatdp.core.model.snapshot import Snapshot
from qatdp.core.pools.placement import PlacementContext
from qatdp.core.pools.pools import Pools, ResourcePool, build_pools
from qatdp.core.pools.provisional import Lists, never_fewer, provisional_pools
from qatdp.core.pools.stale import CheckpointEntry, Stale, stale_allocations
from qatdp.core.provision.progress import Progress
from qatdp.core.reasons import Defect, Reason, defect
from qatdp.core.release.kubelet_calls import Calls
from qatdp.core.release.protocol import (
    LEAVING,
    MAYBE_IN_USE,
    RELEASING,
    Fact,
    Ledger,
    Observation,
    Step,
    found,
    observe,
)
from qatdp.core.status.diff import changes
from qatdp.daemon.history import History
from qatdp.feed import Feed

log = logging.getLogger(__name__)

DEVICES_SICK = "devices resource=%s is=%s reason=%s message=%r vfs=%s"


class DeviceState:
    """`on_resource` is called with the feed of a resource that had none; `leaving` is set when an ID is to leave.

    `on_granted` is called meanwhile, before an Allocate is answered: with the resource, the IDs, and when it began.
    """

    def __init__(
        self,
        config: Config,
        on_resource: Callable[[Feed[ResourcePool]], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.config = config
        self.snapshot = Snapshot()
        self.ledger: Ledger = {}
        self.pod_entries: tuple[CheckpointEntry, ...] = ()
        # What was answered here, while somebody may have it: nodes can change hands before a checkpoint names it.
        self._answers: dict[PciAddress, CheckpointEntry] = {}
        self.unread: str | None = None  # why the kubelet's checkpoint was never read
        self._in_doubt: Mapping[PciAddress, Defect] = {}  # who came into a list meanwhile, as Unhealthy
        self.unbound: Mapping[PciAddress, Defect] = {}
        self.stale = Stale()
        self.sick: Mapping[PciAddress, Defect] = {}  # PFs, and why
        self.opened: frozenset[PciAddress] = frozenset()  # VFs that somebody has open whom the kubelet does not know
        self.shared: frozenset[PciAddress] = frozenset()  # VFs that the kubelet has given to two pods
        self.changing: Mapping[PciAddress, str] = {}  # PFs, and what they are to become
        self.progress: Mapping[PciAddress, Progress] = {}  # of PFs to what they should be
        self.sought: frozenset[PciAddress] = frozenset()  # PFs that are waited for until nobody has any of their VFs
        self.pools = Pools({}, {})
        self.feeds: dict[str, Feed[ResourcePool]] = {}
        self.history = History()
        self.leaving = asyncio.Event()
        self.on_granted: Callable[[str, Collection[PciAddress], int], None] | None = None
        self.clock = clock
        self.calls = Calls(ended_s=clock())
        self.given_again = asyncio.Event()  # set when an Allocate was granted what somebody may have
        self._waiting: Counter[PciAddress] = Counter()  # in how many Allocates that are under way
        self._found_open: set[PciAddress] = set()  # by Allocates
        self._on_resource = on_resource
        self._moment = 0
        self.serves = False  # what is known of the node, not only stand-ins for it

    def moment(self) -> int:
        self._moment += 1
        return self._moment

    # What becomes known

    def stand_in(self, lists: Lists, pod_entries: Iterable[CheckpointEntry], why: Defect) -> None:
        """Publish provisional lists until the node is known. Their IDs are in the ledger from now on, as others are."""
        if self.serves:
            return
        lists = never_fewer(lists, [feed.value for feed in self.feeds.values()])
        listed = {(address, resource) for resource, ids in lists.items() for address in ids}
        held = {(address, one.resource) for one in pod_entries for address in one.devices}
        self.ledger = {**found(held & listed, listed, self.moment()), **self.ledger}
        self.pools = provisional_pools(lists, why)
        for pool in self.pools.pools.values():
            self._publish(pool)

    def begin(self, snapshot: Snapshot, unbound: Mapping[PciAddress, Defect]) -> None:
        """Take the node as it is at the start of the daemon. Nothing is published yet."""
        self.snapshot, self.unbound = snapshot, unbound

    def books_say(
        self,
        named: Iterable[tuple[PciAddress, str]],
        offered: Iterable[tuple[PciAddress, str]],
        pod_entries: Iterable[CheckpointEntry],
    ) -> None:
        """Take what the kubelet's state name, and what it may hand out. Nothing is published yet.

        They decide on what was in doubt until now, also where it came into the list of another resource.
        """
        held, listed = ([(address, of) for address, of in ids if is_ours(of)] for ids in (named, offered))
        ledger, moment = found(held, listed, self.moment()), self.moment()
        decided = ledger.keys() & self._in_doubt.keys()
        self._in_doubt = {address: why for address, why in self._in_doubt.items() if address not in decided}
        ledger = {**ledger, **{address: one for address, one in self.ledger.items() if address not in decided}}
        # Of those that were listed before the ledger were read.
        self.ledger = observe(ledger, Observation(Fact.NAMED, [address for address, _ in held], moment, moment))
        self.pod_entries = tuple(pod_entries)

    def scanned(
        self,
        snapshot: Snapshot,
        unbound: Mapping[PciAddress, Defect],
        pod_entries: Iterable[CheckpointEntry] | None = None,
    ) -> None:
        """Take a scan, with what the checkpoint said at that time; None where it could not be read."""
        self.snapshot, self.unbound = snapshot, unbound
        if pod_entries is not None:
            self.pod_entries = tuple(pod_entries)
        self.rebuild()

    def configured(self, config: Config) -> None:
        self.config = config.after(self.config)
        self.rebuild()

    def written_down(self, pod_entries: Iterable[CheckpointEntry]) -> None:
        """Take what the kubelet's checkpoint says of who was given which nodes."""
        self.pod_entries = tuple(pod_entries)
        self.rebuild()

    def judged(self, sick: Mapping[PciAddress, Defect]) -> None:
        """Take the verdict on the PFs (core/health/verdict.py)."""
        if sick != self.sick:
            self.sick = sick
            self.rebuild()

    def polled(self, opened: frozenset[PciAddress], shared: frozenset[PciAddress]) -> None:
        """Take which VFs are open that the checkpoint names for no pod, and which it names for two."""
        if (opened, shared) != (self.opened, self.shared):
            for vf in sorted(shared - self.shared):
                log.error("kubelet allocated a VF to two pods vf=%s", vf)
                self.history.add("GivenToTwoPods", devices=(vf,))
            self.opened, self.shared = opened, shared
            self.rebuild()

    def change(self, changing: Mapping[PciAddress, str], *, sought: frozenset[PciAddress]) -> None:
        """Take which PFs are to be changed, and which are waited for until nobody has any of their VFs."""
        if (changing, sought) != (self.changing, self.sought):
            self.changing, self.sought = changing, sought
            self.rebuild()

    def claims(self) -> Mapping[PciAddress, Defect]:
        """Return who may have VFs, as far as this is not in the ledger by their address."""
        return {**self._in_doubt, **{address: self.stale.reasons[address] for address in self.stale.taken}}

    def list_sending(self, resource: str) -> None:
        self.learn(Fact.HANDED, self.of_resource(resource), self._moment)

    def list_sent(self, resource: str, began: int) -> None:
        self.learn(Fact.LISTED, self.of_resource(resource), began)

    def stream_lost(self, resource: str) -> None:
        self.learn(Fact.CUT, self.of_resource(resource), self._moment)

    def call_began(self) -> int:
        moment = self.moment()
        self.calls = self.calls.began(moment)
        return moment

    def call_ended(self, began: int) -> None:
        self.calls = self.calls.ended(began, self.clock())

    def allocated(self, resource: str, ids: Collection[str], began: int) -> None:
        given = self._addresses(resource, ids)
        for device in map(self.feeds[resource].value.device, ids) if resource in self.feeds else ():
            if device:
                self._answers[device.address] = CheckpointEntry(resource, (device.address,), frozenset(device.nodes))
        if any(self.ledger[address].step in MAYBE_IN_USE for address in given):
            self.given_again.set()
        self.learn(Fact.ALLOCATED, given, self._moment)
        if self.on_granted and self.leaving.is_set():
            self.on_granted(resource, given, began)

    def wait_began(self, resource: str, ids: Collection[str]) -> None:
        """Keep IDs in their list, as they may yet be granted, and have it found out who has them open.

        The list is sent once more, which makes the kubelet write down what it knows of its pods now.
        """
        addresses = self._addresses(resource, ids)
        self._waiting.update(addresses)
        self._found_open.update(addresses)
        self.learn(Fact.HANDED, addresses, self._moment)  # whoever names an ID has read it in a list
        self.feeds[resource].again()

    def wait_ended(self, resource: str, ids: Collection[str]) -> None:
        """Let go of them; whatever was proved of them meanwhile has to be proved again."""
        addresses = self._addresses(resource, ids)
        self._waiting.subtract(addresses)
        self._waiting = +self._waiting
        self.learn(Fact.ASKED, addresses, self._moment)

    def take_found_open(self) -> Collection[PciAddress]:
        """Return the VFs that Allocates have found open, each once."""
        found, self._found_open = self._found_open, set()
        return found

    def preference_requested(self, resource: str, ids: Collection[str]) -> None:
        self.learn(Fact.ASKED, self._addresses(resource, ids), self._moment)

    def learn(self, fact: Fact, of: Collection[PciAddress], began: int) -> None:
        """Take a fact about some IDs, begun to be established at that moment."""
        if fact in RELEASING:
            of = [address for address in of if address not in self._waiting] if self._waiting else of
        ledger = observe(self.ledger, Observation(fact, of, began, self.moment()))
        if ledger is not self.ledger:
            self.ledger = ledger
            self.rebuild()

    # What comes of it

    def serve(self) -> None:
        """Publish what is known, and from now on whatever comes of what becomes known."""
        self.serves = True
        self.rebuild()

    def rebuild(self) -> None:
        """Build the pools of all that is known, and publish those that changed. Not before the ledger were read."""
        if not self.serves:
            return
        before = self.pools
        held = {address for address, entry in self.ledger.items() if entry.step in MAYBE_IN_USE}
        self._answers = {address: one for address, one in self._answers.items() if address in held}
        self.stale = stale_allocations((*self.pod_entries, *self._answers.values()), self.snapshot)
        self._in_doubt = self._doubts()
        context = PlacementContext(
            self.stale, self.unbound, self._in_doubt, self.sick, self.changing, self.opened, self.shared
        )
        self.pools, self.ledger = build_pools(self.snapshot, self.config, self.ledger, self.moment(), context)
        for resource in sorted(self.feeds.keys() | self.pools.pools.keys()):
            self._publish(self.pools.pools.get(resource, ResourcePool(resource)))
        self._tell_left_out(before.excluded, self.pools.excluded)
        if self.sought or self.stale or any(entry.step in LEAVING for entry in self.ledger.values()):
            self.leaving.set()
        else:
            self.leaving.clear()

    def _doubts(self) -> Mapping[PciAddress, Defect]:
        """Return why VFs are not offered of which it is not known whether somebody has them, and by which name."""
        if self.unread is None:
            return {}
        known = self.ledger.keys() - self._in_doubt.keys()
        unknown = defect(Reason.HOLDERS_UNKNOWN, problem=self.unread)
        return {vf.address: unknown for vf in self.snapshot.vfs if vf.address not in known}

    def _publish(self, pool: ResourcePool) -> None:
        feed = self.feeds.get(pool.resource)
        before = feed.value if feed else ResourcePool(pool.resource)
        self._tell_changes(before, pool)
        if feed is None:
            self.feeds[pool.resource] = feed = Feed(pool)
            self._on_resource(feed)
        elif (feed.value.listed, feed.value.pre_start_required) == (pool.listed, pool.pre_start_required):
            feed.replace(pool)  # a list that says nothing new makes the kubelet write its checkpoint for nothing
        else:
            feed.set(pool)

    # Questions about the ledger

    def of_resource(self, resource: str) -> Collection[PciAddress]:
        return [address for address, entry in self.ledger.items() if entry.resource == resource]

    def at(self, *steps: Step) -> Mapping[PciAddress, str]:
        """Return the IDs at these steps, with their resource."""
        return {address: entry.resource for address, entry in self.ledger.items() if entry.step in steps}

    def _addresses(self, resource: str, ids: Iterable[str]) -> Collection[PciAddress]:
        addresses = (PciAddress.parse_or_none(text) for text in ids)
        return {a for a in addresses if a and a in self.ledger and self.ledger[a].resource == resource}

    # What is told of changes: one line for all VFs of which the same is to be said, as a large node has a thousand.

    def _tell_changes(self, before: ResourcePool, after: ResourcePool) -> None:
        same: dict[tuple[str, Defect | None], list[PciAddress]] = {}
        for change in changes(before, after):
            same.setdefault((change.what, change.defect), []).append(change.address)
        for (what, why), vfs in same.items():
            where = (after.resource, what)
            if why:
                log.info(DEVICES_SICK, *where, why.reason, str(why), as_ranges(vfs))
            else:
                log.info("devices resource=%s is=%s vfs=%s", *where, as_ranges(vfs))
            self.history.add(what, resource=after.resource, devices=vfs, defect=why)

    def _tell_left_out(self, before: Mapping[PciAddress, Defect], after: Mapping[PciAddress, Defect]) -> None:
        same: dict[Defect, list[PciAddress]] = {}
        for address, why in after.items():
            if before.get(address) != why:
                same.setdefault(why, []).append(address)
        for why, vfs in same.items():
            log.warning("VFs excluded reason=%s message=%r vfs=%s", why.reason, str(why), as_ranges(vfs))
            self.history.add("Excluded", devices=vfs, defect=why)
