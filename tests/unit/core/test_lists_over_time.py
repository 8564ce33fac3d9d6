"""Whatever happens to a node: no VF is ever under two names, and none that somebody may have is moved or dropped."""

from collections.abc import Mapping

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from support.strategies import SLOTS, VANISHED, a_pf, configs, its_vfs, resources, snapshots

from qatdp.core.config.model import Config
from qatdp.core.model.pci import PciAddress
from qatdp.core.model.snapshot import Snapshot
from qatdp.core.pools.pools import build_pools
from qatdp.core.release.protocol import MAYBE_IN_USE, Fact, Ledger, Observation, Step, found, observe

VFS = [vf.address for slot in SLOTS for vf in its_vfs(a_pf(slot), 7)]
IDS = st.lists(st.tuples(st.sampled_from([*VFS, *VANISHED]), resources()), max_size=4)
CHAIN = (
    Fact.HANDED,
    Fact.LISTED,
    Fact.OVERTAKEN,
    Fact.IDLE,
    Fact.NOT_IN_PODS,
    Fact.LISTED,
    Fact.NOT_IN_CHECKPOINT,
    Fact.LISTED,
)
BUSY_CHAIN = (*CHAIN[:4], Fact.ADMITTED_WITHOUT, Fact.LISTED)
# Those that a daemon learns; to leave and to stay are what build_pools tells.
FACTS = [fact for fact in Fact if fact not in {Fact.LEAVE, Fact.STAY}]


class ListsOverTime(RuleBasedStateMachine):
    """As the daemon does, pools are built again after each thing that becomes known."""

    def __init__(self) -> None:
        super().__init__()
        self.snapshot, self.config = Snapshot(), Config()
        self.ledger: Ledger = {}
        self.lists: Mapping[PciAddress, str] = {}
        self.moment = 0

    @initialize(named=IDS, offered=IDS)
    def start(self, named: list[tuple[PciAddress, str]], offered: list[tuple[PciAddress, str]]) -> None:
        self.ledger = found(named, offered, self._now())
        self.lists = {address: entry.resource for address, entry in self.ledger.items()}
        self._build()

    @rule(snapshot=snapshots())
    def scan(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self._build()

    @rule(config=configs())
    def configure(self, config: Config) -> None:
        self.config = config.after(self.config)
        self._build()

    @rule(fact=st.sampled_from(FACTS), mask=st.integers(1, 0xFF), before=st.integers(0, 3))
    def learn(self, fact: Fact, mask: int, before: int) -> None:
        """Learn any fact about some IDs, begun a while before."""
        some = [address for n, address in enumerate(sorted(self.ledger)) if mask >> n % 8 & 1]
        self._learn(fact, some, self.moment - before)

    @rule(length=st.integers(1, len(CHAIN)), twice=st.booleans())
    def release(self, length: int, *, twice: bool) -> None:
        """Learn the facts of the release protocol about all IDs: twice for those that are awaited first."""
        for fact in (*(CHAIN if twice else ()), *CHAIN[:length]):
            self._learn(fact, list(self.ledger), self._now())

    @rule(length=st.integers(1, len(BUSY_CHAIN)), twice=st.booleans())
    def release_on_a_busy_node(self, length: int, *, twice: bool) -> None:
        """Learn the facts of the release protocol where admissions prove the last of them."""
        for fact in (*(BUSY_CHAIN if twice else ()), *BUSY_CHAIN[:length]):
            self._learn(fact, list(self.ledger), self._now())

    def _now(self) -> int:
        self.moment += 1
        return self.moment

    def _learn(self, fact: Fact, some: list[PciAddress], began: int) -> None:
        self.ledger = observe(self.ledger, Observation(fact, some, began, self._now()))
        self._build()

    def _build(self) -> None:
        before, lists = self.ledger, self.lists
        pools, self.ledger = build_pools(self.snapshot, self.config, before, self._now())
        ids = [(device.address, name) for name, pool in pools.pools.items() for device in pool.devices]
        self.lists = dict(ids)
        assert len(ids) == len(self.lists), "one VF under two names"
        for address, entry in before.items():
            if entry.step in MAYBE_IN_USE:
                assert self.lists.get(address) == entry.resource == lists[address], "held, but moved or dropped"
        for address in self.lists.keys() & lists.keys():
            # What is NEW is in no list that a kubelet can read.
            new = before[address].step is Step.NEW
            assert new or self.lists[address] == lists[address], "moved without having been in no list"


TestListsOverTime = ListsOverTime.TestCase
TestListsOverTime.settings = settings(stateful_step_count=30)
