"""Two NUMA nodes and the kubelet's topology manager. On the real kubelet only: the fake knows no topology."""

import asyncio

import pytest
from ground.manager import Policy
from ground.pods import Container, Pod
from ground.stage import CY, DC, Stage
from ground.two_resources import DEFAULT_NAMES, VFS
from ground.waiting import until

single_numa_node = pytest.mark.parametrize(
    ("kubelet", "policy"), [("real", Policy.SINGLE_NUMA_NODE)], indirect=["kubelet"]
)

NEAR, FAR = frozenset({"0000:6b:00.1", "0000:6b:00.2"}), frozenset({"0000:e8:00.1", "0000:e8:00.2"})


@pytest.fixture
def two_numa_nodes(stage: Stage) -> Stage:
    """For each of two resources a PF on each of two NUMA nodes; nothing runs."""
    stage.configure(DEFAULT_NAMES)
    for numa_node, (cy, dc) in enumerate((("0000:6b:00.0", "0000:70:00.0"), ("0000:e8:00.0", "0000:ed:00.0"))):
        stage.host.add_pf(cy, services="sym;asym", vfs=VFS, numa_node=numa_node)
        stage.host.add_pf(dc, services="dc", vfs=VFS, numa_node=numa_node)
    return stage


@single_numa_node
async def test_a_pod_gets_all_its_devices_from_one_numa_node(two_numa_nodes: Stage, policy: Policy) -> None:
    async with two_numa_nodes as node:
        _, one = await node.give({CY: 1}, "one")
        _, two = await node.give({CY: 2}, "two")
        assert (one <= NEAR and two == FAR) or (one <= FAR and two == NEAR)


@single_numa_node
async def test_a_pod_gets_devices_of_two_resources_from_one_numa_node(two_numa_nodes: Stage, policy: Policy) -> None:
    async with two_numa_nodes as node:
        for name in ("one", "two"):
            pod, ids = await node.give({CY: 2, DC: 2}, name)
            numa_nodes = {node.host.path(text, "numa_node").read_text() for text in ids}
            assert len(ids) == 4 and len(numa_nodes) == 1, pod


@single_numa_node
async def test_a_pod_that_no_numa_node_has_enough_for_is_refused(two_numa_nodes: Stage, policy: Policy) -> None:
    async with two_numa_nodes as node:
        admission = await node.admit(Pod("large", (Container(limits={CY: 3}),)))
        assert admission.reason == "TopologyAffinityError"


@single_numa_node
async def test_a_kubelet_that_restarts_while_a_held_vf_has_vanished_does_not_crash(
    two_numa_nodes: Stage, policy: Policy
) -> None:
    """It asks for hints for the pods that it admits again, and crashes over an ID that is in no list."""
    async with two_numa_nodes as node:
        _, ids = await node.give({CY: 1})
        (held,) = ids
        node.host.remove(held)
        await until("it is sent as Unhealthy", lambda: node.lists[CY][held] == "Unhealthy")
        await node.end_kubelet(kill=True)
        starting = asyncio.create_task(node.start_kubelet(pods_after_s=0.5))
        await until("it is listed again", lambda: node.lists.get(CY, {}).get(held) == "Unhealthy")
        await starting
