"""DeviceState: what is known of this node, and one feed per resource that comes of it. State of the event loop, no I/O.

One reducer: each thing that becomes known (a scan, a configuration, a verdict, a fact about an ID) comes in by a method
that is named for it. The ledger is updated at once, and grants are decided by it. Pools are built once per turn of the
loop, never inside an RPC, and only of the VFs that have changed. Two rules hold together what is apart for a moment:

 - each published pool carries the revision of the ledger that it was built from, and a list that was sent proves a step
   only for IDs that had come to it by that revision (core/release/protocol.py);
 - nothing is released, and no PF is written to, before the pools are what is known (`flush`).
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping

from qatdp.core.config.model import Config, is_ours
from qatdp.core.model.pci import PciAddress
from qatdp.core.model.snapshot import Snapshot
from qatdp.core.pools.pools import Pools, ResourcePool, build_pools, rebuild_pools, shows
from qatdp.core.pools.provisional import Lists, never_fewer, provisional_pools
from qatdp.core.pools.stale import CheckpointEntry, Stale
from qatdp.core.pools.view import PlacementContext
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
from qatdp.daemon.answers import Answers
from qatdp.daemon.change_log import ChangeLog
from qatdp.daemon.history import History
from qatdp.daemon.publisher import Publisher
from qatdp.feed import Feed

log = logging.getLogger(__name__)


def _soon(work: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_soon(work)


class DeviceState:
    """`on_resource` is called with the feed of a resource that had none; `leaving` is set when an ID is to leave.

    `on_granted` is called meanwhile, before an Allocate is answered: with the resource, the IDs, and when it began.
    `soon` calls a function at the next turn of the loop.
    """

    def __init__(
        self,
        config: Config,
        on_resource: Callable[[Feed[ResourcePool]], None],
        *,
        clock: Callable[[], float] = time.monotonic,
        soon: Callable[[Callable[[], None]], None] = _soon,
    ) -> None:
        self.config = config
        self.snapshot = Snapshot()
        self.ledger: Ledger = {}
        self._answers = Answers()
        self.unread: str | None = None  # why the kubelet's checkpoint was never read
        self._in_doubt: Mapping[PciAddress, Defect] = {}  # who came into a list meanwhile, as Unhealthy
        self.unbound: Mapping[PciAddress, Defect] = {}
        self.pf_defects: Mapping[PciAddress, Defect] = {}  # PFs, and why
        self.opened: frozenset[PciAddress] = frozenset()  # VFs that somebody has open whom the kubelet does not know
        self.shared: frozenset[PciAddress] = frozenset()  # VFs that the kubelet has given to two pods
        self.changing: Mapping[PciAddress, str] = {}  # PFs, and what they are to become
        self.progress: Mapping[PciAddress, Progress] = {}  # of PFs to what they should be
        self.sought: frozenset[PciAddress] = frozenset()  # PFs that are waited for until nobody has any of their VFs
        self.pools = Pools({}, {})
        self.history = History()
        self._change_log = ChangeLog(self.history)
        self._publisher = Publisher(on_resource, self._change_log)
        self.leaving = asyncio.Event()
        self.on_granted: Callable[[str, Collection[PciAddress], int], None] | None = None
        self.clock = clock
        self.calls = Calls(ended_s=clock())
        self.given_again = asyncio.Event()  # set when an Allocate was granted what somebody may have
        self._waiting: Counter[PciAddress] = Counter()  # in how many Allocates that are under way
        self._found_open: set[PciAddress] = set()  # by Allocates
        self._moment = 0
        self.serves = False  # what is known of the node, not only stand-ins for it
        self._soon = soon
        self._is_scheduled = False
        self.is_dirty = False  # something is known that the pools, or their revisions, do not have yet
        self._all_changed = False
        self._changed: set[PciAddress] = set()  # VFs whose place or state may be another

    @property
    def feeds(self) -> Mapping[str, Feed[ResourcePool]]:
        return self._publisher.feeds

    @property
    def pod_entries(self) -> tuple[CheckpointEntry, ...]:
        """What the kubelet's last checkpoint says of who was given what."""
        return self._answers.pod_entries

    @property
    def stale(self) -> Stale:
        return self._answers.stale

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
        self._publisher.publish(self.pools, self.moment())

    def begin(self, snapshot: Snapshot, unbound: Mapping[PciAddress, Defect]) -> None:
        """Take the node as it is at the start of the daemon. Nothing is published yet."""
        self.snapshot, self.unbound = snapshot, unbound

    def adopt(
        self,
        named: Iterable[tuple[PciAddress, str]],
        offered: Iterable[tuple[PciAddress, str]],
        pod_entries: Iterable[CheckpointEntry],
        *,
        unread: str | None = None,
    ) -> None:
        """Take what the kubelet's state names, and what it may hand out, into the ledger.

        `unread`: why its checkpoint was never read; VFs that are not in the ledger are not offered until it was.

        They decide on what was in doubt until now, also where it came into the list of another resource.
        """
        held, listed = ([(address, of) for address, of in ids if is_ours(of)] for ids in (named, offered))
        ledger, moment = found(held, listed, self.moment()), self.moment()
        decided = ledger.keys() & self._in_doubt.keys()
        self._in_doubt = {address: why for address, why in self._in_doubt.items() if address not in decided}
        ledger = {**ledger, **{address: one for address, one in self.ledger.items() if address not in decided}}
        # Of those that were listed before the kubelet's state was read.
        self.ledger = observe(ledger, Observation(Fact.NAMED, [address for address, _ in held], moment, moment))
        self._answers.written_down(pod_entries)
        self.unread = unread
        self._mark_all()

    def scanned(
        self,
        snapshot: Snapshot,
        unbound: Mapping[PciAddress, Defect],
        pod_entries: Iterable[CheckpointEntry] | None = None,
    ) -> None:
        """Take a scan, with what the checkpoint said at that time; None where it could not be read."""
        self.snapshot, self.unbound = snapshot, unbound
        if pod_entries is not None:
            self._answers.written_down(pod_entries)
        self._mark_all()

    def configured(self, config: Config) -> None:
        self.config = config.after(self.config)
        self._mark_all()

    def written_down(self, pod_entries: Iterable[CheckpointEntry]) -> None:
        """Take what the kubelet's checkpoint says of who was given which nodes."""
        self._answers.written_down(pod_entries)
        self._mark()

    def judged(self, pf_defects: Mapping[PciAddress, Defect]) -> None:
        """Take the verdict on the PFs (core/health/verdict.py)."""
        before, self.pf_defects = self.pf_defects, pf_defects
        self._mark_pfs(_differing(before, pf_defects))

    def polled(self, opened: frozenset[PciAddress], shared: frozenset[PciAddress]) -> None:
        """Take which VFs are open that the checkpoint names for no pod, and which it names for two."""
        for vf in sorted(shared - self.shared):
            log.error("kubelet allocated a VF to two pods vf=%s", vf)
            self.history.add("GivenToTwoPods", devices=(vf,))
        changed = (opened ^ self.opened) | (shared ^ self.shared)
        self.opened, self.shared = opened, shared
        if changed:
            self._mark(changed)

    def change(self, changing: Mapping[PciAddress, str], *, sought: frozenset[PciAddress]) -> None:
        """Take which PFs are to be changed, and which are waited for until nobody has any of their VFs."""
        before, self.changing = self.changing, changing
        self._mark_pfs(_differing(before, changing))
        if sought != self.sought:
            self.sought = sought
            self._mark()

    def claims(self) -> Mapping[PciAddress, Defect]:
        """Return who may have VFs, as far as this is not in the ledger by their address."""
        return {**self._in_doubt, **{address: self.stale.reasons[address] for address in self.stale.taken}}

    # What the endpoints report (kubelet/observer.py)

    def step_of(self, resource: str, address: PciAddress) -> Step | None:
        entry = self.ledger.get(address)
        return entry.step if entry and entry.resource == resource else None

    def list_sending(self, pool: ResourcePool) -> None:
        addresses = [device.address for device in pool.devices]
        self.learn(Fact.HANDED, [at for at in addresses if self.step_of(pool.resource, at)], self._moment)

    def list_sent(self, resource: str, revision: int) -> None:
        self.learn(Fact.LISTED, self.of_resource(resource), revision)

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
                answer = CheckpointEntry(resource, (device.address,), frozenset(device.nodes))
                self._answers.answered(answer, self.snapshot)
        if self._answers.is_due:
            self._mark()
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

    # Facts about IDs

    def learn(self, fact: Fact, of: Collection[PciAddress], began: int) -> None:
        """Take a fact about some IDs, begun to be established at that moment.

        Before one that lets an ID go, all else that is known is taken into account.
        """
        if fact in RELEASING:
            self.flush()
            of = [address for address in of if address not in self._waiting] if self._waiting else of
        before = self.ledger
        self.ledger = observe(before, Observation(fact, of, began, self.moment()))
        if self.ledger is not before:
            self._mark(self._shown_otherwise(before, of))

    def _shown_otherwise(self, before: Ledger, of: Collection[PciAddress]) -> Collection[PciAddress]:
        """Return the IDs that pools show otherwise than before; answers for what nobody has any more are forgotten."""
        changed = set()
        for address in of:
            old, new = before.get(address), self.ledger.get(address)
            if old is None or new is None or old is new:
                continue
            if new.step not in MAYBE_IN_USE:
                self._answers.forget(address)
            if shows(old.step) != shows(new.step):
                changed.add(address)
        return changed

    # What comes of it

    def _mark_all(self) -> None:
        self._all_changed = True
        self._mark()

    def _mark_pfs(self, pfs: Collection[PciAddress]) -> None:
        if pfs:
            present = {vf.address for vf in self.snapshot.vfs if vf.pf in pfs}
            self._mark(present | {at for at, entry in self.ledger.items() if entry.vf and entry.vf.pf in pfs})

    def _mark(self, changed: Collection[PciAddress] = ()) -> None:
        self._changed.update(changed)
        self.is_dirty = True
        if self.serves and not self._is_scheduled:
            self._is_scheduled = True
            self._soon(self._turn)

    def _turn(self) -> None:
        self._is_scheduled = False
        self.flush()

    def serve(self) -> None:
        """Publish what is known, and from now on whatever comes of what becomes known."""
        self.serves = True
        self._all_changed = self.is_dirty = True
        self.flush()

    def flush(self) -> None:
        """Build and publish what is known, now. Nothing before the kubelet's state was read."""
        if not self.is_dirty or not self.serves:
            return
        before = self.pools
        if self._all_changed or self._answers.is_due:
            held = {address for address, entry in self.ledger.items() if entry.step in MAYBE_IN_USE}
            self._changed |= set(self._answers.take(held, self.snapshot))
        self._build()
        self._publisher.publish(self.pools, self.moment())
        self._change_log.excluded(before.excluded, self.pools.excluded)
        if self.sought or self.stale or any(entry.step in LEAVING for entry in self.ledger.values()):
            self.leaving.set()
        else:
            self.leaving.clear()
        # Not before: what has failed is done again.
        self.is_dirty = self._all_changed = False
        self._changed = set()

    def _build(self) -> None:
        before, self._in_doubt = self._in_doubt, self._doubts()
        self._changed |= _differing(before, self._in_doubt)
        context = PlacementContext(
            self.stale, self.unbound, self._in_doubt, self.pf_defects, self.changing, self.opened, self.shared
        )
        of = (self.snapshot, self.config, self.ledger, self.moment(), context)
        if self._all_changed:
            self.pools, self.ledger = build_pools(*of)
        elif self._changed:
            self.pools, self.ledger = rebuild_pools(self.pools, self._changed, *of)

    def _doubts(self) -> Mapping[PciAddress, Defect]:
        """Return why VFs are not offered of which it is not known whether somebody has them, and by which name."""
        if self.unread is None:
            return {}
        known = self.ledger.keys() - self._in_doubt.keys()
        unknown = defect(Reason.HOLDERS_UNKNOWN, problem=self.unread)
        return {vf.address: unknown for vf in self.snapshot.vfs if vf.address not in known}

    def send_again(self, resource: str) -> None:
        """Have the list of a resource sent once more, of what is known now."""
        self.flush()
        self.feeds[resource].again()

    # Questions about the ledger

    def of_resource(self, resource: str) -> Collection[PciAddress]:
        return [address for address, entry in self.ledger.items() if entry.resource == resource]

    def at(self, *steps: Step) -> Mapping[PciAddress, str]:
        """Return the IDs at these steps, with their resource."""
        return {address: entry.resource for address, entry in self.ledger.items() if entry.step in steps}

    def _addresses(self, resource: str, ids: Iterable[str]) -> Collection[PciAddress]:
        addresses = (PciAddress.parse_or_none(text) for text in ids)
        return {address for address in addresses if address and self.step_of(resource, address)}


def _differing(before: Mapping[PciAddress, object], after: Mapping[PciAddress, object]) -> set[PciAddress]:
    """Return the addresses of which the two do not say the same."""
    return {address for address in before.keys() | after.keys() if before.get(address) != after.get(address)}
