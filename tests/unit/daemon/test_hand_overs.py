"""Whatever happens to group numbers and of the kubelet's checkpoint, no two pods have one VF's node by our answers."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from support.strategies import a_pf, a_snapshot, its_vfs

from qatdp.core.config.model import Config
from qatdp.core.model.pci import PciAddress
from qatdp.core.model.snapshot import NodeKind, Snapshot, VfioNode
from qatdp.core.pools.allocation import allocate
from qatdp.core.pools.pools import ResourcePool
from qatdp.core.pools.stale import SHARED_NODES, CheckpointEntry
from qatdp.core.release.protocol import Fact
from qatdp.daemon.state import DeviceState
from qatdp.errors import AllocationError

CY = "qat.intel.com/cy"
PFS = (a_pf("0000:6b:00.0"), a_pf("0000:70:00.0"))
VFS = tuple(vf for pf in PFS for vf in its_vfs(pf, 2))
NUMBERS = st.permutations(range(10, 16)).map(lambda order: tuple(order[: len(VFS)]))
PRESENT = st.sets(st.sampled_from(range(len(VFS))))
FIRST, ALL = (10, 11, 12, 13), frozenset(range(len(VFS)))
CHAIN = (Fact.NOT_IN_PODS, Fact.LISTED, Fact.NOT_IN_CHECKPOINT)


def node_with(numbers: tuple[int, ...], present: frozenset[int] | set[int]) -> Snapshot:
    vfs = [
        replace(vf, iommu_group=number, nodes=(VfioNode(NodeKind.GROUP, f"/dev/vfio/{number}", present=True),))
        for n, (vf, number) in enumerate(zip(VFS, numbers, strict=True))
        if n in present
    ]
    return a_snapshot(PFS, vfs)


@dataclass(frozen=True, slots=True)
class Given:
    """What a pod was given by an answer of ours, which the kubelet uses at each start of its container."""

    device: PciAddress
    nodes: frozenset[str]


class HandOvers(RuleBasedStateMachine):
    """The kubelet is as bad as it can be: it writes its checkpoint late, loses it, and asks again whenever it likes.

    It keeps its one promise: it chooses among what is Healthy in the last list and what no pod has.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pods: list[Given] = []
        self.written: tuple[CheckpointEntry, ...] | None = ()  # None: it cannot be read, or is not there
        self.snapshot = node_with(FIRST, ALL)

    @initialize()
    def start(self) -> None:
        self.node = DeviceState(Config(), lambda _: None, soon=lambda _: None)
        self.node.begin(self.snapshot, {})
        self.node.adopt((), (), ())
        self._serve()

    def _serve(self) -> None:
        self.node.serve()
        if CY in self.node.feeds:
            self.node.list_sending(self._pool())

    def _holdings(self) -> tuple[CheckpointEntry, ...]:
        return tuple(CheckpointEntry(CY, (pod.device,), pod.nodes | SHARED_NODES) for pod in self.pods)

    @rule(numbers=NUMBERS, present=PRESENT)
    def made_anew(self, numbers: tuple[int, ...], present: set[int]) -> None:
        """PFs lose VFs, get them back, and the kernel numbers them as it likes."""
        self.snapshot = node_with(numbers, present)
        self.node.scanned(self.snapshot, {}, self.written)
        self.node.flush()
        self.node.list_sending(self._pool())

    @rule(n=st.integers(0, 9))
    def a_pod_comes(self, n: int) -> None:
        """Admit a pod, whose device the kubelet chooses."""
        taken = {str(pod.device) for pod in self.pods}
        free = sorted(self._pool().healthy - taken)
        if free:
            self._ask(free[n % len(free)])

    @rule(n=st.integers(0, 9))
    def a_pod_is_asked_for_again(self, n: int) -> None:
        """Let the kubelet ask again for a pod that it has, as it does after a restart: the old answer is replaced."""
        if self.pods:
            pod = self.pods.pop(n % len(self.pods))
            if not self._ask(str(pod.device)):
                self.pods.append(pod)

    @rule(n=st.integers(0, 9))
    def a_pod_ends(self, n: int) -> None:
        if self.pods:
            self.pods.pop(n % len(self.pods))

    @rule()
    def the_checkpoint_is_written(self) -> None:
        self.written = self._holdings()

    @rule()
    def the_checkpoint_is_lost(self) -> None:
        self.written = None

    @rule()
    def who_has_what_is_looked_for(self) -> None:
        """Do a round of the release protocol, at whose end a checkpoint was written."""
        having = {pod.device for pod in self.pods}
        for fact in CHAIN:
            began = self.node.moment()
            if fact is Fact.NOT_IN_CHECKPOINT:
                self.written = self._holdings()
                self.node.written_down(self.written)
            if fact is not Fact.LISTED:
                self.node.learn(Fact.NAMED, having, began)
            self.node.learn(fact, self.node.ledger.keys() - having, began)

    @rule(n=st.integers(0, 9))
    def a_pod_is_admitted(self, n: int) -> None:
        """Admit a pod, and let the checkpoint that the kubelet writes for it count as evidence."""
        began = self.node.moment()
        self.a_pod_comes(n)
        self.written = self._holdings()
        self.node.written_down(self.written)
        having = {pod.device for pod in self.pods}
        self.node.learn(Fact.NAMED, having, began)
        self.node.learn(Fact.ADMITTED_WITHOUT, self.node.ledger.keys() - having, began)

    @rule(numbers=NUMBERS, present=PRESENT)
    def the_machine_boots(self, numbers: tuple[int, ...], present: set[int]) -> None:
        """Boot with other numbers: pods go on by their old answers, and a new daemon has the checkpoint alone."""
        self.written = self._holdings()
        self.snapshot = node_with(numbers, present)
        self.node = DeviceState(Config(), lambda _: None, soon=lambda _: None)
        self.node.begin(self.snapshot, {})
        self.node.adopt([(pod.device, CY) for pod in self.pods], (), self.written)
        self._serve()

    def _pool(self) -> ResourcePool:
        self.node.flush()
        return self.node.pools.pools.get(CY, ResourcePool(CY))

    def _ask(self, text: str) -> bool:
        try:
            answer = allocate(self._pool(), [text], partial(self.node.step_of, CY))
        except AllocationError:
            return False
        began = self.node.call_began()
        self.node.allocated(CY, [text], began)
        self.node.call_ended(began)
        given = Given(answer.devices[0], frozenset(answer.nodes) - SHARED_NODES)
        for pod in self.pods:
            assert not pod.nodes & given.nodes, f"{given} although {pod} runs"
        owners = {one.path: vf.address for vf in self.snapshot.vfs for one in vf.nodes}
        assert {owners.get(node, given.device) for node in given.nodes} <= {given.device}
        self.pods.append(given)
        return True

    @invariant()
    def what_has_another_node_than_its_pod_was_given_is_not_healthy(self) -> None:
        if not hasattr(self, "node"):
            return
        owners: Mapping[str, PciAddress] = {one.path: vf.address for vf in self.snapshot.vfs for one in vf.nodes}
        healthy = self._pool().healthy
        for pod in self.pods:
            for node in pod.nodes:
                owner = owners.get(node)
                assert owner in (None, pod.device) or str(owner) not in healthy, f"{owner} is offered, {pod} runs"


TestHandOvers = HandOvers.TestCase
TestHandOvers.settings = settings(max_examples=2 * settings().max_examples, stateful_step_count=25)
