"""Stale allocations: VFs swap their nodes while pods have them, and what a kubelet does by old answers.

tests/integration/node/test_other_numbers.py has it with containers. Here it is on kubelets of several versions.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial

import pytest
from ground.gates import Call
from ground.pods import Container, Pod
from ground.stage import CY, Stage, only
from ground.two_resources import ALL, VFS, check_offered, furnish
from ground.waiting import throughout, until_equal

from qatdp.simulator.kubelet import RefusedError

PFS = ("0000:6b:00.0", "0000:70:00.0")
ANOTHER = "0000:75:00.0"
STAYS_S = 0.5  # many rounds of looking for who has what
ANOTHER_NODE = "another node than this pod was given"


@dataclass(frozen=True, slots=True)
class Held:
    """Two pods with a VF each, of two PFs; the nodes that these were when the pods were given them."""

    pods: tuple[Pod, Pod]
    vfs: tuple[str, str]
    given: tuple[str, str]
    all_vfs: frozenset[str]

    @property
    def rest(self) -> frozenset[str]:
        return self.all_vfs - set(self.vfs)


@pytest.fixture
async def node(open_stage: Stage) -> AsyncIterator[Stage]:
    for pf in PFS:
        open_stage.host.add_pf(pf, vfs=1)
    open_stage.host.add_pf(ANOTHER, vfs=2)  # the last to be taken: it has more
    open_stage.host.reuse_group_numbers()  # as the kernel does
    open_stage.configure(only(CY))
    async with open_stage:
        yield open_stage


@pytest.fixture
async def held(node: Stage) -> Held:
    one, first = await node.give({CY: 1})
    other, second = await node.give({CY: 1})
    ((vf,), (its,)) = first, second
    assert [vf, its] == [str(node.host.vfs(pf)[0]) for pf in PFS]
    return Held((one, other), (vf, its), (group_node(node, vf), group_node(node, its)), (await node.offered())[CY])


def group_node(node: Stage, vf: str) -> str:
    return f"/dev/vfio/{node.host.group(vf)}"


def swap(node: Stage, held: Held) -> None:
    """Let their VFs go, and come back in the other order: numbers are given lowest first."""
    for pf in PFS:
        node.host.set_state(pf, "down")
    for pf in reversed(PFS):
        node.host.set_state(pf, "up")
        node.host.add_vfs(pf, 1)
    assert (group_node(node, held.vfs[1]), group_node(node, held.vfs[0])) == held.given


async def nodes_of(node: Stage, pod: Pod) -> set[str]:
    return {device.host for device in (await node.kubelet.options(pod)).devices} - {"/dev/vfio/vfio"}


async def offers_for_good(node: Stage, wanted: frozenset[str]) -> None:
    """Wait until the offer of CY is this one and stays: up to 1.36 a Register more takes it away for a moment, and an
    admission in that moment fails."""
    while True:
        await until_equal("the kubelet's offer", lambda: offer(node), wanted)
        try:
            await throughout("the kubelet's offer", lambda: offer(node), wanted, duration_s=STAYS_S)
        except AssertionError:
            continue
        return


async def offer(node: Stage) -> frozenset[str]:
    return (await node.offered()).get(CY, frozenset())


async def refusal(node: Stage, pod: Pod) -> str:
    """Return why a container would not be started, "" where it would."""
    try:
        await node.kubelet.options(pod)
    except RefusedError as error:
        return ANOTHER_NODE if ANOTHER_NODE in str(error) else str(error)
    return ""


async def check_each_is_what_it_is(node: Stage, held: Held) -> None:
    pod, ids = await node.give({CY: len(held.all_vfs)})
    assert ids == held.all_vfs
    assert await nodes_of(node, pod) == {group_node(node, vf) for vf in ids}


async def test_vfs_that_swap_their_nodes_are_offered_to_nobody_until_the_last_old_answer_is_gone(
    node: Stage, held: Held
) -> None:
    swap(node, held)
    for pod in held.pods:
        await until_equal("it is not started again", partial(refusal, node, pod), ANOTHER_NODE)
    await offers_for_good(node, held.rest)
    greedy, ids = await node.give({CY: len(held.rest)})
    assert ids == held.rest
    assert not (await node.admit(Pod("one-more", (Container(limits={CY: 1}),)))).admitted
    await node.end(greedy)

    one, other = held.pods
    await node.end(one)
    await throughout("neither is offered", node.offered, {CY: held.rest}, duration_s=STAYS_S)
    await node.end(other)
    await until_equal("both are offered", node.offered, {CY: held.all_vfs})
    await check_each_is_what_it_is(node, held)


@pytest.mark.parametrize("daemon_first", [True, False], ids=["the daemon is first", "the pods are first"])
async def test_after_a_boot_no_pod_is_admitted_by_an_old_answer(node: Stage, held: Held, *, daemon_first: bool) -> None:
    await node.end_daemon()
    await node.kubelet.kill()
    swap(node, held)

    await node.kubelet.start(sources_ready=False, running=())
    if daemon_first:
        await node.start_daemon()
        await until_equal("neither is offered", node.offered, {CY: held.rest})
    for pod in held.pods:
        admission = await node.kubelet.admit(pod)
        assert not admission.admitted
        why = "previously allocated devices are no longer healthy" if daemon_first else "no healthy devices present"
        assert admission.error and why in admission.error
        await node.end(pod)  # it has failed, for good
    if not daemon_first:
        await node.start_daemon()
        await until_equal("neither is offered", node.offered, {CY: held.rest})
    await node.kubelet.set_sources(ready=True)

    await until_equal("both are offered", node.offered, {CY: held.all_vfs})
    await check_each_is_what_it_is(node, held)


async def test_starts_are_asked_for_once_an_answer_is_outdated_and_not_by_the_next_daemon(stage: Stage) -> None:
    async with furnish(stage) as node:
        pod, (held,) = await node.give({CY: 1})
        assert (await node.kubelet.options(pod)).devices
        (other,) = ALL[CY] - {held}
        node.host.share_group(held)  # in a new group, by itself
        await until_equal("the kubelet asks, and is told", lambda: start(node, pod), (True, ANOTHER_NODE))
        await offers_for_good(node, frozenset({other}))
        await node.end(pod)
        await check_offered(node, ALL)
        pod, _ = await node.give({CY: VFS})
        assert await start(node, pod) == (True, "")
        await node.restart_daemon()
        await until_equal("the kubelet asks no more", lambda: start(node, pod), (False, ""))


async def start(node: Stage, pod: Pod) -> tuple[bool, str]:
    """Return whether the start of a container is asked for, and why it is refused."""
    before = len(node.gates.passed)
    why = await refusal(node, pod)
    return any(one.call is Call.PRE_START for one in node.gates.passed[before:]), why
