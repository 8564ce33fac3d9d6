"""What happens while VFs are on their way out of a list: calls, silence, restarts. None of it loses a device."""

import asyncio
from dataclasses import replace

import pytest
from google.protobuf.message import Message
from support.stage import CY, Stage

from qatdp.api import deviceplugin_v1beta1_pb2 as api
from qatdp.core.model.pci import PciAddress
from qatdp.core.release.protocol import LEAVING, Step
from qatdp.simulator.kubelet import KINDS, Call, Pod

PF = "0000:6b:00.0"
RENAMED = "qat.intel.com/renamed"
RENAME = "version: 1\nresources: [{name: renamed, services: [sym, asym]}]\n"
EACH_KIND = pytest.mark.parametrize("version", KINDS)


def lists_without(message: Message, at: PciAddress) -> bool:
    """Return whether it is a list that a device is not in."""
    return isinstance(message, api.ListAndWatchResponse) and str(at) not in {device.ID for device in message.devices}


def calls_between(stage: Stage, call: Call, at: PciAddress) -> set[Call]:
    """Return what was asked after the last such call of cy, before a device had left its list."""
    passed = stage.kubelet.asked
    last = max(n for n, one in enumerate(passed) if (one.call, one.resource) == (call, CY))
    gone = next(n for n, one in enumerate(passed) if n > last and one.resource == CY and lists_without(one.message, at))
    return {one.call for one in passed[last:gone]}


async def test_an_allocate_that_was_on_its_way_is_granted_and_ends_the_withdrawal(
    stage: Stage, vfs: tuple[PciAddress, ...]
) -> None:
    with stage.kubelet.held(Call.ALLOCATE) as hold, stage.kubelet.held(Call.ALLOCATABLE):
        admission = asyncio.create_task(stage.kubelet.admit(Pod.of(cy=1)))
        await hold.reached()  # the kubelet has chosen
        stage.configure(RENAME)
        await stage.lists(CY, (), vfs)
        hold.release()
        (held,) = map(PciAddress.parse, (await admission).ids)
        assert stage.step(held) is Step.CORDONED
        await stage.lists(CY, [held], [vf for vf in vfs if vf != held])
    await stage.lists(RENAMED, [vf for vf in vfs if vf != held])
    await stage.lists(CY, [held])


async def test_what_the_kubelet_has_chosen_may_be_on_its_way_for_as_long_as_the_grace(stage: Stage) -> None:
    stage.host.add_pf(PF, vfs=2)
    vfs = stage.host.vfs(PF)
    stage.settings = replace(stage.settings, pace=replace(stage.settings.pace, grace_s=60))
    await stage.start_daemon()
    await stage.offers(CY, vfs)
    with stage.kubelet.held(Call.ALLOCATE) as hold:
        admission = asyncio.create_task(stage.kubelet.admit(Pod.of(cy=2)))
        await hold.reached()
        stage.configure(RENAME)
        await stage.until(lambda: {stage.step(vf) for vf in vfs} == {Step.SEEN_BY_KUBELET})
        await stage.scanned(5)
        await stage.lists(CY, (), vfs)
    assert (await admission).ids == set(map(str, vfs))
    await stage.lists(CY, vfs)


async def test_a_list_that_the_kubelet_has_not_read_yet_is_no_step(stage: Stage, vfs: tuple[PciAddress, ...]) -> None:
    with stage.kubelet.held(Call.READ, CY) as hold:
        stage.configure(RENAME)
        await hold.reached()
        await stage.until(lambda: {stage.step(vf) for vf in vfs} == {Step.SENT})
        asked = len(stage.kubelet.passed(Call.ALLOCATABLE))
        await stage.until(lambda: len(stage.kubelet.passed(Call.ALLOCATABLE)) > asked + 2)
        assert {stage.step(vf) for vf in vfs} == {Step.SENT}
        (held,) = map(PciAddress.parse, (await stage.kubelet.admit(Pod.of(cy=1))).ids)  # it offers them still
    await stage.lists(RENAMED, [vf for vf in vfs if vf != held])
    await stage.lists(CY, [held])


async def test_a_preference_that_is_asked_for_makes_the_withdrawal_begin_again(
    stage: Stage, vfs: tuple[PciAddress, ...]
) -> None:
    # What the kubelet chooses from is what it knew when it began to ask.
    with stage.kubelet.held(Call.PREFERRED) as asks:
        admission = asyncio.create_task(stage.kubelet.admit(Pod.of(cy=1)))
        await asks.reached()
        with stage.kubelet.held(Call.CHECKPOINT):
            stage.configure(RENAME)
            await stage.until(lambda: {stage.step(vf) for vf in vfs} == {Step.LIST_RESENT})
            asks.release()
            (held,) = map(PciAddress.parse, (await admission).ids)
    others = [vf for vf in vfs if vf != held]
    await stage.lists(RENAMED, others)
    await stage.lists(CY, [held])
    assert Call.ALLOCATABLE in calls_between(stage, Call.PREFERRED, others[0])


