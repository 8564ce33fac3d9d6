"""Whatever comes between a fact, the pools that follow from it, and the list that is sent, nothing is given twice.

The ledger changes at once, pools once per turn of the loop, and a list reaches the kubelet later still. Here a machine
interleaves calls of the kubelet, writes of streams and turns of the loop as it likes.
"""

from collections.abc import Callable, Collection
from dataclasses import replace
from functools import partial

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from support.strategies import a_pf, a_snapshot, its_vfs

from qatdp.core.config.model import Config, parse_config
from qatdp.core.model.pci import PciAddress
from qatdp.core.model.snapshot import Snapshot, VirtualFunction
from qatdp.core.pools.allocation import allocate
from qatdp.core.pools.pools import Pools, ResourcePool, build_pools
from qatdp.core.pools.view import PlacementContext
from qatdp.core.reasons import Reason, defect
from qatdp.core.release.protocol import MAYBE_IN_USE, OUT_OF_LIST, Fact, Ledger, Observation, Step, observe
from qatdp.daemon.state import DeviceState
from qatdp.errors import AllocationError
from qatdp.feed import Feed

CY, DC = "qat.intel.com/cy", "qat.intel.com/dc"
PFS = tuple(a_pf(slot) for slot in ("0000:6b:00.0", "0000:70:00.0"))
VFS = tuple(vf for pf in PFS for vf in its_vfs(pf, 2))
SERVICES = st.tuples(*[st.sampled_from(["sym;asym", "dc"])] * len(PFS))
PRESENT = st.sets(st.sampled_from(range(len(VFS))))
CONFIGS = (
    Config(),
    parse_config({"version": 1, "resources": [{"name": "cy"}]}),
    parse_config({"version": 1, "resources": [{"name": "dc"}]}),
    parse_config({"version": 1, "resources": [{"name": "cy", "services": [["dc"]], "limit": 1}]}),
    parse_config({"version": 1, "hostReserved": [{"vfs": 1}]}),
)
DOWN = defect(Reason.PF_DOWN, evidence="is down")


def node_with(services: Collection[str], present: Collection[int]) -> Snapshot:
    pfs = [a_pf(pf.address, services=text) for pf, text in zip(PFS, services, strict=True)]
    return a_snapshot(pfs, [vf for n, vf in enumerate(VFS) if n in present])


