"""Situations that a plugin gets into with a kubelet, each by itself."""

import pytest
from ground.gates import Call, Way
from ground.pods import Container, Pod
from ground.stage import CY, DC, RENAMED, Stage, only
from ground.two_resources import ALL, VFS, check_offered, furnish
from ground.waiting import throughout, until, until_equal

from qatdp.core.model.pci import PciAddress

# How long something is seen not to happen.
STAYS_S = 0.3


@pytest.fixture
def bare(stage: Stage) -> Stage:
    """A node with two resources, on which nothing runs yet."""
    return furnish(stage)


@pytest.fixture
def open_bare(open_stage: Stage) -> Stage:
    """The same, and qatdp will be in the kubelet's own folder."""
    return furnish(open_stage)


# The kubelet comes and goes


async def test_a_kubelet_that_comes_after_the_daemon_gets_its_resources(open_bare: Stage) -> None:
    """There is not even the folder for the socket when the daemon starts."""
    async with open_bare.closing() as node:
        assert not (node.kubelet.folder / "device-plugins").exists()
        await node.start_daemon()
        await until("it has pools", lambda: node.node.pools.pools)
        await node.start_kubelet()
        await check_offered(node, ALL)


async def test_a_kubelet_that_has_not_heard_of_its_pods_yet_gets_its_resources(bare: Stage) -> None:
    async with bare.closing() as node:
        await node.start_kubelet(hears_of_pods=False)
        await node.start_daemon()
        await check_offered(node, ALL)
        await node.give({CY: 1})


async def test_a_vf_stays_while_the_kubelet_has_not_heard_whether_its_pod_still_is(bare: Stage) -> None:
    """List names active pods alone, and a kubelet that has just started knows of none."""
    bare.configure(only(CY))
    async with bare as node:
        pod, held = await node.give({CY: 1})
        await node.end_kubelet(kill=True)
        del node.pods[pod.uid]
        await node.start_kubelet(hears_of_pods=False)
        node.configure(only(RENAMED))
        free = ALL[CY] - held
        await until_equal("the other one has moved", lambda: set(node.lists.get(RENAMED, ())), free)
        await throughout("it stays", lambda: set(node.lists[CY]), held, duration_s=STAYS_S)
        await node.kubelet.set_sources(ready=True)  # and that pod is not among those heard of
        await check_offered(node, {RENAMED: ALL[CY]})


# Resources and their devices come and go


async def test_a_resource_that_appears_later_is_registered_then(bare: Stage) -> None:
    async with bare as node:
        node.host.add_pf("0000:e8:00.0", services="asym", vfs=1, numa_node=1)
        await check_offered(node, {**ALL, "qat.intel.com/asym": frozenset({"0000:e8:00.1"})})


async def test_a_resource_that_loses_all_its_devices_gets_them_back_without_registering_again(bare: Stage) -> None:
    async with bare as node:
        node.host.set_state("0000:6b:00.0", "down")
        await check_offered(node, {DC: ALL[DC]})
        await until_equal("its list is empty", lambda: node.lists[CY], {})
        admission = await node.admit(Pod("early", (Container(limits={CY: 1}),)))
        assert not admission.admitted
        node.host.set_state("0000:6b:00.0", "up")
        node.host.add_vfs("0000:6b:00.0", VFS)
        await check_offered(node, ALL)
        await node.give({CY: VFS})
    registered = [one.resource for one in node.gates.passed if (one.call, one.way) == (Call.REGISTER, Way.ANSWER)]
    assert sorted(registered) == [CY, DC]


# Containers


def group_nodes(node: Stage, ids: frozenset[str]) -> set[str]:
    return {f"/dev/vfio/{node.host.group(text)}" for text in ids}


def variables(ids: frozenset[str]) -> dict[str, str]:
    return {f"QAT{PciAddress.parse(text).number}": text for text in ids}


async def test_a_container_gets_the_devices_of_two_resources_each_under_its_own_names(bare: Stage) -> None:
    async with bare as node:
        pod, ids = await node.give({CY: 2, DC: 1})
        (dc,) = ids - ALL[CY]
        options = await node.kubelet.options(pod)
    of_resources = {
        f"{kind}_QAT_INTEL_COM_{name}": text
        for kind in ("PCIDEVICE", "PCI_RESOURCE")
        for name, text in (("CY", ",".join(sorted(ALL[CY]))), ("DC", dc))
    }
    assert options.envs == {**of_resources, **variables(ids)}
    assert {one.host for one in options.devices} == {"/dev/vfio/vfio", *group_nodes(node, ids)}
    assert all((one.container, one.permissions) == (one.host, "rw") for one in options.devices)
    assert len(options.devices) == 4


async def test_a_container_that_is_started_again_gets_what_it_got_whatever_has_changed(bare: Stage) -> None:
    async with bare as node:
        pod, _ = await node.give({CY: 1, DC: 2})
        first = await node.kubelet.options(pod)

        async def look() -> bool:
            again = await node.kubelet.options(pod)
            return (again.envs, set(again.devices)) == (first.envs, set(first.devices))

        asked = [one.call for one in node.gates.passed].count(Call.ALLOCATE)
        assert await look()
        node.configure(only(RENAMED))
        await node.restart_daemon()
        assert await look()
        await node.restart_kubelet(kill=True)
        await throughout("the same", look, True, duration_s=STAYS_S)
        assert [one.call for one in node.gates.passed].count(Call.ALLOCATE) == asked
