"""The release protocol (core/release/protocol.py), step by step: how a VF leaves the list of its resource."""

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace

import pytest
from ground.gates import Call, Passage, Way
from ground.kubelets import minor
from ground.release import (
    ALL_OF_THEM,
    DEVICE,
    GATES,
    HOLDERS,
    KEPT_STEPS,
    LOOKED_FOR,
    STAYS_S,
    VFS,
    Seen,
    check_moved,
    check_others_move,
    check_stays,
    health_in,
    hold_device,
    kept_at,
    kept_at_step,
    watched,
)
from ground.stage import CY, HEALTHY, RENAMED, Stage, only
from ground.waiting import until, until_equal

from qatdp.api import podresources_v1_pb2 as pods_api
from qatdp.core.release.protocol import Step
from qatdp.kubelet import checkpoint
from qatdp.simulator.kubelet import VERSIONS


def offers(passage: Passage) -> bool:
    """Return whether an answer to GetAllocatableResources offers DEVICE."""
    assert isinstance(passage.message, pods_api.AllocatableResourcesResponse)
    return any(DEVICE in devices.device_ids for devices in passage.message.devices)


def first(seen: list[Seen], what: str, begun_after_s: float, is_it: Callable[[Passage], bool]) -> Seen:
    """Return the first that came after a time and is it."""
    for one in seen:
        if one.passage.came_s > begun_after_s and is_it(one.passage):
            return one
    raise AssertionError(f"there was no {what}")


def answered(seen: list[Seen], what: str, call: Call, begun_after_s: float, is_it: Callable[[Passage], bool]) -> Seen:
    """Return the first answer that is it of those whose requests came after a time."""
    asked = first(seen, f"request for {what}", begun_after_s, lambda p: (p.call, p.way) == (call, Way.REQUEST))
    return first(seen, what, asked.passage.went_s, lambda p: (p.call, p.way) == (call, Way.ANSWER) and is_it(p))


async def test_a_free_vf_leaves_by_all_steps_each_begun_after_the_one_before_has_ended(node: Stage) -> None:
    with watched(node) as seen:
        node.configure(only(RENAMED))
        await node.settle()
    grace_s = node.settings.pace.grace_s

    sent = first(seen, "list with it as Unhealthy", 0, lambda p: health_in(p, CY) == "Unhealthy")
    taken = answered(seen, "b", Call.ALLOCATABLE, sent.passage.went_s, lambda p: not offers(p))
    quiet_s = taken.passage.went_s + grace_s
    again = first(seen, "list sent once more", quiet_s, lambda p: health_in(p, CY) is not None)
    gone = first(seen, "list without it", again.passage.went_s, lambda p: health_in(p, CY) == "")
    new = first(seen, "list of its new resource", gone.passage.came_s, lambda p: health_in(p, RENAMED) == HEALTHY)

    assert taken.step is Step.SENT
    assert Call.LIST not in {one.passage.call for one in seen}, "nobody had it: there was nothing to forget"
    assert health_in(again.passage, CY) == "Unhealthy"
    assert again.step in (Step.NOT_IN_PODS, Step.LIST_RESENT)
    assert gone.checkpoint != again.checkpoint, "it left before there was another checkpoint"
    before = seen[: seen.index(gone)]
    assert all(health_in(one.passage, CY) != "" for one in before), "it was away for a moment"
    assert not any(health_in(one.passage, RENAMED) for one in seen[: seen.index(new)])


@pytest.mark.parametrize("gate", GATES)
async def test_no_step_begins_before_the_one_before_has_ended(node: Stage, gate: str) -> None:
    with kept_at(node, gate) as hold:
        node.configure(only(RENAMED))
        await hold.until_held()
        await check_stays(node, GATES[gate][1])
    await check_moved(node)


@pytest.mark.parametrize("way", [Way.REQUEST, Way.ANSWER])
async def test_ended_pods_vf_stays_while_list_is_unanswered(node: Stage, way: Way) -> None:
    pod = HOLDERS["an app container"]
    await hold_device(node, pod)
    with node.gates.held(Call.LIST, way) as hold:
        node.configure(only(RENAMED))
        await node.end(pod)
        await hold.until_held()
        await check_stays(node, frozenset({Step.CORDONED}))
    await check_moved(node)