class Interleavings(RuleBasedStateMachine):
    """A kubelet that chooses among what is Healthy in the list that it has read last and what no pod has."""

    def __init__(self) -> None:
        super().__init__()
        self.turns: list[Callable[[], None]] = []
        self.node = DeviceState(Config(), lambda _: None, soon=self.turns.append)
        self.sending: dict[str, ResourcePool] = {}
        self.read: dict[str, ResourcePool] = {}
        self.pods: dict[PciAddress, str] = {}
        self.services: tuple[str, ...] = ("sym;asym", "dc")
        self.present: set[int] = set(range(len(VFS)))
        self.node.begin(node_with(self.services, self.present), {})
        self.node.adopt((), (), ())
        self.node.serve()

    # What becomes known

    @rule(services=SERVICES)
    def pfs_get_services(self, services: tuple[str, ...]) -> None:
        self.services = services
        self.node.scanned(node_with(services, self.present), {}, None)

    @rule(present=PRESENT)
    def vfs_come_and_go(self, present: set[int]) -> None:
        self.present = present
        self.node.scanned(node_with(self.services, present), {}, None)

    @rule(config=st.sampled_from(CONFIGS))
    def configure(self, config: Config) -> None:
        self.node.configured(config)

    @rule(down=st.sets(st.sampled_from(PFS)))
    def judge(self, down: set[object]) -> None:
        self.node.judged({pf.address: DOWN.of_pf(pf.address) for pf in PFS if pf in down})

    @rule(opened=st.sets(st.sampled_from(VFS)), shared=st.sets(st.sampled_from(VFS), max_size=1))
    def poll(self, opened: set[object], shared: set[object]) -> None:
        of = (frozenset(vf.address for vf in VFS if vf in some) for some in (opened, shared))
        self.node.polled(*of)

    @rule(changing=st.sets(st.sampled_from(PFS)), sought=st.booleans())
    def change(self, changing: set[object], *, sought: bool) -> None:
        pfs = {pf.address: "dc" for pf in PFS if pf in changing}
        self.node.change(pfs, sought=frozenset(pfs) if sought else frozenset())

    @rule()
    def the_loop_turns(self) -> None:
        turns, self.turns[:] = list(self.turns), []
        for turn in turns:
            turn()

    # Streams and calls

    @rule(resource=st.sampled_from([CY, DC]))
    def a_stream_begins_to_write(self, resource: str) -> None:
        if resource in self.node.feeds and resource not in self.sending:
            self.sending[resource] = pool = self.node.feeds[resource].value
            self.node.list_sending(pool)

    @rule(resource=st.sampled_from([CY, DC]))
    def a_stream_has_written(self, resource: str) -> None:
        if pool := self.sending.pop(resource, None):
            self.read[resource] = pool
            self.node.list_sent(resource, pool.revision)

    @rule(resource=st.sampled_from([CY, DC]))
    def a_stream_is_lost(self, resource: str) -> None:
        self.sending.pop(resource, None)
        self.node.stream_lost(resource)
        self.node.flush()
        if resource in self.node.feeds:  # and its successor brings the list of now
            self.read.pop(resource, None)

    @rule(resource=st.sampled_from([CY, DC]), n=st.integers(0, 9))
    def a_pod_comes(self, resource: str, n: int) -> None:
        free = sorted(self.read[resource].healthy - set(map(str, self.pods))) if resource in self.read else []
        if free:
            self._ask(resource, free[n % len(free)])

    @rule(n=st.integers(0, 9))
    def a_pod_is_asked_for_again(self, n: int) -> None:
        for address, resource in sorted(self.pods.items())[n : n + 1]:
            self._ask(resource, str(address))

    def _ask(self, resource: str, text: str) -> None:
        address, pool = PciAddress.parse(text), self.node.feeds[resource].value
        entry = self.node.ledger.get(address)
        is_listed = entry is not None and entry.resource == resource and entry.step not in OUT_OF_LIST
        began, builds = self.node.call_began(), self.node.pools
        self.node.preference_requested(resource, [text])
        try:
            allocate(pool, [text], partial(self.node.step_of, resource))
        except AllocationError:
            assert address not in self.pods or not is_listed or pool.device(text) is None, "a pod's own is answered"
        else:
            assert is_listed, "granted although the ledger lists it no more"
            assert self.pods.setdefault(address, resource) == resource, "one VF in two pods"
            self.node.allocated(resource, [text], began)
            assert self.node.ledger[address].step in MAYBE_IN_USE
        assert self.node.pools is builds, "no pool is built inside a call"
        self.node.call_ended(began)

    @rule(n=st.integers(0, 9))
    def a_pod_ends(self, n: int) -> None:
        for address in sorted(self.pods)[n : n + 1]:
            del self.pods[address]

    # Facts, as true as the daemon's are

    @rule()
    def the_kubelet_offers_what_was_sent(self) -> None:
        for resource, pool in self.read.items():
            feed = self.node.feeds[resource]
            self.node.flush()
            if feed.value.healthy == pool.healthy:
                self._learn(Fact.OVERTAKEN, self.node.of_resource(resource))

    @rule(fact=st.sampled_from([Fact.IDLE, Fact.UNWRITTEN, Fact.NOT_IN_CHECKPOINT, Fact.ADMITTED_WITHOUT]))
    def nobody_has_it(self, fact: Fact) -> None:
        self._learn(Fact.NAMED, self.pods)
        self._learn(fact, self.node.ledger.keys() - self.pods.keys())

    @rule(length=st.integers(1, 8), is_busy=st.booleans(), meanwhile=st.none() | st.sampled_from(CONFIGS))
    def a_round_is_made(self, length: int, meanwhile: Config | None, *, is_busy: bool) -> None:
        """Take the steps of the release protocol in their order, perhaps not to the end.

        What comes meanwhile, before the last of them, is not in the pools yet.
        """
        last = [Fact.ADMITTED_WITHOUT] if is_busy else [Fact.UNWRITTEN, None, Fact.NOT_IN_CHECKPOINT]
        facts = [None, Fact.OVERTAKEN, Fact.IDLE, *last, None][:length]
        for left, fact in zip(range(len(facts), 0, -1), facts, strict=True):
            if left == 1 and meanwhile:
                self.configure(meanwhile)
            if fact is None:
                self._lists_are_written()
            elif fact is Fact.OVERTAKEN:
                self.the_kubelet_offers_what_was_sent()
            else:
                self.nobody_has_it(fact)

    def _lists_are_written(self) -> None:
        for resource in list(self.node.feeds):
            self.node.send_again(resource)
            self.a_stream_begins_to_write(resource)
            self.a_stream_has_written(resource)

    @rule(resource=st.sampled_from([CY, DC]), vf=st.sampled_from(VFS))
    def somebody_asks_for_whatever(self, resource: str, vf: VirtualFunction) -> None:
        """Ask as no kubelet does: an ID that the list may not have any more."""
        step = self.node.step_of(resource, vf.address)
        if resource in self.node.feeds and (step is None or step in OUT_OF_LIST):
            with pytest.raises(AllocationError):
                allocate(self.node.feeds[resource].value, [str(vf.address)], partial(self.node.step_of, resource))

    def _learn(self, fact: Fact, of: Collection[PciAddress]) -> None:
        """Learn a fact; what it releases would be released as well had all else that is known counted before."""
        before, settled = self.node.ledger, self._full()[1]
        began = self.node.moment()
        self.node.learn(fact, of, began)
        wanted = observe(settled, Observation(fact, of, began, began))
        assert _released(self.node.ledger) - _released(before) <= _released(wanted)

    def _full(self) -> tuple[Pools, Ledger]:
        """Return what follows from all that is known, built as a whole."""
        node = self.node
        context = PlacementContext(node.stale, {}, {}, node.pf_defects, node.changing, node.opened, node.shared)
        return build_pools(node.snapshot, node.config, node.ledger, node.moment(), context)

    # What must be so at each moment

    @invariant()
    def what_a_pod_has_stays_in_its_list(self) -> None:
        for address, resource in self.pods.items():
            entry = self.node.ledger[address]
            assert (entry.resource, entry.step in OUT_OF_LIST) == (resource, False)

    @invariant()
    def no_vf_is_healthy_in_two_lists_that_were_read(self) -> None:
        healthy = [text for pool in self.read.values() for text in pool.healthy]
        assert len(healthy) == len(set(healthy))

    @invariant()
    def pools_that_are_not_dirty_are_those_of_all_that_is_known(self) -> None:
        if not self.node.is_dirty:
            assert self._full() == (self.node.pools, self.node.ledger)