async def test_a_pod_is_told_why_it_cannot_have_what_has_left(stage: Stage, vfs: tuple[PciAddress, ...]) -> None:
    stage.configure(RENAME)
    await stage.lists(CY, ())
    await stage.lists(RENAMED, vfs)
    refused = await stage.kubelet.admit(Pod.of(cy=1))
    assert "no healthy devices present; cannot allocate unhealthy devices qat.intel.com/cy" in (refused.error or "")
    assert (await stage.kubelet.admit(Pod.of(renamed=4))).admitted


@pytest.mark.parametrize("call", [Call.ALLOCATABLE, Call.CHECKPOINT])
async def test_while_the_kubelet_does_not_answer_or_write_nothing_leaves(
    stage: Stage, vfs: tuple[PciAddress, ...], call: Call
) -> None:
    with stage.kubelet.held(call) as hold:
        stage.configure(RENAME)
        await hold.reached()
        await stage.lists(CY, (), vfs)
        await stage.scanned(3)
        await stage.lists(CY, (), vfs)
    await stage.lists(RENAMED, vfs)


async def test_release_of_an_ended_pod_waits_for_the_list(stage: Stage, vfs: tuple[PciAddress, ...]) -> None:
    pod, held = await stage.give(CY)
    with stage.kubelet.held(Call.LIST) as hold:
        await stage.kubelet.remove(pod)
        stage.configure(RENAME)
        await hold.reached()
        await stage.scanned(3)
        await stage.lists(CY, held)
    await stage.lists(RENAMED, vfs)


async def test_a_checkpoint_that_cannot_be_read_holds_everything_loudly(
    stage: Stage, vfs: tuple[PciAddress, ...], caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint = stage.kubelet.plugins / "kubelet_internal_checkpoint"
    with stage.kubelet.held(Call.CHECKPOINT) as hold:
        stage.configure(RENAME)
        await hold.reached()
        new = checkpoint.with_name("new")
        new.write_text('{"Data": {"Version": 3}}')
        await stage.until(lambda: Step.LIST_RESENT in {stage.step(vf) for vf in vfs})
        new.rename(checkpoint)
        await stage.until(lambda: "is not understood" in caplog.text)
        assert {stage.step(vf) for vf in vfs} <= LEAVING
        await stage.lists(CY, (), vfs)
    await stage.lists(RENAMED, vfs)


@EACH_KIND
@pytest.mark.parametrize("kill", [True, False])
async def test_a_kubelet_that_restarts_in_between_makes_the_withdrawal_begin_again(
    stage: Stage, vfs: tuple[PciAddress, ...], *, kill: bool
) -> None:
    pod, held = await stage.give(CY)
    free = [vf for vf in vfs if vf not in held]
    with stage.kubelet.held(Call.CHECKPOINT):
        stage.configure(RENAME)
        await stage.until(lambda: {stage.step(vf) for vf in free} == {Step.LIST_RESENT})
        running = [f"{pod.uid}/main"]
        await stage.kubelet.restart(kill=kill, sources_ready=False, running=running)
    assert {PciAddress.parse(text) for text in (await stage.kubelet.admit(pod)).ids} == set(held)
    await stage.kubelet.set_sources(ready=True)
    await stage.lists(RENAMED, free)
    await stage.lists(CY, held)
    assert Call.ALLOCATABLE in calls_between(stage, Call.REGISTER, free[0])
    await stage.kubelet.remove(pod)
    await stage.lists(RENAMED, vfs)


async def test_a_daemon_that_restarts_in_between_goes_on_from_what_the_kubelet_s_books_say(
    stage: Stage, vfs: tuple[PciAddress, ...]
) -> None:
    pod, held = await stage.give(CY)
    with stage.kubelet.held(Call.ALLOCATABLE) as hold:
        stage.configure(RENAME)
        await hold.reached()
        await stage.restart_daemon()
    await stage.lists(RENAMED, [vf for vf in vfs if vf not in held])
    await stage.lists(CY, held)
    await stage.kubelet.remove(pod)
    await stage.lists(RENAMED, vfs)
    await stage.lists(CY, ())


async def test_what_was_unhealthy_before_leaves_as_well(stage: Stage, vfs: tuple[PciAddress, ...]) -> None:
    # Its withdrawal changes nothing in the list, which is sent again nevertheless.
    stage.host.unbind(vfs[0])
    await stage.lists(CY, vfs[1:], vfs[:1])
    stage.host.remove(vfs[0])
    await stage.lists(CY, vfs[1:])
