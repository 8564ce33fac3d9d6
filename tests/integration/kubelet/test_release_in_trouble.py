"""The release protocol while one of its steps is impossible, and when a daemon ends in the middle of it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from ground.gates import Call, Passage
from ground.release import (
    DEVICE,
    HOLDERS,
    INIT_ONLY,
    KEPT_STEPS,
    LIST_OF_CY,
    LOOKED_FOR,
    STAYS_S,
    VFS,
    check_moved,
    check_others_move,
    health_in,
    hold_device,
    kept_at_step,
    watched,
)
from ground.stage import CY, HEALTHY, RENAMED, Stage, only
from ground.waiting import throughout, until

from qatdp.core.release.protocol import Step
from qatdp.kubelet import checkpoint
from qatdp.kubelet.podresources import PodResources

# What makes a step impossible for as long as it lasts.


@asynccontextmanager
async def pod_resources_away(node: Stage) -> AsyncIterator[None]:
    assert node.proxy
    await node.proxy.pod_resources_down()
    yield
    await node.proxy.pod_resources_up()


@asynccontextmanager
async def checkpoint_unreadable(node: Stage) -> AsyncIterator[None]:
    assert node.proxy
    node.proxy.spoil_checkpoint()
    yield
    node.proxy.show_checkpoint()


@asynccontextmanager
async def checkpoint_of_an_unknown_format(node: Stage) -> AsyncIterator[None]:
    """Each list is followed by a new checkpoint, but of a kubelet that writes something else."""
    proxy = node.proxy
    assert proxy

    def forge(passage: Passage) -> None:
        if passage.call is Call.LIST_AND_WATCH:
            proxy.forge_checkpoint(b'{"v2": {"Data": {}}, "Checksum": 1}')

    node.gates.watchers.append(forge)
    yield
    node.gates.watchers.remove(forge)
    proxy.show_checkpoint()


@asynccontextmanager
async def kubelet_down(node: Stage) -> AsyncIterator[None]:
    await node.end_kubelet(kill=True)
    yield
    await node.start_kubelet()


TROUBLES = {
    "the podresources socket is away": pod_resources_away,
    "the checkpoint is unreadable": checkpoint_unreadable,
    "the checkpoint is of an unknown format": checkpoint_of_an_unknown_format,
    "the kubelet is down": kubelet_down,
}


def listed(node: Stage, resource: str) -> set[str]:
    """Return the IDs of a pool, which is what its list has or will have."""
    pool = node.node.pools.pools.get(resource)
    return {str(device.address) for device in pool.devices} if pool else set()


def offered(node: Stage, resource: str) -> set[str]:
    """Return the IDs of a pool that may be handed out; one in doubt is in a list, as Unhealthy."""
    pool = node.node.pools.pools.get(resource)
    return set(pool.healthy) if pool else set()


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_nothing_leaves_while_a_step_is_impossible(node: Stage, trouble: str) -> None:
    await hold_device(node, INIT_ONLY)
    async with TROUBLES[trouble](node):
        node.configure(only(RENAMED))
        await until("the configuration is known", lambda: node.step(VFS[1]) is not Step.AVAILABLE)
        await throughout("all stay", lambda: listed(node, CY), set(VFS), duration_s=STAYS_S)
    await check_others_move(node)
    await node.end(INIT_ONLY)
    await check_moved(node)


@pytest.mark.parametrize("holder", HOLDERS)
@pytest.mark.parametrize("trouble", TROUBLES)
async def test_a_held_vf_stays_when_a_daemon_starts_while_a_step_is_impossible(
    node: Stage, trouble: str, holder: str
) -> None:
    pod = HOLDERS[holder]
    await hold_device(node, pod)
    async with TROUBLES[trouble](node):
        await node.end_daemon()
        node.configure(only(RENAMED))
        await node.start_daemon()
        await until("it has looked", lambda: node.node.snapshot.vfs)
        await throughout("it is not offered", lambda: DEVICE in offered(node, RENAMED), False, duration_s=STAYS_S)
    await check_others_move(node)
    await node.end(pod)
    await check_moved(node)


async def test_an_ended_pod_is_named_until_podresources_list_and_then_a_list_have_come(node: Stage) -> None:
    """The kubelet forgets nothing by itself: it looks when List is asked, and writes that down after the next list."""
    await hold_device(node, INIT_ONLY)
    plugins = node.kubelet.folder / "device-plugins"

    def named() -> set[str]:
        return {str(device) for pod_entry in checkpoint.read(plugins).pod_entries for device in pod_entry.devices}

    async def send_a_list() -> None:
        before = checkpoint.identity(plugins)
        node.node.feeds[CY].again()
        await until("there is another checkpoint", lambda: checkpoint.identity(plugins) != before)

    await node.end(INIT_ONLY)
    await send_a_list()
    assert named() == {DEVICE}, "no List has come"
    await PodResources(node.kubelet.folder / "pod-resources").listed()
    await throughout("no list has come", named, {DEVICE}, duration_s=STAYS_S)
    await send_a_list()
    assert named() == set()


# A daemon that ends in the middle of a release, and another that starts.


@pytest.mark.parametrize("step", KEPT_STEPS)
async def test_a_daemon_that_starts_in_the_middle_of_a_withdrawal_begins_with_the_books(
    node: Stage, step: Step
) -> None:
    """One VF is held by a pod that only the checkpoint names, another was on its way when the first daemon ended."""
    await hold_device(node, INIT_ONLY)
    other = VFS[1]
    with kept_at_step(node, step, other):
        node.configure(only(RENAMED))
        await until(f"the other is {step}", lambda: node.step(other) is step)
        await node.end_daemon()
    await check_begins_with_the_books(node)


async def test_a_daemon_that_starts_while_a_held_vf_is_looked_for_begins_with_the_books(node: Stage) -> None:
    await hold_device(node, INIT_ONLY)
    with node.gates.held(*LIST_OF_CY, when=lambda: node.step(DEVICE) in LOOKED_FOR - {Step.CORDONED}):
        node.configure(only(RENAMED))
        await until("its list was sent once more", lambda: node.step(DEVICE) is Step.CORDONED_LIST_RESENT)
        await node.end_daemon()
    await check_begins_with_the_books(node)


async def check_begins_with_the_books(node: Stage) -> None:
    """Start the daemon: DEVICE is held and stays, the others are free and come up elsewhere."""
    with watched(node) as seen:
        await node.start_daemon()
        await check_others_move(node)
    assert {health_in(one.passage, CY) for one in seen} == {None, HEALTHY}
    await node.end(INIT_ONLY)
    await check_moved(node)