def _released(ledger: Ledger) -> set[PciAddress]:
    return {address for address, entry in ledger.items() if entry.step is Step.RELEASED}


TestInterleavings = Interleavings.TestCase
TestInterleavings.settings = settings(stateful_step_count=60)


def test_pool_that_shows_nothing_new_gets_a_newer_revision_and_is_not_sent() -> None:
    turns: list[Callable[[], None]] = []
    node = DeviceState(Config(), lambda _: None, soon=turns.append)
    node.begin(node_with(("sym;asym", "dc"), range(len(VFS))), {})
    node.serve()
    feed: Feed[ResourcePool] = node.feeds[CY]
    before, version = feed.value, feed.version
    node.allocated(CY, [str(VFS[0].address)], node.call_began())
    assert feed.value is before
    assert len(turns) == 1, "one build, whatever becomes known"
    turns[0]()
    assert feed.value == before
    assert feed.value.revision > before.revision
    assert feed.value.devices is before.devices, "nothing was built"
    assert feed.version == version


def test_list_of_an_older_revision_proves_nothing_of_a_later_step() -> None:
    node = DeviceState(Config(), lambda _: None, soon=lambda _: None)
    node.begin(node_with(("sym;asym", "dc"), range(len(VFS))), {})
    node.serve()
    pool = node.feeds[CY].value
    node.list_sending(pool)
    node.change({PFS[0].address: "dc"}, sought=frozenset())
    node.flush()
    assert set(node.at(Step.WITHDRAWN)) == {vf.address for vf in VFS[:2]}
    node.list_sent(CY, pool.revision)
    assert not node.at(Step.SENT)
    node.list_sent(CY, node.feeds[CY].value.revision)
    assert set(node.at(Step.SENT)) == {vf.address for vf in VFS[:2]}


def test_replace_keeps_the_pool_equal_whatever_its_revision() -> None:
    assert replace(ResourcePool(CY), revision=5) == ResourcePool(CY)