async def with_grace(node: Stage, grace_s: float) -> None:
    """Start the daemon again, with another grace."""
    node.settings = replace(node.settings, pace=replace(node.settings.pace, grace_s=grace_s))
    await node.restart_daemon()
    await node.settle()


async def test_no_step_begins_before_a_grace_has_passed(node: Stage) -> None:
    await with_grace(node, 2 * STAYS_S)
    node.configure(only(RENAMED))
    await until("the kubelet has taken the list", lambda: node.step(DEVICE) is Step.SEEN_BY_KUBELET)
    await check_stays(node, frozenset({Step.SEEN_BY_KUBELET}))
    await check_moved(node)


async def test_nothing_leaves_before_there_is_another_checkpoint(node: Stage) -> None:
    assert node.proxy
    node.proxy.forge_checkpoint((node.kubelet.folder / "device-plugins" / checkpoint.FILE).read_bytes())
    node.configure(only(RENAMED))
    await until("its list was sent once more", lambda: node.step(DEVICE) is Step.LIST_RESENT)
    await check_stays(node, frozenset({Step.LIST_RESENT}))
    node.proxy.show_checkpoint()
    await check_moved(node)


@pytest.mark.parametrize("holder", HOLDERS)
async def test_a_held_vf_stays_in_its_list_and_healthy_until_its_pod_is_removed(node: Stage, holder: str) -> None:
    pod = HOLDERS[holder]
    await hold_device(node, pod)
    with watched(node) as seen:
        node.configure(only(RENAMED))
        await check_others_move(node)
    assert {health_in(one.passage, CY) for one in seen} == {None, HEALTHY}
    assert not any(health_in(one.passage, RENAMED) for one in seen)
    await node.end(pod)
    await check_moved(node)


@pytest.mark.parametrize("step", [Step.SENT, Step.SEEN_BY_KUBELET, Step.QUIET, Step.LIST_RESENT])
async def test_an_allocate_that_names_a_vf_in_withdrawal_is_granted_and_ends_the_withdrawal(
    node: Stage, step: Step
) -> None:
    if step is Step.SEEN_BY_KUBELET:
        await with_grace(node, 2 * STAYS_S)
    with ExitStack() as held:
        allocate = held.enter_context(node.gates.held(Call.ALLOCATE, Way.REQUEST))
        coming = asyncio.create_task(node.admit(ALL_OF_THEM))
        await allocate.until_held()
        if step in KEPT_STEPS:
            held.enter_context(kept_at_step(node, step))
        node.configure(only(RENAMED))
        await until(f"it is {step}", lambda: node.step(DEVICE) is step)
        allocate.release()
        admission = await coming
        assert node.step(DEVICE) is Step.CORDONED
    assert admission.ids == set(VFS), admission.error
    await until_equal("they are healthy again", lambda: node.lists[CY], dict.fromkeys(VFS, HEALTHY))
    await until_equal("they are offered again", node.offered, {CY: frozenset(VFS)})
    await check_stays(node, LOOKED_FOR)
    await node.end(ALL_OF_THEM)
    await check_moved(node)


async def test_an_allocate_that_comes_after_the_drop_is_refused_in_words(node: Stage) -> None:
    with node.gates.held(Call.ALLOCATE, Way.REQUEST) as allocate:
        coming = asyncio.create_task(node.admit(ALL_OF_THEM))
        await allocate.until_held()
        node.configure(only(RENAMED))
        await check_moved(node)
        allocate.release()
        admission = await coming
    assert not admission.admitted
    assert f"is not a device of {CY}" in (admission.error or "")


@pytest.mark.crash
@pytest.mark.skipif(not VERSIONS[minor()].crashes_on_vanished_devices, reason="this kubelet bears it")
async def test_an_answer_that_takes_longer_than_a_whole_release_is_more_than_the_protocol_can_bear(node: Stage) -> None:
    """What is on its way must arrive within the grace: this is where the bound that other tests keep comes from."""
    with node.gates.held(Call.ALLOCATE, Way.ANSWER) as allocate:
        coming = asyncio.create_task(node.admit(ALL_OF_THEM))
        await allocate.until_held()
        node.configure(only(RENAMED))
        await check_moved(node)
        allocate.release()
        with pytest.raises(Exception, match="nil pointer dereference"):
            await coming
